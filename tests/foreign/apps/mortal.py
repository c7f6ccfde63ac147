"""An echo that is killed again and again: `mortal.py PORT LOG`.

A line on standard input kills the serving process (SIGKILL) and starts the next; a line on standard output says that it
listens. The serving process notes each message in LOG before it sends it back or answers a ping behind it, so that the
note outlives it, and nothing was confirmed that was not noted. Processes are forked, which takes a millisecond, where a
new interpreter would take a hundred.
"""

import asyncio
import os
import signal
import socket
import sys

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol


class Echo(asyncio.Protocol):
    """The library without its tasks and queues: those answer pings before messages that came first."""

    def __init__(self, log: int):
        self._log = log
        self._protocol = ServerProtocol(max_size=None)

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._answer()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._answer()

    def _answer(self) -> None:
        for event in self._protocol.events_received():
            match event:
                case Request():
                    self._protocol.send_response(self._protocol.accept(event))
                case Frame(opcode=Opcode.TEXT):
                    os.write(self._log, event.data + b"\n")
                    self._protocol.send_text(event.data)
        for data in self._protocol.data_to_send():
            self._transport.write(data) if data else self._transport.close()


async def serve(port: int, log: int, ready: int, parent: int) -> None:
    loop = asyncio.get_running_loop()
    # The parent may be killed itself; then its end of this pipe is gone too.
    loop.add_reader(parent, os._exit, 0)
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    await loop.create_server(lambda: Echo(log), sock=listener)
    os.write(ready, b"\n")
    await loop.create_future()


def live(port: int, log: int, life: tuple[int, int]) -> int:
    """Starts a life and returns its process id, once it listens."""
    told, ready = os.pipe()
    if pid := os.fork():
        os.close(ready)
        os.read(told, 1)
        os.close(told)
        return pid
    os.close(life[1])
    asyncio.run(serve(port, log, ready, life[0]))
    os._exit(1)


def main() -> None:
    port, log = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    life = os.pipe()
    pid = live(port, log, life)
    print("listens", flush=True)
    while sys.stdin.readline():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pid = live(port, log, life)
        print("listens", flush=True)
    os.kill(pid, signal.SIGKILL)


main()
