"""What flows for long: large bodies through a hub whose memory stays flat, and WebSockets to a service in JSON."""

import contextlib
import subprocess
import threading
import time
import unittest

from json_client import SUBPROTOCOL, JsonClient, payload
from scene import WAIT_S, HubCase
from websockets.exceptions import ConnectionClosed, InvalidStatus

MIB = 2**20
BODY = 64 * MIB
ROOM = 24 * MIB
"""What a hub may need beyond what it had: buffers and windows, far less than a body."""


class LargeBodies(HubCase):
    def setUp(self):
        super().setUp()
        self.program(self.binary, "provide", "/count", "--exec", "wc -c", stderr=None)
        self.program(self.binary, "provide", "/zeros", "--stream", "--exec", f"head -c {BODY} /dev/zero", stderr=None)
        for path in ("/count", "/zeros"):
            self.wait_for(path)
        # What the first of everything needs.
        self.curl("/count", "-d", "x")
        self.before = self.hub.peak_bytes

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.curl(path, "-o", "/dev/null", "-w", "%{http_code}") == b"404":
            self.assertLess(time.monotonic(), deadline, f"nobody provides {path}")

    def curl(self, path: str, *options: str, **files) -> bytes:
        command = ("curl", "-sS", "--max-time", str(WAIT_S), *options, self.hub.url.replace("ws", "http", 1) + path)
        output, _ = self.program(*command, stderr=None, **files).communicate(timeout=WAIT_S + 5)
        return output

    def stays_flat(self) -> None:
        self.assertLess(self.hub.peak_bytes - self.before, ROOM, "the hub holds bodies in memory")

    def test_uploads(self):
        name = self.hub.log.parent / "large-body"
        with open(name, "wb") as body:
            body.truncate(BODY)
        self.addCleanup(name.unlink)
        with open(name, "rb") as body:
            chunked = self.curl("/count", "-T", "-", stdin=body)
        self.assertEqual(int(chunked), BODY)
        for options in ((), ("--http2-prior-knowledge",)):
            self.assertEqual(int(self.curl("/count", "-T", str(name), *options)), BODY, options)
        self.stays_flat()

    def test_downloads(self):
        for options in ((), ("--http2-prior-knowledge",)):
            counted = self.curl("/zeros", "-o", "/dev/null", "-w", "%{size_download}", *options)
            self.assertEqual(int(counted), BODY, options)
        self.stays_flat()

    def test_a_download_that_nobody_reads(self):
        slow = self.program("curl", "-sS", "-N", "--limit-rate", "1k", "--max-time", "3", self.http + "/zeros", stdout=subprocess.DEVNULL)
        slow.communicate(timeout=WAIT_S)
        self.stays_flat()


class WebSocketService(HubCase):
    def setUp(self):
        super().setUp()
        self.provider = JsonClient(self.socket("/ws", subprotocols=[SUBPROTOCOL]))
        self.assertEqual(self.provider.ask(kind="register", path="/chat/:room")["kind"], "ok")

    def open(self, path: str = "/chat/a%20b?as=json", protocols=("one", "two")):
        """Opens a WebSocket in the background of the provider's answer."""
        outcome = {}

        def dial():
            try:
                outcome["socket"] = self.socket(path, subprotocols=list(protocols))
            except InvalidStatus as error:
                outcome["refused"] = error.response

        thread = threading.Thread(target=dial)
        thread.start()
        request = self.provider.next("request")
        self.assertEqual((request["method"], request["path"]), ("WEBSOCKET", path.split("?")[0]))
        self.assertEqual(request["headers"]["sec-websocket-protocol"], ", ".join(protocols))
        return request["id"], thread, outcome

    def accept(self):
        id, thread, outcome = self.open()
        self.provider.send(kind="response", id=id, status=101, headers={"sec-websocket-protocol": "two"})
        thread.join(WAIT_S)
        return id, outcome["socket"]

    def test_messages_both_ways_and_the_clients_close(self):
        id, socket = self.accept()
        self.assertEqual(socket.subprotocol, "two")
        socket.send("grüße")
        self.assertEqual(self.provider.next("data", id=id)["text"], "grüße")
        socket.send(b"\x00\xff")
        self.assertEqual(payload(self.provider.next("data", id=id)), b"\x00\xff")
        self.provider.send(kind="data", id=id, text="hello")
        self.assertEqual(socket.recv(timeout=WAIT_S), "hello")
        self.provider.send(kind="data", id=id, b64="AP8=")
        self.assertEqual(socket.recv(timeout=WAIT_S), b"\x00\xff")
        self.assertTrue(socket.ping().wait(WAIT_S))
        socket.close(3001, "enough")
        last = self.provider.next("data", id=id)
        self.assertEqual((last["close"], last["reason"], last["end"]), (3001, "enough", True))
        self.provider.send(kind="data", id=id, end=True, close=3001)

    def test_a_large_message_under_credit(self):
        id, socket = self.accept()
        socket.send("x" * MIB)
        whole = ""
        while True:
            frame = self.provider.next("data", id=id)
            whole += frame["text"]
            self.provider.send(kind="credit", id=id, bytes=len(frame["text"]))
            if not frame.get("more"):
                break
        self.assertEqual(len(whole), MIB)

    def test_the_providers_close(self):
        id, socket = self.accept()
        self.provider.send(kind="data", id=id, end=True, close=4000, reason="over")
        with self.assertRaises(ConnectionClosed) as caught:
            socket.recv(timeout=WAIT_S)
        self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (4000, "over"))

    def test_a_refusal(self):
        id, thread, outcome = self.open()
        self.provider.send(kind="response", id=id, status=403, headers={"x-why": "members"}, text="no", end=True)
        thread.join(WAIT_S)
        refused = outcome["refused"]
        self.assertEqual((refused.status_code, refused.headers["x-why"], refused.body), (403, "members", b"no"))

    def test_a_lost_provider(self):
        _, socket = self.accept()
        with contextlib.suppress(ConnectionClosed):
            self.provider._socket.close()
        with self.assertRaises(ConnectionClosed) as caught:
            socket.recv(timeout=WAIT_S)
        self.assertEqual(caught.exception.rcvd.code, 1012)


if __name__ == "__main__":
    unittest.main()
