"""Pairs over the JSON protocol, with clients that lose connections, come back, and break every rule. Whatever they do, a
`Join` has one answer, and a message comes once, in order, and to the one it was for. What they took is given back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import pathlib
import random
import re
import time
import unittest
import urllib.request
from collections import Counter

import websockets.asyncio.client
from json_client import SUBPROTOCOL
from scene import WAIT_S, HubCase
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

PAIRS = ["a", "b", "c", "ü/x"]

GAUGES = ("whub_sessions", "whub_pairs_waiting", "whub_pair_seats_away", "whub_deliveries_queued")

UNREADABLE = ("json.invalid", "frame.invalid")


class Hostile(HubCase):
    FLAGS = ("--set", "limits.pair_grace=500ms", "--set", "limits.frame_bytes=64KiB", "--set", "limits.message_bytes=256KiB")
    CLIENTS = 10
    ACTS = 250

    def setUp(self):
        super().setUp()
        self.descriptors = self.hub.descriptors

    def check_left_behind(self):
        """Whoever is gone has left nothing behind."""
        until = time.monotonic() + WAIT_S
        while any(self.gauges().values()) or self.hub.descriptors > self.descriptors:
            self.assertLess(time.monotonic(), until, f"{self.gauges()}, {self.hub.descriptors} descriptors")
            time.sleep(0.02)
        self.assertNotIn("panicked", pathlib.Path(self.hub.log).read_text())

    def gauges(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.http}/metrics") as answer:
            text = answer.read().decode()
        return {name: float(re.search(rf"^{name} (\S+)$", text, re.M)[1]) for name in GAUGES}

    def test_a_join_has_one_answer_and_a_message_comes_once(self):
        for seed in range(3):
            with self.subTest(seed=seed):
                clients = [Client(self.hub.url, random.Random(f"{seed}/{number}")) for number in range(self.CLIENTS)]
                asyncio.run(asyncio.wait_for(together(client.live(self.ACTS) for client in clients), WAIT_S))
                told = sum((client.told for client in clients), Counter())
                self.assertTrue(told["messages"] and told["resumed"], told)
                self.check_left_behind()

    def test_of_many_that_take_a_seat_again_at_once_one_has_it(self):
        asyncio.run(asyncio.wait_for(self.storm(30, 200), WAIT_S))
        self.check_left_behind()

    async def storm(self, connections: int, messages: int) -> None:
        dice = random.Random(0)
        away, other, *rivals = [Client(self.hub.url, dice) for _ in range(connections + 2)]
        for client in (away, other, *rivals):
            await client.connect()
        seat = away.join(Seat("storm", None), grace_ms=500)
        await away.answered()
        other.join(Seat("storm", None))
        await other.answered()
        await away.hear_of(seat, "ready")
        token, received = seat.token, seat.received
        # All speak for the same seat, and each counts for itself.
        seats = [Seat("storm", None, token=token, received=received) for _ in rivals]
        for rival, own in zip(rivals, seats):
            rival.join(own)
        for number in range(messages):
            other.send(kind="data", id=1, text=str(number))
        await together(rival.answered() for rival in rivals)
        while len(winners := [own for own in seats if "closed" not in own.events]) > 1:
            await asyncio.sleep(0.002)
        (winner,) = winners
        while len(winner.texts) < messages:
            await asyncio.sleep(0.002)
        self.assertEqual(winner.texts, [str(number) for number in range(messages)])
        for own in seats:
            # What others got before it was taken from them is the beginning of the same.
            self.assertEqual(own.texts, winner.texts[: len(own.texts)])
        for client in (away, other, *rivals):
            await client.close()


class Seat:
    """What a client knows of a seat of its own, on whichever connection."""

    count = 0

    def __init__(self, pair: str, secret: str | None, token: str | None = None, received: int = 0):
        Seat.count += 1
        self.number, self.pair, self.secret, self.token, self.received = Seat.count, pair, secret, token, received
        self.said: list[dict] = []
        self.events: list[str] = []
        self.texts: list[str] = []
        # The last message of each that spoke to it.
        self.heard: dict[int, int] = {}
        self.ended = False


class Client:
    """One client, on one connection after the other."""

    def __init__(self, url: str, dice: random.Random):
        self.url, self.dice, self.told = url + "/ws", dice, Counter()
        self.kept: list[Seat] = []

    async def live(self, acts: int) -> None:
        while acts > 0:
            await self.connect()
            for seat in self.kept:
                self.join(seat)
            for _ in range(self.dice.randrange(10, 60)):
                acts -= 1
                if self.reading.done() or self.act() == "rude":
                    break
                await asyncio.sleep(self.dice.choice([0, 0, 0.002]))
            else:
                if self.dice.random() < 0.3:
                    await self.answered()
            if self.dice.random() < 0.1:
                await self.close()
            else:
                await self.cut()
            self.kept = [seat for _, seat in self.live_seats() if seat.token]

    async def connect(self) -> None:
        self.socket = await websockets.asyncio.client.connect(
            self.url, subprotocols=[SUBPROTOCOL], proxy=None, open_timeout=WAIT_S, compression=None, ping_interval=None
        )
        self.next_id, self.asked, self.over, self.left = 1, {}, set(), set()
        self.seats: dict[int, Seat] = {}
        self.rude = False
        self.send(kind="hello", agent="hostile/1", features=self.dice.choice([[], ["pair.seats"]]))
        self.reading = asyncio.ensure_future(self.read())

    def send(self, **frame) -> None:
        self.write(json.dumps(frame).encode())

    def write(self, text: bytes) -> None:
        self.socket.transport.write(Frame(Opcode.TEXT, text).serialize(mask=True))

    def ask(self, **frame) -> int:
        """Sends a frame that has one answer."""
        id = self.next_id
        self.next_id += 2
        self.asked[id] = 0
        self.send(id=id, **frame)
        return id

    async def answered(self) -> None:
        """Waits until everything that was asked has its answer, or the hub has ended the connection."""
        while not self.reading.done() and not all(self.asked.values()):
            await asyncio.sleep(0.002)
        if self.reading.done():
            await self.reading

    async def hear_of(self, seat: Seat, event: str) -> None:
        while event not in seat.events:
            if self.reading.done():
                await self.reading
            await asyncio.sleep(0.002)

    async def cut(self) -> None:
        """Loses the connection in the middle of a frame, wherever that is."""
        frame = Frame(Opcode.TEXT, b'{"kind":"data","id":1,"text":"never whole"}').serialize(mask=True)
        self.socket.transport.write(frame[: self.dice.randrange(len(frame))])
        self.socket.transport.abort()
        await self.reading

    async def close(self) -> None:
        await self.socket.close()
        await self.reading

    # ------------------------------------------------------------------------------------------ what it does

    def live_seats(self) -> list[tuple[int, Seat]]:
        return [(id, seat) for id, seat in self.seats.items() if self.asked[id] and id not in self.over]

    def act(self) -> str | None:
        seats = self.live_seats()
        kind = self.dice.choices(["join", "say", "leave", "credit", "nonsense", "rude"], [8, 70, 3, 5, 14, 1])[0]
        if kind == "join" and len(seats) < 3:
            self.join_anew()
        elif kind == "rude":
            self.be_rude()
        elif kind == "nonsense":
            self.ask(**self.dice.choice(REFUSED))
            self.send(**self.dice.choice(IGNORED))
        elif seats:
            id, seat = self.dice.choice(seats)
            if kind == "say" and not seat.ended:
                self.say(id, seat)
            elif kind == "leave":
                self.over.add(id)
                self.left.add(id)
                self.ask(kind="leave", room=seat.pair)
            elif kind == "credit" and seat.token is None:
                self.send(kind="credit", id=id, bytes=self.dice.choice([0, 1, 2**32 - 1]))
        return kind

    def join_anew(self) -> None:
        seat = Seat(self.dice.choice(PAIRS), self.dice.choice([None, None, None, "s3cret"]))
        if any(other.pair == seat.pair for id, other in self.seats.items() if id not in self.over):
            return
        terms = {
            "grace_ms": self.dice.choice([0, 1, 500, 2**32 - 1]),
            "third": self.dice.choice(["next", "next", "next", "reject", "replace"]),
            "info": self.dice.choice(["", '{"a":1}']),
            "ttl_ms": self.dice.choice([0, 0, 0, 1, 50]),
        }
        self.join(seat, **terms)

    def join(self, seat: Seat, **terms) -> Seat:
        if seat.secret:
            terms["secret"] = seat.secret
        if seat.token:
            terms |= {"seat": seat.token, "received": seat.received}
        self.seats[self.ask(kind="join", mode="pair", room=seat.pair, **terms)] = seat
        return seat

    def say(self, id: int, seat: Seat) -> None:
        text = json.dumps([seat.pair, seat.number, len(seat.said), "ä" * self.dice.choice([0, 10, 1000, 9000])])
        payload = self.dice.choice(
            [{"text": text}, {"data": json.loads(text)}, {"b64": base64.b64encode(text.encode()).decode()}]
        )
        if self.dice.random() < 0.02:
            payload["end"] = seat.ended = True
        seat.said.append(payload)
        if "text" in payload and self.dice.random() < 0.2:
            self.send(kind="data", id=id, text=text[:7], more=True)
            payload = {**payload, "text": text[7:]}
        self.send(kind="data", id=id, **payload)

    def be_rude(self) -> None:
        """Does what ends the connection. What comes after it is not looked at."""
        self.rude = True
        id = next(iter(self.seats), 1)
        frame = {"kind": "data", "id": id, "text": "x" * 60_000, "more": True}
        wrong = [{"kind": kind, "id": id, "room": "a", "client": "a", "channel": "a"} for kind in RUDE_KINDS]
        wrong += [{"kind": "join", "id": id, "mode": "pair", "room": "a"} for id in (0, 2, 2**53, -1, self.next_id - 2)]
        wrong += [{**frame, "text": "x" * 70_000}, {"kind": "data", "id": id, "via": {"member": 1}}]
        texts = [json.dumps(it).encode() for it in wrong]
        texts += [b"", b"null", b"[" * 20_000, b'{"kind":"data","id":', b"\xff\xfe", b'{"kind":"join","room":"\\ud800","id":5}']
        for text in self.dice.choice([texts, [json.dumps(frame).encode()] * 6]):
            self.write(text)

    # ------------------------------------------------------------------------------------------ what it hears

    async def read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                if not self.rude:
                    self.hear(json.loads(text))

    def hear(self, frame: dict) -> None:
        id, seat = frame.get("id", 0), self.seats.get(frame.get("id", 0))
        match frame["kind"]:
            case "welcome" | "pong":
                pass
            case "ping":
                self.send(**{**frame, "kind": "pong"})
            case "credit":
                assert seat, frame
            case "error" if id == 0:
                assert frame["slug"] in ("pair.alone", *UNREADABLE), frame
            case "ok" | "error":
                self.hear_answer(id, seat, frame)
            case "room_event":
                self.hear_event(id, seat, frame)
            case "data":
                self.hear_data(id, seat, frame)
            case other:
                raise AssertionError(f"nobody asked for {other}")

    def hear_answer(self, id: int, seat: Seat | None, frame: dict) -> None:
        assert frame.get("code") != "internal", frame
        if seat and self.asked[id] and ("closed" in seat.events or id in self.left):
            # Not an answer: it says why the seat is over, which it may have been before it was left.
            assert frame["kind"] == "error", frame
            self.over.add(id)
            return
        self.asked[id] += 1
        assert self.asked[id] == 1, f"a second answer: {frame}, {seat and seat.events}"
        if seat and frame["kind"] == "error":
            self.over.add(id)
        elif seat:
            self.told["resumed"] += seat.token is not None
            seat.token = frame.get("seat")
            seat.events.append("ok")
            received = frame.get("received", 0)
            assert received <= len(seat.said), (received, len(seat.said))
            for message in seat.said[received:]:
                self.send(kind="data", id=id, **message)

    def hear_event(self, id: int, seat: Seat | None, frame: dict) -> None:
        assert seat and self.asked[id] == 1, f"an event before the answer: {frame}"
        assert frame["room"] == seat.pair, frame
        if id in self.over or "closed" in seat.events:
            return
        seat.events.append(frame["what"])
        seat.received += frame["count"] if frame["what"] == "missed" else 1
        self.told[frame["what"]] += 1

    def hear_data(self, id: int, seat: Seat | None, frame: dict) -> None:
        assert seat and self.asked[id] == 1, f"data before the answer: {frame}"
        if id in self.over:
            # What the other half said before it knew.
            return
        assert not frame.get("more"), "small messages come whole"
        seat.received += 1
        text = frame["text"] if "text" in frame else base64.b64decode(frame.get("b64", ""), validate=True).decode()
        seat.texts.append(text)
        if not text.startswith("["):
            return
        pair, speaker, number, _ = json.loads(text)
        self.told["messages"] += 1
        assert pair == seat.pair, f"a message of {pair} in {seat.pair}"
        assert speaker != seat.number, "one's own message"
        last = seat.heard.get(speaker, -1)
        assert number > last, f"message {number} after {last}, {seat.events}"
        seat.heard[speaker] = number


REFUSED = [
    {"kind": "join", "mode": "pair"},
    {"kind": "join", "mode": "pair", "room": ""},
    {"kind": "join", "mode": "pair", "room": "/x"},
    {"kind": "join", "mode": "pair", "room": "a\0"},
    {"kind": "join", "mode": "pair", "room": "x" * 257},
    {"kind": "join", "mode": 9, "room": "q"},
    {"kind": "join", "mode": "pair", "room": "q", "secret": "s" * 257},
    {"kind": "join", "mode": "pair", "room": "q", "third": 9},
    {"kind": "join", "mode": "pair", "room": "q", "info": "no json"},
    {"kind": "join", "mode": "pair", "room": "q", "info": json.dumps("i" * 5000)},
    {"kind": "join", "mode": "pair", "room": "q", "grace_ms": -1},
    {"kind": "join", "mode": "pair", "room": "q", "received": 1.5},
    {"kind": "join", "mode": "pair", "room": "q", "received": -1},
    {"kind": "join", "mode": "pair", "room": "q", "received": str(2**64)},
    {"kind": "join", "mode": "pair", "room": "q", "seat": "x" * 5000},
    {"kind": "join", "mode": "pair", "room": "q", "seat": "1-" + "0" * 32, "received": str(2**64 - 1)},
    {"kind": "join", "mode": "pair", "room": "q", "seat": f"{2**64}-" + "0" * 32},
    {"kind": "leave"},
    {"kind": "leave", "room": "nowhere"},
    {"kind": "room_command", "room": "a", "act": "close"},
    {"kind": "history", "channel": "c"},
]

IGNORED = [
    {"kind": "data", "id": 99_999, "text": "to nobody"},
    {"kind": "credit", "id": 99_999, "bytes": 2**32 - 1},
    {"kind": "credit", "bytes": 1},
    {"kind": "cancel", "id": 99_999},
    {"kind": "error", "id": 99_999, "code": "gone"},
    {"kind": "ping"},
    {"kind": "pong", "id": 7},
]

RUDE_KINDS = ["hello", "welcome", "ok", "room_event", "message", "gap", 64]


async def together(work) -> None:
    """All of it at once; what fails ends it."""
    async with asyncio.TaskGroup() as group:
        for it in work:
            group.create_task(it)


if __name__ == "__main__":
    unittest.main()
