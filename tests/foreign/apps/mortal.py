"""An echo that is killed again and again: `mortal.py PORT LOG`.

A line on standard input kills the serving process (SIGKILL) and starts the next; a line on standard output says that it
listens. The serving process notes each message in LOG before it sends it back, so that the note outlives it. Processes
are forked, which takes a millisecond, where a new interpreter would take a hundred.
"""

import asyncio
import logging
import os
import signal
import socket
import sys

from websockets.asyncio.server import serve


async def echo(port: int, log: int, ready: int, parent: int) -> None:
    # The parent may be killed itself; then its end of this pipe is gone too.
    asyncio.get_running_loop().add_reader(parent, os._exit, 0)
    listener = socket.create_server(("127.0.0.1", port), backlog=128)

    async def answer(connection) -> None:
        async for message in connection:
            os.write(log, f"{message}\n".encode())
            await connection.send(message)

    # Whoever only looks whether it is there is no failure worth telling.
    async with serve(answer, sock=listener, logger=logging.Logger("mortal", logging.CRITICAL)):
        os.write(ready, b"\n")
        await asyncio.get_running_loop().create_future()


def live(port: int, log: int, life: tuple[int, int]) -> int:
    """Starts a life and returns its process id, once it listens."""
    told, ready = os.pipe()
    if pid := os.fork():
        os.close(ready)
        os.read(told, 1)
        os.close(told)
        return pid
    os.close(life[1])
    asyncio.run(echo(port, log, ready, life[0]))
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
