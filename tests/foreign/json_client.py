"""A client of the JSON protocol (`whub.v1.json`), written from the documents alone, over Python's `websockets`."""

from __future__ import annotations

import base64
import json

from scene import WAIT_S
from websockets.sync.client import ClientConnection

SUBPROTOCOL = "whub.v1.json"


class JsonClient:
    """One session. Frames are dicts; ids are the odd numbers of the side that opened the connection."""

    def __init__(self, socket: ClientConnection, **hello):
        self._socket = socket
        self._next_id = 1
        self._waiting: list[dict] = []
        self.send(kind="hello", agent="foreign-test/1", **hello)
        self.welcome = self.next("welcome", id=None)

    def new_id(self) -> int:
        self._next_id += 2
        return self._next_id - 2

    def send(self, **frame) -> None:
        self._socket.send(json.dumps(frame))

    def ask(self, **frame) -> dict:
        """Sends a frame that gets exactly one answer, and returns that `ok` or `error`."""
        frame.setdefault("id", self.new_id())
        self.send(**frame)
        return self.next("ok", "error", id=frame["id"])

    def next(self, *kinds: str, id: int | None = None) -> dict:
        """The next frame of one of these kinds (and of this id); others stay for later calls."""

        def fits(frame: dict) -> bool:
            return frame["kind"] in kinds and (id is None or frame.get("id", 0) == id)

        for index, frame in enumerate(self._waiting):
            if fits(frame):
                return self._waiting.pop(index)
        while True:
            frame = json.loads(self._socket.recv(timeout=WAIT_S))
            if frame["kind"] == "ping":
                self.send(**{**frame, "kind": "pong"})
            elif fits(frame):
                return frame
            else:
                self._waiting.append(frame)

    def call(self, path: str, **fields) -> dict:
        """Calls a service and returns its `response` with the whole body as `body`, or the `error`."""
        id = self.new_id()
        self.send(kind="request", id=id, path=path, end=True, **fields)
        answer = self.next("response", "error", id=id)
        if answer["kind"] == "response":
            answer["body"] = self.body(answer)
        return answer

    def body(self, first: dict) -> bytes:
        """The payload of a frame and of the `data` frames that go on with it."""
        whole = payload(first)
        last = first
        while not last.get("end"):
            last = self.next("data", id=first["id"])
            whole += payload(last)
        return whole


def payload(frame: dict) -> bytes:
    """The payload bytes of a frame, in whichever of the three ways it is written."""
    if "data" in frame:
        return json.dumps(frame["data"], separators=(",", ":")).encode()
    if "text" in frame:
        return frame["text"].encode()
    return base64.b64decode(frame.get("b64", ""), validate=True)
