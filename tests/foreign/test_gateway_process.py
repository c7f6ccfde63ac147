"""An endpoint whose process the hub runs: a Node server that is there when the hub is, comes back, and ends with the hub."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time
import unittest

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from endpoints import GatewayCase
from hub import Hub, free_port
from scene import WAIT_S

NODE = pathlib.Path(__file__).resolve().parent / "node"


def described(port: int) -> str:
    """The endpoint; its process is told the port of the URL."""
    return f'''url = "ws://127.0.0.1:{port}"
command = "exec node apps/echo.mjs"
command_folder = "{NODE}"
health_interval = "100ms"
backoff_max = "100ms"'''


class Processes(GatewayCase):
    @classmethod
    def setUpClass(cls):
        cls.ENDPOINTS = {"echo": described(free_port())}
        super().setUpClass()

    def open(self, hub: str | None = None) -> ClientConnection:
        """A plain client, once the endpoint is there."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return self.socket("/gateway/echo", base=hub)
            except InvalidStatus as refused:
                self.assertEqual(refused.response.status_code, 503)
                self.assertLess(time.monotonic(), deadline, "the process does not come")
                time.sleep(0.05)

    def pid(self, client: ClientConnection) -> int:
        client.send("pid")
        return int(client.recv(timeout=WAIT_S))

    def until_gone(self, pid: int) -> None:
        deadline = time.monotonic() + WAIT_S
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                self.assertLess(time.monotonic(), deadline, f"{pid} is still there")
                time.sleep(0.05)

    def test_a_process_that_dies_is_started_again(self):
        mux = self.socket("/gateway")
        for text in ("{event: SMHandshake, data: SYN}", "{event: SMHandshake, data: ACK}", "{event: SMHandshakeEnd}"):
            mux.send(text)
        self.assertEqual([mux.recv(timeout=WAIT_S) for _ in range(2)], ["{event: SMHandshake, data: SYN/ACK}", "{event: SMHandshakeEnd, data: ACK}"])
        seen = set()
        for death in ("end", signal.SIGKILL, signal.SIGTERM):
            client = self.open()
            pid = self.pid(client)
            self.assertNotIn(pid, seen)
            seen.add(pid)
            mux.send("ROUTENAME=echo\npid")
            self.hears(mux, f"ROUTENAME=echo\n{pid}")
            client.send("end") if death == "end" else os.kill(pid, death)
            with self.assertRaises(ConnectionClosed) as closed:
                client.recv(timeout=WAIT_S)
            self.assertEqual(closed.exception.rcvd.code, 1012)
            self.hears(mux, "{event: SMRoute, data: route down echo}")
            self.hears(mux, "{event: SMRoute, data: route up echo}")

    def hears(self, client: ClientConnection, wanted: str) -> None:
        """Waits for a text; before it may come what was refused meanwhile."""
        while (text := client.recv(timeout=WAIT_S)) != wanted:
            self.assertIn(text, ("{event: SMRoute, data: route unconfirmed 1 echo}", "{event: SMError, data: route down echo}"))

    def test_it_ends_with_the_hub_even_with_one_that_is_killed(self):
        for killed in (False, True):
            with self.subTest(killed=killed):
                config = self.config.with_name("own.toml")
                config.write_text(f'[[endpoints]]\nname = "echo"\n{described(free_port())}\n')
                hub = Hub(self.binary, self.hub.log.with_name("Processes-own.log"), "--config", str(config))
                try:
                    pid = self.pid(self.open(hub.url))
                finally:
                    hub.kill() if killed else hub.end()
                self.until_gone(pid)


if __name__ == "__main__":
    unittest.main()
