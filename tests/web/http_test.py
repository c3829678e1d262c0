#!/usr/bin/env python3
"""web_chat as raw sockets see it: routes, requests, slow and vanished clients."""
import json
import re
import socket
import struct
import subprocess
import sys
import time
import unittest
import zlib

import one_server
from one_server import CHAT, OneServer, png_header, wait_until, setUpModule, tearDownModule
from server import BIN, IMAGES, WebChat, question


class Routes(OneServer):
    def test_page_and_its_files_name_no_other_host(self):
        status, page, headers = self.server.get("/")
        self.assertEqual(status, 200)
        self.assertIn("text/html", headers["Content-Type"])
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        for name in re.findall(r'(?:src|href)="([a-z]+\.\w+)"', page) + ["api.js", "turns.js", "view.js", "images.js", "texts.js"]:
            status, text, _ = self.server.get("/" + name)
            self.assertEqual(status, 200, name)
            page += text
        self.assertEqual([url for url in re.findall(r"https?://[^\s'\"`]+", page) if "www.w3.org" not in url], [])

    def test_health_models_and_metrics(self):
        self.assertEqual(json.loads(self.server.get("/healthz")[1]), {"status": "ok"})
        model = json.loads(self.server.get("/v1/models")[1])["data"][0]
        self.assertEqual((model["id"], model["object"]), ("32_vlm_pretrain", "model"))
        self.assertEqual(json.loads(self.server.get("/v1/models/" + model["id"])[1]), model)
        before = self.server.metric("minimind_completion_tokens_total")
        self.assertEqual(self.server.chat([question("x")], max_tokens=3)[0], 200)
        self.assertTrue(wait_until(lambda: self.server.metric("minimind_completion_tokens_total") > before))
        text = self.server.get("/metrics")[1]
        for line in text.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[^}]*\})? [0-9.e+-]+)$')
        # Counted once the answer has left, so a client may be faster.
        counted = 'minimind_http_responses_total{route="/v1/chat/completions",status="200"}'
        self.assertTrue(wait_until(lambda: counted in self.server.get("/metrics")[1]))

    def test_answers_to_this_machines_names_alone(self):
        """A page elsewhere may give its own name this machine's address: the browser then sends that name."""
        for host, status in (("localhost", 200), ("LOCALHOST:80", 200), ("localhost.", 200), ("127.0.0.1:8080", 200), ("[::1]:8080", 200), ("evil.example", 403),
                             ("127.0.0.1.evil.example:8080", 403), ("localhost.evil.example", 403), ("", 403)):
            answer = self.exchange(f"GET /settings.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), (host, answer))
        self.assertIn('"host_not_allowed"', answer)
        with WebChat(one_server.files, "--allowed_hosts", "Chat.Example", "fd00::5") as server:
            for host in ("Chat.Example:443", "[FD00::5]:80"):
                self.assertEqual(server.request("GET", "/healthz", None, {"Host": host})[0], 200)
            self.assertEqual(server.request("GET", "/healthz", None, {"Host": "other.example"})[0], 403)

    def test_wrong_paths_methods_and_types(self):
        for method, path, status in (("GET", "/nothing", 404), ("GET", "/v1/models/none", 404), ("GET", "/../etc/passwd", 404), ("GET", "//etc/passwd", 404),
                                     ("POST", "/healthz", 405), ("DELETE", "/v1/models", 405), ("GET", "/v1/chat/completions", 405),
                                     ("OPTIONS", "/v1/chat/completions", 405), ("POST", "/v1/chat/completions", 415)):
            found, text, headers = self.server.request(method, path, "{}" if method == "POST" else None)
            self.error(status, json.loads(text), found)
            self.assertEqual("Allow" in headers, status == 405)
        self.assertEqual(self.server.request("HEAD", "/healthz")[:2], (200, ""))
        for path in ("/v1/completions", "/v1/embeddings", "/api/chat", "/v1/chat/completions/"):
            found, text, _ = self.server.request("POST", path, "{}", {"Content-Type": "application/json"})
            self.error(404, json.loads(text), found)
            self.assertIn(f"found {path}\"", text)

    def test_codings_are_read_in_any_case(self):
        body = json.dumps({"messages": [question("x")], "max_tokens": 2})
        for coding, status in (("identity", 200), ("Identity", 200), (" IDENTITY ", 200), ("gzip", 415), ("br", 415)):
            found, text, _ = self.server.request("POST", "/v1/chat/completions", body, {"Content-Type": "Application/JSON", "Content-Encoding": coding})
            self.assertEqual(found, status, text)

    def test_the_absolute_form_names_the_host(self):
        for target, host, status in (("http://127.0.0.1/healthz", "localhost", 200), ("http://localhost:80/healthz?a=b", "evil.example", 200),
                                     ("HTTP://LOCALHOST/v1/models", "localhost", 200), ("http://localhost", "localhost", 200), ("http://localhost?x", "localhost", 200),
                                     ("https://[::1]:8080/healthz", "localhost", 200), ("http://evil.example/healthz", "localhost", 403),
                                     ("http:///healthz", "localhost", 400), ("http://localhost@evil.example/healthz", "localhost", 400),
                                     ("ftp://localhost/healthz", "localhost", 400), ("localhost/healthz", "localhost", 400)):
            answer = self.exchange(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), (target, answer))

    def test_a_request_of_http_1_1_names_its_host_once(self):
        for version, hosts, status in (("1.1", "", 400), ("1.1", "Host: localhost\r\n", 200), ("1.1", "Host: localhost\r\nHost: localhost\r\n", 400),
                                       ("1.0", "", 200), ("1.0", "Host: localhost\r\nHost: localhost\r\n", 400)):
            answer = self.exchange(f"GET /healthz HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n")
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), (version, hosts, answer))
        self.assertIn("Host: expected it once", answer)

    def test_model_names_may_be_percent_encoded(self):
        with WebChat(one_server.files, "--model_name", "org/m x%") as server:
            for path, status in (("org/m%20x%25", 200), ("org%2Fm%20x%25", 200), ("org%2fm%20x%", 200), ("org/m%20y", 404)):
                found, text, _ = server.request("GET", "/v1/models/" + path)
                self.assertEqual(found, status, text)
            self.assertIn("found org/m y", text)
            self.assertEqual(server.chat([question("x")], model="org/m x%", max_tokens=2)[0], 200)


class Origins(OneServer):
    """Other pages than the server's own use the API."""

    def preflight(self, server, origin):
        return server.request("OPTIONS", "/v1/chat/completions", None, {"Origin": origin, "Access-Control-Request-Method": "POST",
                                                                         "Access-Control-Request-Headers": "authorization,content-type"})

    def test_pages_of_this_machine_may_read_answers(self):
        for origin in ("http://localhost:5173", "http://127.0.0.1:3000", "https://app.localhost", "http://[::1]:8000"):
            status, text, headers = self.preflight(self.server, origin)
            self.assertEqual((status, text, headers["Access-Control-Allow-Origin"]), (204, "", origin))
            self.assertIn("POST", headers["Access-Control-Allow-Methods"])
            self.assertEqual(headers["Access-Control-Allow-Headers"], "authorization,content-type")
            self.assertIsNone(headers["Content-Length"])
        for stream in (False, True):
            for messages, status in (([question("x")], 200), ([], 400)):
                body = json.dumps({"messages": messages, "max_tokens": 2, "stream": stream})
                found, _, headers = self.server.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json", "Origin": origin})
                self.assertEqual((found, headers["Access-Control-Allow-Origin"], headers["Vary"]), (status, origin, "Origin"))
        self.assertEqual(self.server.request("GET", "/v1/models", None, {"Origin": origin})[2]["Access-Control-Allow-Origin"], origin)

    def test_other_pages_may_not_unless_they_are_named(self):
        for origin in ("https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "null", "file://localhost"):
            status, text, headers = self.preflight(self.server, origin)
            self.error(403, json.loads(text), status, code="origin_not_allowed")
            self.assertIsNone(headers["Access-Control-Allow-Origin"])
            self.assertIsNone(self.server.request("GET", "/v1/models", None, {"Origin": origin})[2]["Access-Control-Allow-Origin"])
        with WebChat(one_server.files, "--allowed_origins", "https://Chat.Example", "app://obsidian.md", "null") as server:
            for origin, status in (("https://chat.example", 204), ("app://obsidian.md", 204), ("null", 204), ("http://chat.example", 403), ("https://chat.example:444", 403)):
                self.assertEqual(self.preflight(server, origin)[0], status, origin)
        with WebChat(one_server.files, "--allowed_origins", "*") as server:
            self.assertEqual(self.preflight(server, "https://any.example")[0], 204)
        for origin in ("chat.example", "https://", "https://chat.example/page", "https://*.example"):
            refused = subprocess.run([BIN / "web_chat", *one_server.files, "--port", "0", "--allowed_origins", origin], capture_output=True, text=True, timeout=60)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("--allowed_origins", refused.stderr)


class BadRequests(OneServer):
    def test_names_the_field(self):
        for fields, param in (({"temperature": -1}, "temperature"), ({"top_p": 2}, "top_p"), ({"n": 3}, "n"), ({"max_tokens": 20000}, "max_tokens"),
                              ({"stop": [""]}, "stop"), ({"messages": []}, "messages"), ({"extra": 1}, "extra")):
            status, body = self.server.chat(json.dumps({"messages": [question("x")], **fields}))
            self.error(400, body, status, param=param, type="invalid_request_error")
        for body in ("", "{", "[1]", '{"messages": NaN}', b'{"messages": "\xff"}', "[" * 100000, '{"a":' * 5000):
            status, answer = self.server.chat(body)
            self.error(400, answer, status, code="invalid_json")

    def test_opens_nothing_that_a_client_names(self):
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(0.3)
            for url in (f"http://127.0.0.1:{trap.getsockname()[1]}/x.png", "file:///etc/passwd", "/etc/passwd"):
                message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
                status, body = self.server.chat([message])
                self.error(400, body, status, code="unsupported_image_url", param="messages[0].content[0].image_url.url")
            with self.assertRaises(TimeoutError):
                trap.accept()

    def test_images_that_are_none_or_too_large(self):
        status, body = self.server.chat([question("x", b"only text")])
        self.error(400, body, status, code="invalid_image")
        bomb = png_header(30000, 30000, zlib.compress(b"\0" * 1000000))
        before = self.server.resident_bytes()
        for image in (bomb, png_header(1, 1, zlib.compress(b"\0" * 300_000_000, 9)), IMAGES[0].read_bytes()[:500]):
            status, body = self.server.chat([question("x", image)])
            self.error(400, body, status, code="invalid_image")
        self.assertLess(self.server.resident_bytes() - before, 100e6)
        status, body = self.server.chat([question("x", *[IMAGES[0]] * 3)])
        self.error(400, body, status, code="too_many_images")

    def test_large_bodies_are_refused_with_413_however_they_come(self):
        large = "x" * 3_000_000
        self.assertIn("413", self.exchange(self.post(large)).split("\r\n")[0])
        chunked = CHAT + "Transfer-Encoding: chunked\r\n\r\n" + "".join(f"186a0\r\n{'x' * 100000}\r\n" for _ in range(30)) + "0\r\n\r\n"
        self.assertIn("413", self.exchange(chunked).split("\r\n")[0])
        self.assertIn("413", self.exchange(CHAT + "Content-Length: 999999999999\r\n\r\n").split("\r\n")[0])

    def expect_refused(self, status, data):
        """The server answers with the status, tells the reason in JSON and ends the connection."""
        data = data.encode("latin-1")
        for pieces in ([data], [data[:-1], data[-1:]], [data[i:i + 1] for i in range(len(data))])[:3 if len(data) < 500 else 2]:
            answer = self.exchange_pieces(pieces, pause=0.02 if len(pieces) == 2 else 0)
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} ".encode()), (data[:200], answer[:300]))
            self.assertIn(b'{"error":{', answer)
            self.assertIn(b"Connection: close", answer)

    def test_what_is_no_request_is_refused(self):
        for line in ("hello", "GET /", "GET x HTTP/1.1", "GET / HTTQ/1.1", "G(T / HTTP/1.1", "GET /a b HTTP/1.1", " / HTTP/1.1",
                     "GET /\x01 HTTP/1.1", "GET /\xe9 HTTP/1.1", "\x16\x03\x01\x02 tls hello"):
            self.expect_refused(400, line + "\r\nHost: localhost\r\n\r\n")
        for version in ("HTTP/2.0", "HTTP/3.0", "HTTP/1.2"):
            self.expect_refused(505, f"GET / {version}\r\n\r\n")

    def test_what_is_no_http_is_answered_at_once(self):
        for greeting in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16", b"\x80\x2e\x01", b"\x05\x01\x00", b"\x00"):
            client = self.connect()
            start = time.monotonic()
            client.sendall(greeting)
            answer = client.recv(1000)
            self.assertLess(time.monotonic() - start, 5)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
            self.assertEqual(b"http:// instead of https://" in answer, greeting.startswith(b"\x16"), answer)

    def test_headers_that_may_be_read_in_two_ways_are_refused(self):
        for headers in ("bad header", "Name : value", " folded: line", "A: b\r\n folded", "A: b\r\n\tfolded", "A: b\x01",
                        "Content-Length: 3\r\nContent-Length: 4", "Content-Length: -1", "Content-Length: +1", "Content-Length: 1x", "Content-Length: x",
                        "Content-Length: 99999999999999999999999", "Content-Length: 3\r\nTransfer-Encoding: chunked",
                        "Transfer-Encoding: chunked\r\nContent-Length: 3", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"):
            self.expect_refused(400, f"POST / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n")
        self.expect_refused(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
        for coding in ("gzip, chunked", "gzip", "chunked, gzip"):
            self.expect_refused(501, f"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n")
        self.expect_refused(417, "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n")

    def test_bodies_and_headers_beyond_their_limit_are_refused(self):
        self.expect_refused(413, f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 ** 20 + 1}\r\n\r\n")
        chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.expect_refused(413, chunked + "100001\r\n")
        self.expect_refused(413, chunked + "A\r\n0123456789\r\nFFFFF\r\n")
        self.expect_refused(413, chunked + "FFFFFFFFFFFFFFFF\r\n")
        self.expect_refused(431, "GET / HTTP/1.1\r\nX: " + "x" * 16384)
        self.expect_refused(431, "x" * 16384)
        self.expect_refused(431, "GET / HTTP/1.1\r\n" + "X: y\r\n" * 3000)

    def test_broken_chunks_are_refused(self):
        chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunk in ("\r\n", "x\r\n", "-1\r\n", "3\r\nabcd\r\n\r\n", "3\nabc\r\n", "10000000000000000\r\n", "0\r\nbad trailer\r\n\r\n"):
            self.expect_refused(400, chunked + chunk)
        self.expect_refused(400, chunked + "0\r\n" + "x" * 20000)  # an endless trailer
        self.expect_refused(400, chunked + "1;" + "x" * 20000)  # an endless extension
        self.assertEqual(self.server.get("/healthz")[0], 200)


class Messages(OneServer):
    def test_an_answer_goes_on_where_the_last_message_ends(self):
        fields = {"temperature": 0, "max_tokens": 12}
        whole = self.server.chat([question("x")], **fields)[1]["choices"][0]["message"]["content"]
        self.assertGreater(len(whole), 1)
        begun = whole[:len(whole) // 2]
        status, body = self.server.chat([question("x"), {"role": "assistant", "content": begun}], **fields)
        self.assertEqual(status, 200)
        self.assertTrue((begun + body["choices"][0]["message"]["content"]).startswith(whole[:len(begun) + 3]), (whole, body))
        status, empty = self.server.chat([question("x"), {"role": "assistant", "content": ""}], **fields)
        self.assertEqual(empty["choices"][0]["message"]["content"], whole)

    def test_an_image_comes_in_every_form_of_base64(self):
        asked = question("x", IMAGES[0])
        url = asked["content"][0]["image_url"]
        expected = self.server.chat([asked], temperature=0, max_tokens=8)[1]["choices"]
        head, _, text = url["url"].partition(",")
        for form in (head + "," + "\n".join(text[i:i + 76] for i in range(0, len(text), 76)), head.upper() + ", " + text.rstrip("="),
                     head + "," + text.replace("+", "-").replace("/", "_")):
            url["url"] = form
            status, body = self.server.chat([asked], temperature=0, max_tokens=8)
            self.assertEqual((status, body.get("choices")), (200, expected), body)


class Connections(OneServer):
    def test_pipelined_requests_are_answered_in_order(self):
        body = json.dumps({"messages": [question("x")], "max_tokens": 2})
        answer = self.exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + self.post(body) + "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000 + "GET /nothing HTTP/1.0\r\n\r\n")
        self.assertEqual(answer.count("HTTP/1.1 200"), 2002)
        self.assertLess(answer.index('"status":"ok"'), answer.index('"chat.completion"'))
        self.assertLess(answer.index('"chat.completion"'), answer.index('"object":"list"'))
        self.assertTrue(answer.endswith('"code":"not_found"}}'), answer[-300:])

    def test_requests_are_read_whole_or_byte_by_byte(self):
        body = json.dumps({"messages": [question("x")], "max_tokens": 2})
        half = len(body) // 2
        head = "POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: localhost\r\nContent-TYPE:  application/json \r\n"
        for data in (f"{head}Content-Length: {len(body)}\r\n\r\n{body}",
                     f"{head}Transfer-Encoding: chunked\r\n\r\n{half:x};x=y\r\n{body[:half]}\r\n{len(body) - half:X}\r\n{body[half:]}\r\n0\r\nX: y\r\n\r\n",
                     "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            data += "\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            for pieces in ([data], data):
                answer = self.exchange_pieces(pieces)
                self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2, answer)

    def test_connections_end_as_version_and_header_say(self):
        for data, goes_on in (("GET /healthz HTTP/1.0\r\n\r\n", False), ("GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
                              ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", False), ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", True)):
            client = self.connect()
            client.sendall(data.encode())
            self.assertIn(b"Connection: keep-alive" if goes_on else b"Connection: close", client.recv(4096))
            client.settimeout(0.3)
            if goes_on:
                with self.assertRaises(TimeoutError):
                    client.recv(1)
            else:
                self.assertEqual(client.recv(1), b"")

    def test_old_clients_get_an_answer_without_chunks(self):
        body = json.dumps({"messages": [question("x")], "max_tokens": 3, "stream": True})
        answer = self.exchange(self.post(body).replace("HTTP/1.1", "HTTP/1.0"))
        self.assertNotIn("chunked", answer)
        self.assertTrue(answer.endswith("data: [DONE]\n\n"))

    def test_consent_to_a_large_body_is_given(self):
        client = self.connect()
        body = json.dumps({"messages": [question("x")], "max_tokens": 2})
        head, _, _ = self.post(body).partition("\r\n\r\n")
        client.sendall((head + "\r\nExpect: 100-continue\r\n\r\n").encode())
        self.assertEqual(client.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(body.encode())
        self.assertIn(b"200 OK", client.recv(1000))

    def test_a_vanished_clients_answer_is_given_up(self):
        for stream in (True, False):
            before = self.server.metric("minimind_vanished_clients_total")
            client = self.begin_long_answer(stream)
            client.close()
            self.assertTrue(wait_until(lambda: self.server.metric("minimind_vanished_clients_total") == before + 1, 3), f"stream={stream}")
            self.assertEqual(self.server.metric("minimind_requests_inside"), 0)

    def test_every_way_to_leave_gives_the_answer_up(self):
        def reset(client):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

        def pipeline_and_close(client):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
            client.close()

        for leave in (lambda client: client.shutdown(socket.SHUT_WR), reset, pipeline_and_close):
            for stream in (True, False):
                before = self.server.metric("minimind_vanished_clients_total")
                client = self.begin_long_answer(stream)
                leave(client)
                self.assertTrue(wait_until(lambda: self.server.metric("minimind_vanished_clients_total") == before + 1, 3))
        client = self.connect()
        client.sendall(b"GET x HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        self.assertIn(b"400", client.recv(1000))  # what is no request is answered all the same

    def test_clients_that_read_nothing_or_send_slowly_hold_up_nobody(self):
        lazy = self.connect()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(self.post(json.dumps({"messages": [question("x")], "stream": True, "temperature": 0, "max_tokens": 3000})).encode())
        slow = [self.connect() for _ in range(100)]
        for client in slow:
            client.sendall(b"POST /v1/chat")
        start = time.monotonic()
        for _ in range(5):
            self.assertEqual(self.server.chat([question("x")], max_tokens=5)[0], 200)
        self.assertLess(time.monotonic() - start, 30)
        answer = b""
        while b"[DONE]" not in answer:
            piece = lazy.recv(65536)
            self.assertTrue(piece, "the lazy client's answer broke off")
            answer += piece
        self.assertEqual(self.server.get("/healthz")[0], 200)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
