"""Endpoints of the gateway: servers of others that stand behind the hub, and the hub's configuration that names them."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import tempfile
import time

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
