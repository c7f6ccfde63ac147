"""Endpoints of the gateway: servers of others that stand behind the hub, and the hub's configuration that names them."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, serve

from hub import free_port
from scene import WAIT_S, HubCase


class Program:
    """A server that takes its port from the environment, `PORT`. It runs from the beginning to `end`."""

    def __init__(self, *command: str, cwd: pathlib.Path | None = None):
        self.port = free_port()
        environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port)}
        self._process = subprocess.Popen(command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.pid = self._process.pid
        self.url = f"ws://127.0.0.1:{self.port}"

    def ready(self) -> Program:
        """Waits until it takes connections."""
        deadline = time.monotonic() + WAIT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"{self._process.args} does not listen on {self.port}")

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Echo:
    """An endpoint in this process: it says its name before what it was told, and notes what that was."""

    def __init__(self, name: str):
        self.name = name
        self.told: list[str | bytes] = []
        self.reads = threading.Event()
        """Unset, it reads nothing."""
        self.reads.set()
        # The hub looks whether it is there, which the library takes for a failure worth telling.
        quiet = logging.Logger("endpoint", logging.CRITICAL)
        self._server: Server = serve(self._answer, "127.0.0.1", 0, max_size=None, logger=quiet)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def _answer(self, connection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.reads.wait()
                message = connection.recv()
                self.told.append(message)
                connection.send(f"{self.name}: ".encode() + message if isinstance(message, bytes) else f"{self.name}: {message}")


class GatewayCase(HubCase):
    """Tests that share a hub with `[[endpoints]]`: name to the TOML lines that say what it is."""

    ENDPOINTS: dict[str, str] = {}
    SETTINGS = ""

    @classmethod
    def setUpClass(cls):
        endpoints = "".join(f'\n[[endpoints]]\nname = "{name}"\n{lines}\n' for name, lines in cls.ENDPOINTS.items())
        folder = tempfile.TemporaryDirectory(prefix="whub-gateway-")
        cls.addClassCleanup(folder.cleanup)
        cls.config = pathlib.Path(folder.name) / "whub.toml"
        cls.config.write_text(cls.SETTINGS + endpoints)
        cls.FLAGS = ("--config", str(cls.config))
        super().setUpClass()

    @classmethod
    def gateway(cls, name: str) -> str:
        """The address by which the hub offers an endpoint."""
        return f"{cls.hub.url}/gateway/{name}"
