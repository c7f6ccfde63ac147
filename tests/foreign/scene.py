"""What the test modules share: a hub for each class of tests, and sockets that are closed at the end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import unittest

from websockets.sync.client import ClientConnection, connect

from hub import Hub

WAIT_S = 60
"""How long anything in these tests may take before it counts as missing. Long, because the machine may be busy."""


class HubCase(unittest.TestCase):
    """Tests that share one hub, started with `FLAGS`. A hub that does not end in order fails the class."""

    FLAGS: tuple[str, ...] = ()

    @classmethod
    def setUpClass(cls):
        cls.binary = os.environ["WHUB_BIN"]
        log = pathlib.Path(os.environ.get("WHUB_TOOLS") or ".tools").resolve() / "foreign-logs" / f"{cls.__name__}.log"
        cls.hub = Hub(cls.binary, log, *cls.FLAGS)
        cls.addClassCleanup(cls.hub.end)
        cls.http = re.sub("^ws", "http", cls.hub.url)

    def setUp(self):
        self._open = contextlib.ExitStack()
        self.addCleanup(self._open.close)

    def socket(self, path: str, base: str | None = None, **options) -> ClientConnection:
        """A WebSocket to the hub, closed when the test ends. Not for wss: see test_tls.py."""
        options.setdefault("max_size", 16 * 2**20)
        return self._open.enter_context(
            connect((base or self.hub.url) + path, proxy=None, open_timeout=WAIT_S, close_timeout=WAIT_S, **options)
        )

    def program(self, *command: str, **options) -> subprocess.Popen:
        """A program that is killed when the test ends, if it still runs then. It finds the hub by WHUB_SERVER."""
        environment = {**os.environ, "WHUB_SERVER": self.hub.url}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(command, env=environment, **options)
        self._open.callback(_end, process)
        return process

    def run_program(self, *command: str, timeout_s: float = 2 * WAIT_S, **options) -> str:
        """Runs a program to its end, insists on status 0, and returns what it printed."""
        process = self.program(*command, text=True, **options)
        output, errors = process.communicate(timeout=timeout_s)
        self.assertEqual(process.returncode, 0, f"{command[0]} failed:\n{output}\n{errors}")
        return output


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
