"""A hub started for a test: the real binary, on a port of its own choice."""

from __future__ import annotations

import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time

# Both are upper bounds for a busy machine; the hub itself drains for at most 10 s.
READY_S = 60
STOP_S = 60


class HubFault(Exception):
    """The hub did not do what starting or stopping it must do."""


class Hub:
    """A running `whub serve`. `flags` follow `--listen 127.0.0.1:0`; its log goes to the file `log`."""

    def __init__(self, binary: str, log: pathlib.Path, *flags: str):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with open(log, "wb") as errors:
            self._process = subprocess.Popen(
                [binary, "serve", "--listen", "127.0.0.1:0", *flags],
                stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True,
            )
        self._said = b""
        self.url = self._listening(rb"listening on (wss?://\S+)\s")
        """Where it listens, as ws://127.0.0.1:PORT or wss://…"""
        self.relay_url = self._listening(rb"listening on (wss?://\S+) \(relay\)\s") if "--relay" in flags else None
        """Where clients of the pair relay find it, without the slash at its end."""

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process has held at once (resident)."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.url.split("//", 1)[1]

    def end(self) -> None:
        """Ends the hub as an operator would, and insists that it was still there and leaves in order."""
        try:
            if (status := self._process.poll()) is not None:
                raise HubFault(f"the hub ended during the run with status {status}; see {self.log}")
            self._process.send_signal(signal.SIGTERM)
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise HubFault(f"the hub did not stop {STOP_S} s after SIGTERM; see {self.log}") from None
        finally:
            stop(self._process)
        if status != 0:
            raise HubFault(f"the hub stopped with status {status}; see {self.log}")

    def kill(self) -> None:
        """Ends the hub so that it has no moment to end anything itself. What it started is left alone."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _listening(self, line: bytes) -> str:
        deadline = time.monotonic() + READY_S
        os.set_blocking(self._process.stdout.fileno(), False)
        while time.monotonic() < deadline and self._process.poll() is None:
            self._said += self._process.stdout.read() or b""
            if found := re.search(line, self._said):
                return found[1].decode().rstrip("/")
            time.sleep(0.02)
        stop(self._process)
        raise HubFault(f"the hub did not say where it listens; see {self.log}")


def free_port() -> int:
    """A port that nobody listens on, at any address, from a range that this system gives to no outgoing connections:
    one of those could take it before the program for which it is meant."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    own = [port for port in range(10_000, 60_000) if not low <= port <= high] or range(low, high)
    while True:
        port = random.choice(own)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port


def stop(process: subprocess.Popen) -> None:
    """Kills the process with all its children, if it still runs, and reaps it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()
