"""Clients in other languages, each a program of its own that ends with status 0 when all is well."""

import pathlib
import unittest

from scene import HubCase

HERE = pathlib.Path(__file__).resolve().parent


class OtherLanguages(HubCase):
    FLAGS = ("--set", "debug.echo=true")

    def test_java(self):
        printed = self.run_program("java", str(HERE / "Echo.java"), f"{self.hub.url}/debug/echo")
        self.assertIn("echo ok", printed)

    def test_node(self):
        self.run_node("ws.test.mjs")

    def test_chromium(self):
        self.run_node("browser.test.mjs")

    def test_webrtc(self):
        self.run_node("webrtc.test.mjs")

    def run_node(self, name: str) -> None:
        # Node 20 has the standard WebSocket behind this flag; later versions have it anyway.
        self.run_program("node", "--experimental-websocket", "--test", name, cwd=HERE / "node", timeout_s=300)


if __name__ == "__main__":
    unittest.main()
