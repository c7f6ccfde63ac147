"""Servers of others, as endpoints of the gateway."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import time

from hub import free_port
from scene import WAIT_S


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
