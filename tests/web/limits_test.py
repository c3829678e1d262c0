#!/usr/bin/env python3
"""web_chat at its limits: little memory, full queues, time limits, ports, signals."""
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import one_server
from one_server import CHAT, black_png, wait_until, setUpModule, tearDownModule
from server import BIN, IMAGES, LONG, WebChat, question


class LittleMemory(unittest.TestCase):
    """The program under `ulimit -v`: what needs more is refused, and it lives."""

    def refusals(self, server, bodies):
        """Statuses of requests at one time; 0: no answer."""
        statuses = []

        def send(body):
            try:
                statuses.append(server.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})[0])
            except OSError:
                statuses.append(0)  # refused before all was sent
        threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    def test_the_largest_images_take_a_bounded_memory(self):
        with WebChat(one_server.files) as server:
            self.assertEqual(server.chat([question("x", IMAGES[0])], max_tokens=2)[0], 200)
            before = server.peak_bytes()
            status, body = server.chat([question("x", black_png(7000, 7000, 16))], max_tokens=2)
            self.assertEqual((status, body["error"]["code"]), (413, "image_too_large"))
            self.assertLess(server.peak_bytes() - before, 60e6)
            self.assertEqual(server.chat([question("x", black_png(7000, 7000, 8))], max_tokens=2)[0], 200)
            self.assertLess(server.peak_bytes() - before, 500e6)

    def test_large_requests_are_refused_where_memory_is_little(self):
        image = json.dumps({"messages": [question("x", black_png(6000, 6000, 8))]})
        text = json.dumps({"messages": [question("x" * 20_000_000)]})
        for room in (200e6, 60e6):
            with WebChat(one_server.files) as server:
                self.assertEqual(server.chat([question("x", IMAGES[0])], max_tokens=2)[0], 200)
                limit = int(server.virtual_bytes() + room)
                resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))
                self.assertEqual(self.refusals(server, [image]), [503])
                statuses = self.refusals(server, [text] * 16)
                self.assertLessEqual(set(statuses), {0, 400, 413, 503})
                self.assertIn(503, statuses)
                self.assertEqual(server.chat([question("x", IMAGES[0])], max_tokens=2)[0], 200)
                self.assertEqual(server.stop(), 0)


class Limits(unittest.TestCase):
    def test_a_full_queue_answers_429_and_full_connections_503(self):
        with WebChat(one_server.files, "--max_queue", 1, "--max_connections", 4, "--max_seq_len", 20000, "--max_new_tokens", 19000) as server:
            statuses = []

            def ask():
                statuses.append(server.request("POST", "/v1/chat/completions", json.dumps({"messages": [question("x")], "temperature": 0}),
                                               {"Content-Type": "application/json"}))

            body = json.dumps({"messages": [question("x")], **LONG, "stream": True})
            clients = []
            for _ in range(2):
                client = socket.create_connection((server.host, server.port))
                client.sendall(f"{CHAT}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                clients.append(client)
            self.assertTrue(wait_until(lambda: server.metric("minimind_requests_inside") == 2))
            ask()
            self.assertEqual(statuses[0][0], 429)
            self.assertIn("Retry-After", statuses[0][2])
            clients += [socket.create_connection((server.host, server.port)) for _ in range(2)]
            time.sleep(0.3)
            self.assertEqual(server.get("/healthz")[0], 503)
            for client in clients:
                client.close()
            self.assertTrue(wait_until(lambda: server.get("/healthz")[0] == 200))

    def test_time_limits_answer_504_and_408(self):
        with WebChat(one_server.files, "--request_seconds", 0.2, "--max_seq_len", 20000, "--max_new_tokens", 19000) as server:
            status, body = server.chat([question("x")], temperature=0)
            self.assertEqual((status, body["error"]["code"]), (504, "timeout"))
            client = socket.create_connection((server.host, server.port), timeout=60)
            client.sendall(b"GET /heal")
            self.assertIn(b"408", client.recv(1000).split(b"\r\n")[0])
            client.close()


class Processes(unittest.TestCase):
    def test_a_port_in_use_is_refused(self):
        with WebChat(one_server.files) as server:
            second = subprocess.run([BIN / "web_chat", *one_server.files, "--port", str(server.port)], capture_output=True, text=True, timeout=60)
            self.assertEqual(second.returncode, 1)
            self.assertIn(f"error: --port {server.port}: expected a free port", second.stderr)
            self.assertEqual(server.get("/healthz")[0], 200)

    def test_wrong_usage_exits_2_and_missing_files_1(self):
        for flags, code in ((["--port", "70000"], 2), (["--temperature", "-1"], 2), (["--temperature", "1e-40"], 2), (["--temperature", "5"], 2),
                            (["--repetition_penalty", "11"], 2), (["--max_seq_len", "999999999999"], 2), (["--threads", "5000"], 2), (["--nonsense"], 2), (["--max_megapixels", "179"], 2), (["--max_queue", "-1"], 2),
                            (["--host", "no.such.host.invalid"], 1), (["--checkpoint", "/nowhere.pth"], 1)):
            result = subprocess.run([BIN / "web_chat", *one_server.files, "--port", "0", *flags], capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertEqual(len([line for line in result.stderr.splitlines() if line.startswith("error: ")]), 1, result.stderr)

    def test_the_default_is_reached_from_this_machine_alone(self):
        with WebChat(one_server.files) as server:
            self.assertEqual(server.host, "127.0.0.1")
        with WebChat(one_server.files, "--host", "0.0.0.0") as server:
            server.errors.seek(0)
            self.assertIn("no password", server.errors.read())

    def test_sigterm_finishes_what_runs_and_refuses_what_comes(self):
        with WebChat(one_server.files, "--max_seq_len", 4000, "--max_new_tokens", 3000) as server:
            answers = []

            def ask():
                answers.append(server.chat([question("x")], temperature=0))

            threads = [threading.Thread(target=ask) for _ in range(3)]
            for thread in threads:
                thread.start()
            self.assertTrue(wait_until(lambda: server.metric("minimind_requests_inside") == 3))
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(wait_until(lambda: server.get("/healthz")[0] == 503, 5))
            status, body = server.chat([question("x")])
            self.assertEqual((status, body["error"]["code"]), (503, "shutting_down"))
            self.assertEqual(server.process.wait(60), 0)
            for thread in threads:
                thread.join()
            self.assertEqual([status for status, _ in answers], [200] * 3)
            self.assertEqual({body["usage"]["completion_tokens"] for _, body in answers}, {3000})

    def test_a_second_signal_ends_at_once(self):
        with WebChat(one_server.files, "--max_seq_len", 20000, "--max_new_tokens", 19000) as server:
            answers = []
            thread = threading.Thread(target=lambda: answers.append(server.chat([question("x")], temperature=0)))
            thread.start()
            self.assertTrue(wait_until(lambda: server.metric("minimind_requests_inside") == 1))
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(5), 0)
            thread.join()
            self.assertEqual(answers[0][0], 503)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
