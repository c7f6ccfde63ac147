"""`/room/<name>` with plain WebSockets, and with one member over the JSON protocol, against docs/rooms.md."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
import unittest
import urllib.request

import websockets.asyncio.client
from json_client import SUBPROTOCOL, JsonClient
from scene import WAIT_S, HubCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection


class Plain:
    """A member by a plain WebSocket."""

    def __init__(self, case: HubCase, room: str, **join):
        self.socket: ClientConnection = case.socket("/room/" + room)
        self.send(join=join)
        self.state = self.recv()
        self.number = self.state.get("member")

    def send(self, **message) -> None:
        self.socket.send(json.dumps(message))

    def recv(self):
        message = self.socket.recv(timeout=WAIT_S)
        return message if isinstance(message, bytes) else json.loads(message)

    def close_code(self) -> int:
        try:
            while True:
                self.socket.recv(timeout=WAIT_S)
        except ConnectionClosed as closed:
            return closed.rcvd.code


class Rooms(HubCase):
    def enter(self, room: str, count: int, **join) -> list[Plain]:
        """So many members, of whom each has heard of all that came after it."""
        members = []
        for _ in range(count):
            newcomer = Plain(self, room, **join)
            for member in members:
                self.assertEqual(member.recv()["event"], "joined")
            members.append(newcomer)
        return members

    def test_everybody_learns_who_is_there(self):
        a = Plain(self, "hall", info={"nick": "ada"}, capacity=8)
        self.assertEqual(
            {**a.state, "members": [{**a.state["members"][0], "client": "?"}]},
            {
                "event": "state",
                "room": "hall",
                "member": 1,
                "members": [{"member": 1, "client": "?", "role": "owner", "info": {"nick": "ada"}}],
                "capacity": 8,
                "locked": False,
            },
        )
        b = Plain(self, "hall", info="bob")
        self.assertEqual([member["member"] for member in b.state["members"]], [1, 2])
        joined = a.recv()
        self.assertEqual(joined["event"], "joined")
        self.assertEqual((joined["members"][0]["member"], joined["members"][0]["info"]), (2, "bob"))
        b.socket.close()
        self.assertEqual(a.recv(), {"event": "left", "members": [{"member": 2}]})

    def test_messages_go_to_all_or_to_some_and_not_back(self):
        a, b, c = self.enter("talk", 3)
        a.send(text="to all")
        for member in (b, c):
            self.assertEqual(member.recv(), {"event": "message", "from": 1, "text": "to all"})
        b.send(to=[3], data={"x": [1, 2.50]})
        self.assertEqual(c.recv(), {"event": "message", "from": 2, "to": [3], "data": {"x": [1, 2.5]}})
        c.socket.send(b"\0bytes")
        for member in (a, b):
            self.assertEqual(member.recv(), struct.pack(">I", 3) + b"\0bytes")
        # Nobody got anything else: the next thing that they hear is this.
        c.send(text="end")
        for member in (a, b):
            self.assertEqual(member.recv()["text"], "end")

    def test_a_large_message_arrives_whole(self):
        a, b = self.enter("large", 2)
        text = "ä€x" * 700_000
        a.send(text=text)
        self.assertEqual(b.recv()["text"], text)
        a.socket.send(bytes(range(256)) * 8192)
        self.assertEqual(b.recv(), struct.pack(">I", 1) + bytes(range(256)) * 8192)

    def test_secret_capacity_and_lock_keep_people_out(self):
        a = Plain(self, "safe", secret="s3cret", capacity=2)
        wrong = Plain(self, "safe", secret="guess")
        self.assertEqual((wrong.state["event"], wrong.state["code"], wrong.state["slug"]), ("error", 403, "room.secret"))
        self.assertEqual(wrong.close_code(), 4403)
        a.send(act="lock")
        updated = a.recv()
        self.assertEqual((updated["event"], updated["locked"]), ("updated", True))
        locked = Plain(self, "safe", secret="s3cret")
        self.assertEqual((locked.state["code"], locked.state["slug"]), (409, "room.locked"))
        a.send(act="unlock")
        self.assertFalse(a.recv()["locked"])
        Plain(self, "safe", secret="s3cret")
        self.assertEqual(a.recv()["event"], "joined")
        full = Plain(self, "safe", secret="s3cret")
        self.assertEqual((full.state["code"], full.state["slug"]), (503, "room.full"))
        self.assertEqual(full.close_code(), 4503)

    def test_owner_and_moderators(self):
        a, b, c = self.enter("order", 3)
        b.send(act="kick", members=[3])
        self.assertEqual(b.recv()["slug"], "room.rights")
        a.send(act="promote", members=[2])
        for member in (a, b, c):
            self.assertEqual(member.recv()["members"][0]["role"], "moderator")
        b.send(act="kick", members=[3], reason="enough")
        self.assertEqual(c.recv(), {"event": "closed", "reason": "enough"})
        self.assertEqual(c.close_code(), 4410)
        for member in (a, b):
            self.assertEqual(member.recv(), {"event": "left", "members": [{"member": 3}], "reason": "enough"})
        a.socket.close()
        self.assertEqual(b.recv()["event"], "left")
        owner = b.recv()["members"][0]
        self.assertEqual((owner["member"], owner["role"]), (2, "owner"))
        b.send(act="close", reason="good night")
        self.assertEqual(b.recv(), {"event": "closed", "reason": "good night"})

    def test_info_can_change(self):
        a, b = self.enter("info", 2)
        a.send(act="update", info={"typing": True})
        for member in (a, b):
            self.assertEqual(member.recv()["members"][0]["info"], {"typing": True})

    def test_what_cannot_be_read_is_told(self):
        (a,) = self.enter("odd", 1)
        for text, slug in (
            ("no json", "room.message"),
            ("{}", "room.message"),
            ('{"text":"a","data":1}', "room.message"),
            ('{"tekst":"a"}', "room.message"),
            ('{"act":"dance"}', "room.act"),
            ('{"join":{}}', "join.conflict"),
            ('{"act":"kick","members":[9]}', "room.no_member"),
        ):
            a.socket.send(text)
            self.assertEqual(a.recv()["slug"], slug, text)

    def test_whoever_does_not_ask_to_join_is_not_let_in(self):
        socket = self.socket("/room/door")
        socket.send('{"text":"hello?"}')
        self.assertEqual(json.loads(socket.recv(timeout=WAIT_S))["slug"], "room.join_first")
        with self.assertRaises(ConnectionClosed) as closed:
            socket.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 4400)

    def test_members_over_the_protocol_are_members_like_all(self):
        a = Plain(self, "mixed", info={"nick": "ada"})
        b = JsonClient(self.socket("/ws", subprotocols=[SUBPROTOCOL]))
        joined = b.ask(kind="join", room="mixed", info='{"nick":"bob"}')
        self.assertEqual((joined["kind"], joined["member"]), ("ok", 2))
        seat = joined["id"]
        state = b.next("room_event", id=seat)
        self.assertEqual([member.get("info") for member in state["members"]], ['{"nick": "ada"}', '{"nick":"bob"}'])
        self.assertEqual(a.recv()["members"][0]["info"], {"nick": "bob"})
        a.send(text="hi")
        heard = b.next("data", id=seat)
        self.assertEqual((heard["text"], heard["via"]["member"]), ("hi", 1))
        b.send(kind="data", id=seat, text="yo", to=[1])
        self.assertEqual(a.recv(), {"event": "message", "from": 2, "to": [1], "text": "yo"})
        told = b.ask(kind="room_command", room="mixed", act="lock")
        self.assertEqual((told["kind"], told["slug"]), ("error", "room.rights"))
        self.assertEqual(b.ask(kind="leave", room="mixed")["kind"], "ok")
        self.assertEqual(a.recv()["event"], "left")


class Compressed(Rooms):
    """The same where messages are compressed for each member by itself."""

    FLAGS = ("--set", "websocket.deflate=true")

    def test_compression_is_agreed_on(self):
        a = Plain(self, "deflate")
        self.assertEqual([type(it).__name__ for it in a.socket.protocol.extensions], ["PerMessageDeflate"])


class Quotas(HubCase):
    FLAGS = ("--set", "limits.node_rooms=2", "--set", "rooms.empty_ttl=1h", "--set", "limits.room_members=1")

    def test_kept_rooms_give_way_and_full_nodes_say_so(self):
        a = Plain(self, "a", secret="x")
        a.socket.close()
        # It is kept, with its secret.
        self.assertEqual(Plain(self, "a").state["slug"], "room.secret")
        Plain(self, "b")
        c = Plain(self, "c")
        self.assertEqual(c.number, 1)
        self.assertEqual(Plain(self, "d").state["slug"], "rooms.node_limit")
        self.assertEqual(Plain(self, "c").state["slug"], "room.full")


class Crowd(HubCase):
    """Many members at once, who come, go, change and speak at random; each believes what it is told."""

    MEMBERS = 12
    ACTS = 60

    def test_what_members_believe_is_true(self):
        for seed in range(3):
            with self.subTest(seed=seed):
                asyncio.run(asyncio.wait_for(self.crowd(f"crowd-{seed}", random.Random(seed)), WAIT_S))

    async def crowd(self, room: str, dice: random.Random) -> None:
        url = f"{self.hub.url}/room/{room}"
        members = [Believer(url, random.Random(dice.random())) for _ in range(self.MEMBERS)]
        await asyncio.gather(*(member.live(self.ACTS) for member in members))
        # All of them are in, and nobody does anything any more: beliefs become what is.
        while True:
            with urllib.request.urlopen(f"{self.http}/v1/rooms/{room}") as answer:
                told = json.load(answer)
            truth = {it["member"]: (it["role"], it["info"]) for it in told["present"]}
            wrong = [it for it in members if (it.members, it.locked) != (truth, told["locked"])]
            if not wrong:
                break
            await asyncio.sleep(0.01)
        self.assertEqual(len(truth), self.MEMBERS)
        self.assertEqual([role for role, _ in truth.values()].count("owner"), 1)
        for member in members:
            await member.socket.close()


class Believer:
    """A member that checks what it hears against what it heard before."""

    def __init__(self, url: str, dice: random.Random):
        self.url, self.dice = url, dice
        self.members: dict[int, tuple[str, str]] = {}
        self.locked = False

    async def live(self, acts: int) -> None:
        await self.enter()
        for act in range(acts):
            if self.reading.done():
                # Sent away, or the room was closed.
                await self.reading
                await self.enter()
            with contextlib.suppress(ConnectionClosed):
                await self.act()
            if act % 7 == 0:
                await asyncio.sleep(0.001)
        # Nobody is locked out, or sent away, for ever.
        while True:
            with contextlib.suppress(ConnectionClosed):
                await self.socket.send(json.dumps({"act": "unlock"}))
                await asyncio.sleep(0.2)
                if not self.reading.done():
                    return
            await self.reading
            await self.enter()

    async def act(self) -> None:
        someone = self.dice.choice(list(self.members) or [1])
        wish = self.dice.choice(
            [
                {"act": "update", "info": self.dice.randrange(1000)},
                {"text": str(self.number)},
                {"to": [someone], "data": self.number},
                {"act": "promote", "members": [someone]},
                {"act": "demote", "members": [someone]},
                {"act": "kick", "members": [someone]},
                {"act": "unlock"},
            ]
        )
        await self.socket.send(json.dumps(wish))
        if self.dice.random() < 0.1:
            await self.socket.close()

    async def enter(self) -> None:
        self.members, self.gone, self.locked = {}, set(), False
        self.socket = await websockets.asyncio.client.connect(self.url, proxy=None, open_timeout=WAIT_S)
        await self.socket.send('{"join":{}}')
        told = json.loads(await self.socket.recv())
        assert told["event"] == "state", told
        self.number = told["member"]
        self.members = {it["member"]: shown(it) for it in told["members"]}
        self.locked = told["locked"]
        self.reading = asyncio.ensure_future(self.read())

    async def read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                self.hear(json.loads(text))

    def hear(self, told: dict) -> None:
        event, about = told["event"], told.get("members", [])
        if event == "joined":
            for it in about:
                assert it["member"] > max(self.members), "numbers grow"
                self.members[it["member"]] = shown(it)
        elif event == "left":
            for it in about:
                assert self.members.pop(it["member"], None), "who left was there"
                self.gone.add(it["member"])
        elif event == "updated":
            for it in about:
                assert it["member"] in self.members, "who changed is there"
                self.members[it["member"]] = shown(it)
            self.locked = told["locked"]
        elif event == "message":
            assert told.get("text") == str(told["from"]) or told.get("data") == told["from"]
            # Somebody who was sent away may just have said it.
            assert told["from"] in self.members or told["from"] in self.gone, "who speaks was introduced"
            assert told["from"] != self.number
        else:
            assert event in ("error", "closed"), told


def shown(member: dict) -> tuple[str, str]:
    return member["role"], json.dumps(member["info"]) if "info" in member else ""


if __name__ == "__main__":
    unittest.main()
