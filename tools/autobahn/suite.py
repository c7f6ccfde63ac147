"""Drives the installed Autobahn suite: one process for each part, with a deadline, and its index read afterwards."""

from __future__ import annotations

import json
import pathlib
import shlex
import socket
import subprocess
import time

from hub import free_port, stop

AGENT = "whub"
PORTS_TRIED = 3


class Broken(Exception):
    """The run itself went wrong, so there is nothing to judge."""


class Suite:
    """The suite installed by `install.sh`, writing its reports below `reports`."""

    def __init__(self, wstest: pathlib.Path, reports: pathlib.Path, deadline_s: float):
        self._wstest = wstest
        self._reports = reports
        self._deadline_s = deadline_s

    def known_cases(self) -> list[str]:
        """Every case id the suite has, in its own order."""
        listed = subprocess.run([self._wstest, "--cases"], capture_output=True, text=True, timeout=60, check=True)
        return listed.stdout.split()

    def test_server(self, role: str, url: str, part: str, cases: list[str]) -> dict[str, dict]:
        """Runs `cases` against the echo server at `url` and returns the index, case id to entry."""
        folder = self._folder(role, part)
        server = {"agent": AGENT, "url": url, "options": {"version": 18}}
        spec = self._spec(folder, cases, servers=[server])
        with open(folder / "log", "wb") as log:
            fuzzer = _start([self._wstest, "-m", "fuzzingclient", "-s", spec], log)
            try:
                fuzzer.wait(self._deadline_s)
            except subprocess.TimeoutExpired:
                raise Broken(f"{part}: not done after {self._deadline_s:.0f} s; see {folder / 'log'}") from None
            finally:
                stop(fuzzer)
        return _index(folder)

    def test_client(self, command: str, part: str, cases: list[str]) -> dict[str, dict]:
        """Lets the client program `command` (given the suite's URL as last argument) run `cases`."""
        folder = self._folder("client", part)
        with open(folder / "log", "wb") as log:
            url, fuzzer = self._serve(folder, cases, log)
            try:
                client = _start([*shlex.split(command), url], log)
                try:
                    status = client.wait(self._deadline_s)
                except subprocess.TimeoutExpired:
                    raise Broken(f"{part}: client not done after {self._deadline_s:.0f} s; see {folder / 'log'}") from None
                finally:
                    stop(client)
                if status != 0:
                    raise Broken(f"{part}: client ended with status {status}; see {folder / 'log'}")
            finally:
                stop(fuzzer)
        return _index(folder)

    def _serve(self, folder: pathlib.Path, cases: list[str], log) -> tuple[str, subprocess.Popen]:
        """Starts the suite's server. It cannot choose its port itself, and somebody may be faster."""
        for _ in range(PORTS_TRIED):
            port = free_port()
            url = f"ws://127.0.0.1:{port}"
            spec = self._spec(folder, cases, url=url)
            fuzzer = _start([self._wstest, "-m", "fuzzingserver", "-s", spec, "-u", "0"], log)
            if _listens(port, fuzzer):
                return url, fuzzer
            stop(fuzzer)
        said = pathlib.Path(log.name).read_text(errors="replace").strip()
        raise Broken(f"the suite's server did not start, {PORTS_TRIED} times; it said:\n{said[-2000:] or '(nothing)'}")

    def _folder(self, role: str, part: str) -> pathlib.Path:
        folder = self._reports / role / part
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        return folder

    @staticmethod
    def _spec(folder: pathlib.Path, cases: list[str], **rest) -> pathlib.Path:
        spec = {"outdir": str(folder), "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}, **rest}
        path = folder / "spec.json"
        path.write_text(json.dumps(spec, indent=1))
        return path


def _start(command: list, log) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)


def _index(folder: pathlib.Path) -> dict[str, dict]:
    try:
        by_agent = json.loads((folder / "index.json").read_text())
    except FileNotFoundError:
        raise Broken(f"the suite wrote no index; see {folder / 'log'}") from None
    if len(by_agent) != 1:
        raise Broken(f"the index names {len(by_agent)} agents instead of one: {', '.join(by_agent)}")
    return next(iter(by_agent.values()))


def _listens(port: int, process: subprocess.Popen, ready_s: float = 120) -> bool:
    """Waits until it does; false if it ended instead, or takes too long for the busiest machine."""
    deadline = time.monotonic() + ready_s
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False
