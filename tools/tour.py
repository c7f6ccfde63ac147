#!/usr/bin/env python3
"""Takes the tour that a page describes: types its commands into shells and waits for the output that it promises.

    tools/tour.py README.md --bin target/debug

A step is a fenced block that names a terminal after its language. Every terminal is one shell, and steps happen in the
order of the page. `sh` is typed in, `text` must then be printed there:

    ```sh terminal=1
    make serve
    ```

    ```text terminal=1
    listening on ws://127.0.0.1:9482
    ```

In promised text, `…` stands for anything within a line; other lines may come between. What is typed while a program
still runs in a terminal is that program's input, as at a desk. The port 9482 becomes a free one, so a hub that already
runs here is left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

from hub import free_port

PORT = "9482"
ROOT = pathlib.Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```(sh|text) terminal=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Step:
    """One fenced block: `sh` to type or `text` to see, and the line of the page where it begins."""

    kind: str
    terminal: str
    lines: list[str]
    at: int


def steps(page: str) -> list[Step]:
    """The steps of a page, in order."""
    return [
        Step(match[1], match[2], match[3].splitlines(), page.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(page)
    ]


class Missing(Exception):
    """A promised line did not come."""


class Terminal:
    """A shell whose input is typed here and whose output, both streams, is kept."""

    def __init__(self, environment: dict[str, str]):
        self._shell = subprocess.Popen(
            ["bash", "--norc"], cwd=ROOT, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._read = 0
        self._ended = False
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def type(self, line: str) -> None:
        self._shell.stdin.write(line + "\n")

    def await_line(self, promised: str, wait_s: float) -> None:
        """Waits until a line that was not yet used fits the promised one; those before it are passed over."""
        pattern = re.compile(".*".join(re.escape(part) for part in promised.strip().split("…")))
        deadline = time.monotonic() + wait_s
        with self._changed:
            while True:
                for index in range(self._read, len(self._lines)):
                    if pattern.fullmatch(self._lines[index].strip()):
                        self._read = index + 1
                        return
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise Missing("\n".join(self._lines[self._read :][-30:]))
                self._changed.wait(left)

    def end(self) -> None:
        """Ends the shell and what runs in it: politely, then not."""
        for sign, wait_s in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            try:
                os.killpg(self._shell.pid, sign)
                self._shell.wait(wait_s)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._shell.wait()
        self._ear.join()
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        self._shell.stdout.close()

    def _listen(self) -> None:
        for line in self._shell.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def take(page: pathlib.Path, binaries: pathlib.Path, wait_s: float) -> int:
    """Takes the tour of `page`; returns the exit status."""
    tour = steps(page.read_text())
    port = str(free_port())
    environment = {
        **os.environ,
        "PATH": f"{binaries.resolve()}:{os.environ['PATH']}",
        "WHUB_SERVER": f"ws://127.0.0.1:{port}",
        # Read by the Makefile: the hub of `make serve` listens on the tour's port and is built for tests.
        "ARGS": f"--listen 127.0.0.1:{port}",
        "PROFILE": "dev",
    }
    terminals: dict[str, Terminal] = {}
    passed = 0
    try:
        for step in tour:
            if step.terminal not in terminals:
                terminals[step.terminal] = Terminal(environment)
            for line in filter(None, (line.replace(PORT, port) for line in step.lines)):
                if step.kind == "sh":
                    terminals[step.terminal].type(line)
                else:
                    terminals[step.terminal].await_line(line, wait_s)
                    passed += 1
    except Missing as missing:
        print(f"{page.name}:{step.at}: terminal {step.terminal} did not print\n  {line}\nbut\n{missing}", file=sys.stderr)
        print(f"tour: {passed} passed, 1 failed")
        return 1
    finally:
        for terminal in reversed(terminals.values()):
            terminal.end()
    print(f"tour: {passed} passed, {0 if passed else 1} failed")
    return 0 if passed else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of the whub binary")
    parser.add_argument("--wait", type=float, default=60, help="seconds for each promised line (default 60)")
    args = parser.parse_args()
    sys.exit(take(args.page, args.bin, args.wait))
