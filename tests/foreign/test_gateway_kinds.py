"""Endpoints that are no address: a provider that dialled in, a channel, a pair. Plain clients cannot tell the difference."""

from __future__ import annotations

import unittest

from websockets.sync.client import ClientConnection

from endpoints import Echo, GatewayCase
from scene import WAIT_S


class Kinds(GatewayCase):
    ENDPOINTS = {"behind": 'service = "/behind/app"', "news": 'channel = "news/all"', "kitchen": 'pair = "kitchen"'}

    def open(self, name: str) -> ClientConnection:
        return self.socket(f"/gateway/{name}")

    def hears(self, client: ClientConnection, *texts: str | bytes) -> None:
        for text in texts:
            self.assertEqual(client.recv(timeout=WAIT_S), text)

    def mux(self) -> ClientConnection:
        client = self.socket("/gateway")
        client.send("{event: SMHandshake, data: SYN}")
        self.hears(client, "{event: SMHandshake, data: SYN/ACK}")
        client.send("{event: SMHandshake, data: ACK}")
        client.send("{event: SMHandshakeEnd}")
        self.hears(client, "{event: SMHandshakeEnd, data: ACK}")
        return client

    def test_a_provider_that_dialled_in(self):
        app = Echo("app")
        self.addCleanup(app.close)
        exposer = self.program(self.binary, "expose", "behind", f"http://127.0.0.1:{app.port}", text=True)
        self.assertIn("exposing", exposer.stderr.readline())
        client, mux = self.open("behind/and/more?q=1"), self.mux()
        for text in ("hello", "x" * 3_000_000):
            client.send(text)
            self.hears(client, f"app: {text}")
        client.send(b"\x00\xff")
        self.hears(client, b"app: \x00\xff")
        mux.send("ROUTENAME=behind\nhello")
        self.hears(mux, "ROUTENAME=behind\napp: hello")

    def test_a_channel(self):
        ada, bob, mux = self.open("news"), self.open("news"), self.mux()
        mux.send("ROUTENAME=news\nfirst")
        for client in (ada, bob):
            self.hears(client, "first")
        ada.send("second")
        self.hears(bob, "second")
        self.hears(mux, "ROUTENAME=news\nsecond")
        self.run_program(self.binary, "publish", "news/all", "third")
        for client in (ada, bob):
            self.hears(client, "third")
        self.hears(mux, "ROUTENAME=news\nthird")

    def test_a_pair(self):
        ada = self.open("kitchen")
        self.hears(ada, "/status:waiting")
        mux = self.mux()
        mux.send(b"ROUTENAME=kitchen\n\x00\xff")
        self.hears(ada, "/remote:open", "/status:connected", b"\x00\xff")
        self.hears(mux, "ROUTENAME=kitchen\n/status:connected")
        ada.send("dinner")
        self.hears(mux, "ROUTENAME=kitchen\ndinner")
        mux.close()
        self.hears(ada, "/remote:close", "/status:waiting")


if __name__ == "__main__":
    unittest.main()
