"""An endpoint that plays its part of a dialogue over a bare socket, and both sides' notes of what they saw.

Libraries hide frames; here each is a tuple of its first byte (FIN, RSV, opcode), whether it was masked, and its payload.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import queue
import socket
import struct
import threading

from scene import WAIT_S

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
FIN, RSV1 = 0x80, 0x40
KEY = base64.b64encode(b"sixteen bytes...").decode()
MASK = b"\x37\xfa\x21\x3d"


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a dialogue: `first` is its first byte."""

    first: int
    payload: bytes = b""

    def bytes(self, masked: bool) -> bytes:
        length = len(self.payload)
        bit = 0x80 if masked else 0
        if length < 126:
            head = struct.pack("!BB", self.first, bit | length)
        elif length < 65_536:
            head = struct.pack("!BBH", self.first, bit | 126, length)
        else:
            head = struct.pack("!BBQ", self.first, bit | 127, length)
        return head + MASK + mask(self.payload, MASK) if masked else head + self.payload


def close(code: int | None = None, reason: str = "") -> Frame:
    return Frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


def mask(payload: bytes, key: bytes) -> bytes:
    """XOR in one piece: as numbers, because messages of 16 MiB are masked too."""
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


@dataclasses.dataclass(frozen=True)
class Says:
    """One side sends these bytes or frames, in one write or byte by byte; the other side reads as many frames."""

    who: str
    frames: tuple[Frame, ...]
    trickled: bool = False


@dataclasses.dataclass(frozen=True)
class Ends:
    """One side closes its connection without a word, and the other side sees that it has ended."""

    who: str


def client(*frames: Frame, **options) -> Says:
    return Says("client", frames, **options)


def server(*frames: Frame, **options) -> Says:
    return Says("server", frames, **options)


CLOSING = (client(close(1000)), server(close(1000)), Ends("server"))


def accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"


@dataclasses.dataclass(frozen=True)
class Dialogue:
    """An upgrade and what follows. `asks` and `answers` are header lines beyond those that every upgrade has."""

    name: str
    steps: tuple[Says | Ends, ...] = ()
    target: str = ""
    asks: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    refusal: bytes = b""
    """The whole answer, instead of 101."""
    at_once: tuple[Says, ...] = ()
    """Frames that travel in the same write as the request, or the answer."""

    @property
    def all_steps(self) -> tuple[Says | Ends, ...]:
        """A dialogue that does not end by itself is ended in order."""
        return self.steps if self.steps and isinstance(self.steps[-1], Ends) else self.steps + CLOSING


@dataclasses.dataclass
class Notes:
    """What one side saw."""

    head: str = ""
    seen: list = dataclasses.field(default_factory=list)


class Side:
    """One end of a dialogue: a socket, and its notes."""

    def __init__(self, who: str, connection: socket.socket):
        connection.settimeout(WAIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.who = who
        self.notes = Notes()
        self._socket = connection
        self._file = connection.makefile("rb")

    def read_head(self) -> str:
        lines = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            lines.append(line)
        self.notes.head = b"".join(lines).decode("latin-1")
        return self.notes.head

    def read_body(self) -> bytes:
        """The body of the request or answer whose head was read last."""
        fields = {name: value for name, value in fields_of(self.notes.head)}
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._file.readline().split(b";")[0], 16):
                body += self._file.read(size)
                self._file.readline()
            while self._file.readline() not in (b"\r\n", b""):
                pass
            return body
        return self._file.read(int(fields.get("content-length", 0)))

    def read_chunk(self) -> bytes:
        """Of an answer that comes in pieces, the next."""
        size = int(self._file.readline().split(b";")[0], 16)
        chunk = self._file.read(size)
        self._file.readline()
        return chunk

    def read_all(self) -> bytes:
        return self._file.read()

    def send(self, data: bytes, trickled: bool = False) -> None:
        for part in (data[at : at + 1] for at in range(len(data))) if trickled else (data,):
            self._socket.sendall(part)

    def play(self, step: Says | Ends) -> None:
        if isinstance(step, Ends):
            self.end() if step.who == self.who else self.notes.seen.append(self._read_end())
        elif step.who == self.who:
            self.send(b"".join(frame.bytes(self.who == "client") for frame in step.frames), step.trickled)
        else:
            self.notes.seen.extend(self._read_frame() for _ in step.frames)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._socket.close()

    def _read_frame(self) -> tuple[int, bool, bytes]:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._exactly(8))
        key = self._exactly(4) if second & 0x80 else bytes(4)
        return first, bool(second & 0x80), mask(self._exactly(length), key)

    def _read_end(self) -> str:
        try:
            rest = self._file.read()
        except ConnectionResetError:
            rest = b""
        return f"{rest[:100]!r} before the end" if rest else "end"

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError(f"{self.who}: the connection ended in the middle of a frame, after {data[:100]!r}")
        return data


class Recorder:
    """The endpoint. It plays what it is given, one dialogue at a time, and hands out its notes."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._listener.getsockname()[1]
        self._parts: queue.Queue = queue.Queue()
        self._notes: queue.Queue = queue.Queue()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._parts.put(None)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def plays(self, part) -> None:
        """The next connection with a request is for this function of a `Side`; what failed before leaves nothing behind."""
        for waiting in (self._parts, self._notes):
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
        self._parts.put(part)

    def notes(self) -> Notes:
        """Those of the dialogue that was begun first; its failure is raised here."""
        notes = self._notes.get(timeout=WAIT_S)
        if isinstance(notes, BaseException):
            raise notes
        return notes

    def _serve(self) -> None:
        while True:
            try:
                side = Side("server", self._listener.accept()[0])
            except OSError:
                return
            try:
                # A connection without a request is somebody who looks whether anyone is there.
                if not side.read_head():
                    continue
                part = self._parts.get(timeout=WAIT_S)
                if part is None:
                    return
                part(side)
                self._notes.put(side.notes)
            except (OSError, EOFError, AssertionError, queue.Empty) as error:
                self._notes.put(error)
            finally:
                side.end()


def fields_of(head: str) -> list[tuple[str, str]]:
    """Header fields in their order, names in lower case."""
    lines = (line.split(":", 1) for line in head.split("\r\n")[1:] if line)
    return [(name.lower(), value.strip()) for name, value in lines]


def serve(dialogue: Dialogue, side: Side) -> None:
    """The server's part, after the head of the request."""
    if dialogue.refusal:
        side.send(dialogue.refusal)
        return
    key = dict(fields_of(side.notes.head))["sec-websocket-key"]
    answer = SWITCH.format(accept=accept(key)) + "".join(f"{line}\r\n" for line in dialogue.answers) + "\r\n"
    _begin(dialogue, side, answer)


def ask(dialogue: Dialogue, address: tuple[str, int], base: str) -> Notes:
    """The client's part. Returns its notes."""
    side = Side("client", socket.create_connection(address, WAIT_S))
    try:
        request = (
            f"GET {base + dialogue.target or '/'} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        ) + "".join(f"{line}\r\n" for line in dialogue.asks) + "\r\n"
        _begin(dialogue, side, request)
        return side.notes
    finally:
        side.end()


def _begin(dialogue: Dialogue, side: Side, head: str) -> None:
    own = b"".join(frame.bytes(side.who == "client") for step in dialogue.at_once if step.who == side.who for frame in step.frames)
    side.send(head.encode() + own)
    if side.who == "client":
        answer = side.read_head()
        if dialogue.refusal:
            side.notes.seen.append(side.read_body())
            return
        if " 101 " not in answer:
            raise AssertionError(f"refused: {answer}{side.read_body()!r}")
    for step in (step for step in dialogue.at_once if step.who != side.who):
        side.play(step)
    for step in dialogue.all_steps:
        side.play(step)
