"""The same port behind TLS: wss from Python, WebSocket over HTTP/2 from Node, curl."""

import json
import pathlib
import ssl
import unittest

from scene import WAIT_S, HubCase

HERE = pathlib.Path(__file__).resolve().parent


def trusting() -> ssl.SSLContext:
    """The certificate is self-signed; whether it is the right one is not asked here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Tls(HubCase):
    FLAGS = ("--tls-self-signed",)

    def test_a_json_session(self):
        socket = self.socket("/ws", subprotocols=["whub.v1.json"], ssl=trusting())
        socket.send('{"kind":"hello"}')
        self.assertEqual(json.loads(socket.recv(timeout=WAIT_S))["kind"], "welcome")

    def test_a_large_message_of_a_pair(self):
        left = self.socket("/pair/tls", ssl=trusting())
        self.assertEqual(left.recv(timeout=WAIT_S), "/status:waiting")
        right = self.socket("/pair/tls", ssl=trusting())
        self.assertEqual(right.recv(timeout=WAIT_S), "/status:connected")
        self.assertEqual([left.recv(timeout=WAIT_S) for _ in range(2)], ["/remote:open", "/status:connected"])
        message = bytes(range(256)) * 16384
        left.send(message)
        self.assertEqual(right.recv(timeout=WAIT_S), message)

    def test_websocket_over_http2(self):
        self.run_program("node", "--test", "h2.test.mjs", cwd=HERE / "node")

    def test_curl_speaks_http2(self):
        version = self.run_program(
            "curl", "-sSk", "--http2", "-o", "/dev/null", "-w", "%{http_version}", f"{self.http}/healthz"
        )
        self.assertEqual(version, "2")


class PlainHttp2(HubCase):
    def test_websocket_over_http2_with_prior_knowledge(self):
        self.run_program("node", "--test", "h2.test.mjs", cwd=HERE / "node")


if __name__ == "__main__":
    unittest.main()
