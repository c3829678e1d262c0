#!/usr/bin/env python3
"""Many clients at once, for a while: every request is answered, whole and right. usage: load_test.py [--seconds N] [--clients N]"""
import argparse
import json
import sys
import tempfile
import threading
import time

from server import IMAGES, WebChat, make_model, question


def streamed(text):
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert text.endswith("data: [DONE]\n\n"), f"a stream without its end: {text[-200:]!r}"
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events)


def answer_of(server, messages, stream):
    body = json.dumps({"messages": messages, "temperature": 0, "max_tokens": 24, "stream": stream})
    status, text, _ = server.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    assert status == 200, f"status {status}: {text}"
    return streamed(text) if stream else json.loads(text)["choices"][0]["message"]["content"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, WebChat(make_model(folder)) as server:
        asked = [[question(f"Question {i}", *IMAGES[i:i + i % 3])] for i in range(8)]
        expected = [answer_of(server, messages, False) for messages in asked]
        done, problems, longest = [0] * arguments.clients, [], [0.0] * arguments.clients
        end = time.monotonic() + arguments.seconds

        def client(number):
            turn = number
            while time.monotonic() < end and not problems:
                start = time.monotonic()
                try:
                    found = answer_of(server, asked[turn % len(asked)], turn % 2 == 0)
                    if found != expected[turn % len(asked)]:
                        problems.append(f"another answer: {found!r}")
                except Exception as error:  # whatever it is, it is a lost request
                    problems.append(f"client {number}, request {done[number]}: {error!r}")
                done[number] += 1
                longest[number] = max(longest[number], time.monotonic() - start)
                turn += 1

        threads = [threading.Thread(target=client, args=(number,)) for number in range(arguments.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for problem in problems[:5]:
            print("error:", problem)
        if min(done) == 0:
            problems.append("a client was never served")
        print(json.dumps({"clients": arguments.clients, "seconds": arguments.seconds, "requests": sum(done), "lost": len(problems),
                          "fewest_of_a_client": min(done), "most_of_a_client": max(done), "longest_seconds": round(max(longest), 2),
                          "resident_mb": round(server.resident_bytes() / 1e6)}))
        code = server.stop()
        sys.exit(1 if problems or code != 0 else 0)


main()
