"""A web_chat that the tests of a class share, raw requests to it, and large images."""
import json
import socket
import struct
import tempfile
import time
import unittest
import zlib

from server import LONG, WebChat, make_model, question

CHAT = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def setUpModule():
    global temporary, files
    temporary = tempfile.TemporaryDirectory()
    files = make_model(temporary.name)


def tearDownModule():
    temporary.cleanup()


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def png_header(width, height, data=b"", depth=8):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def black_png(width, height, depth):
    """A whole RGB image."""
    row, compressor = bytes(1 + width * 3 * depth // 8), zlib.compressobj(1)
    return png_header(width, height, b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush(), depth)


class OneServer(unittest.TestCase):
    flags = ("--max_seq_len", 20000, "--max_new_tokens", 19000, "--max_body_mb", 1, "--max_pictures", 2, "--max_megapixels", 1)

    @classmethod
    def setUpClass(cls):
        cls.server = WebChat(files, *cls.flags)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def connect(self):
        client = socket.create_connection((self.server.host, self.server.port), timeout=60)
        self.addCleanup(client.close)
        return client

    def exchange(self, data):
        """Sends bytes and reads until the server ends the connection."""
        return self.exchange_pieces([data]).decode()

    def exchange_pieces(self, pieces, pause=0):
        client = self.connect()
        try:
            for piece in pieces:
                client.sendall(piece if isinstance(piece, bytes) else piece.encode())
                time.sleep(pause)
        except OSError:
            pass  # the server may have answered before all was sent
        return b"".join(iter(lambda: client.recv(65536), b""))

    def post(self, body, headers=""):
        return f"{CHAT}{headers}Content-Length: {len(body)}\r\n\r\n{body}"

    def begin_long_answer(self, stream):
        """A client whose long answer has begun."""
        client = self.connect()
        body = json.dumps({"messages": [question("x")], "stream": stream, **LONG})
        client.sendall(self.post(body).encode())
        if stream:
            self.assertIn(b"200 OK", client.recv(4096))
        else:
            self.assertTrue(wait_until(lambda: self.server.metric("minimind_requests_inside") == 1))
        return client

    def error(self, status, body, found_status, **expected):
        self.assertEqual(found_status, status, body)
        self.assertEqual(set(body["error"]), {"message", "type", "param", "code"})
        for name, value in expected.items():
            self.assertEqual(body["error"][name], value, body)
