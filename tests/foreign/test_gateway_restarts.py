"""An endpoint that is killed a hundred times under load: no client is lost, and each message has one known fate."""

from __future__ import annotations

import collections
import contextlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from endpoints import GatewayCase
from hub import free_port
from scene import WAIT_S

APPS = Path(__file__).resolve().parent / "apps"
CLIENTS = 4


class Mortal:
    """An echo that can be killed and started anew, and notes what it was told."""

    def __init__(self, log: Path):
        self.port = free_port()
        self.log = log
        log.touch()
        command = [sys.executable, str(APPS / "mortal.py"), str(self.port), str(log)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()

    def die_and_live(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(WAIT_S)
        self._process.stdout.close()

    def told(self) -> list[str]:
        return self.log.read_text().split()


class Client:
    """A client that says numbered messages, one after the other, and accounts for what it hears of them."""

    def __init__(self, name: str, socket: ClientConnection):
        self.name = name
        self.sent = 0
        self.echoed: list[str] = []
        self.refused = 0
        self.unconfirmed = 0
        self.news: collections.Counter[str] = collections.Counter()
        self.other: list[str | bytes] = []
        self.lost: ConnectionClosed | None = None
        self._socket = socket
        self._stop = threading.Event()
        self._heard = threading.Condition()
        self._threads = [threading.Thread(target=part, daemon=True) for part in (self._speak, self._listen)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Says nothing more."""
        self._stop.set()
        self._threads[0].join(WAIT_S)

    def send(self, body: str) -> None:
        self._socket.send(f"ROUTENAME=echo\n{body}")

    def until(self, condition) -> None:
        """Waits until what was heard meets a condition."""
        with self._heard:
            if not self._heard.wait_for(lambda: self.lost or condition(), WAIT_S):
                raise AssertionError(f"{self.name}: {len(self.echoed)} of {self.sent} echoed, {self.refused} refused, {self.news}")
        if self.lost:
            raise self.lost

    def _speak(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while not self._stop.wait(0.002):
                self.send(f"{self.name}-{self.sent}")
                self.sent += 1

    def _listen(self) -> None:
        try:
            for text in self._socket:
                with self._heard:
                    self._note(text)
                    self._heard.notify_all()
        except ConnectionClosed as closed:
            with self._heard:
                self.lost = closed
                self._heard.notify_all()

    def _note(self, text: str | bytes) -> None:
        if text == "{event: SMError, data: route down echo}":
            self.refused += 1
        elif text.startswith("ROUTENAME=echo\n"):
            self.echoed.append(text.split("\n", 1)[1])
        elif found := re.fullmatch(r"{event: SMRoute, data: route unconfirmed (\d+) echo}", text):
            self.unconfirmed += int(found[1])
        elif text.startswith("{event: SMRoute, "):
            self.news[text] += 1
        else:
            self.other.append(text)


class Restarts(GatewayCase):
    RESTARTS = 100
    WHEN_DOWN = "refuse"

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="whub-mortal-")
        cls.addClassCleanup(folder.cleanup)
        cls.mortal = Mortal(Path(folder.name) / "told")
        cls.addClassCleanup(cls.mortal.end)
        cls.ENDPOINTS = {"echo": f'url = "ws://127.0.0.1:{cls.mortal.port}"\nbackoff_max = "100ms"\nwhen_down = "{cls.WHEN_DOWN}"'}
        super().setUpClass()

    def test_no_client_is_lost_and_no_message_is_lost_in_silence(self):
        clients = [Client(f"client{n}", self.greeted()) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(self.RESTARTS):
            self.under_load(clients)
            self.mortal.die_and_live()
        self.under_load(clients)
        for client in clients:
            client.stop()
        for client in clients:
            # The endpoint lives on, and answers in order: whatever has not been refused by now has been confirmed.
            client.send("last")
            client.until(lambda: client.echoed[-1:] == ["last"])
        self.account(clients)

    def account(self, clients: list[Client]) -> None:
        told = collections.Counter(self.mortal.told())
        for client in clients:
            own = [f"{client.name}-{number}" for number in range(client.sent)]
            self.assertEqual(client.other, [])
            self.assertEqual([message for message in own if told[message] > 1], [], "delivered twice")
            self.assertEqual(len(client.echoed), len(set(client.echoed)), "echoed twice")
            self.assertTrue(all(told[message] for message in client.echoed), "echoed, but not delivered")
            # Of those on their way to the endpoint when it died nobody can know; all others are either here or there.
            missing = sum(not told[message] for message in own)
            self.assertLessEqual(missing, client.refused, f"of {client.sent} lost without a word")
            self.assertLessEqual(client.refused - client.unconfirmed, missing, f"of {client.sent} refused and delivered")
            self.assertEqual(client.news, {f"{{event: SMRoute, data: route {what} echo}}": self.RESTARTS for what in ("down", "up")})

    def greeted(self) -> ClientConnection:
        socket = self.socket("/gateway")
        for say, hear in (("{event: SMHandshake, data: SYN}", "{event: SMHandshake, data: SYN/ACK}"), ("{event: SMHandshake, data: ACK}", None), ("{event: SMHandshakeEnd}", "{event: SMHandshakeEnd, data: ACK}")):
            socket.send(say)
            if hear:
                self.assertEqual(socket.recv(timeout=WAIT_S), hear)
        return socket

    def under_load(self, clients: list[Client]) -> None:
        """Waits until each client has been served in this life of the endpoint."""
        for client in clients:
            echoed = len(client.echoed) + 10
            client.until(lambda: len(client.echoed) >= echoed)


class RestartsWithMessagesHeld(Restarts):
    RESTARTS = 20
    WHEN_DOWN = "hold 1m"

    def account(self, clients: list[Client]) -> None:
        super().account(clients)
        for client in clients:
            # Only what was on its way when the endpoint died; what came while it was down was held, and delivered.
            self.assertLess(client.refused, client.sent / 4)


if __name__ == "__main__":
    unittest.main()
