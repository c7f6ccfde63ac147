"""Many endpoints on one socket: the handshake of SocketMaster and what follows, byte for byte in both of its spellings."""

from __future__ import annotations

import pathlib
import tempfile
import unittest

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from endpoints import Echo
from scene import WAIT_S, HubCase


class Spelling:
    """How events are written: as the README of SocketMaster has them, or as JSON."""

    def __init__(self, form: str):
        self._form = form

    def __call__(self, event: str, data: str) -> str:
        return self._form % (event, data)


BARE = Spelling("{event: %s, data: %s}")
JSON = Spelling('{"event":"%s","data":"%s"}')
SPELLINGS = {"bare": BARE, "JSON": JSON}


class Multiplexer(HubCase):
    """A hub with two endpoints, both from a `config.ini`."""

    SETTINGS: tuple[str, ...] = ()

    @classmethod
    def setUpClass(cls):
        cls.one, cls.two = Echo("one"), Echo("two")
        for echo in (cls.one, cls.two):
            cls.addClassCleanup(echo.close)
        folder = tempfile.TemporaryDirectory(prefix="whub-gateway-")
        cls.addClassCleanup(folder.cleanup)
        config = pathlib.Path(folder.name) / "config.ini"
        config.write_text(
            f"[Endpoint1]\nName = endpoint1\nPort = {cls.one.port}\n\n[Endpoint2]\nName = second\nPort = {cls.two.port}\n"
        )
        cls.FLAGS = ("--gateway", str(config), *cls.SETTINGS)
        super().setUpClass()

    def client(self) -> ClientConnection:
        return self.socket("/gateway")

    def greeted(self, spelled: Spelling = BARE, *routes: str) -> ClientConnection:
        """A client whose handshake is done."""
        client = self.client()
        client.send(spelled("SMHandshake", "SYN"))
        self.hears(client, spelled("SMHandshake", "SYN/ACK"))
        client.send(spelled("SMHandshake", "ACK"))
        for route in routes:
            client.send(spelled("SMHandshake", route))
            self.hears(client, spelled("SMHandshake", "ACK"))
        client.send(spelled("SMHandshakeEnd", "END"))
        self.hears(client, spelled("SMHandshakeEnd", "ACK"))
        return client

    def hears(self, client: ClientConnection, *texts: str | bytes) -> None:
        for text in texts:
            self.assertEqual(client.recv(timeout=WAIT_S), text)

    def silent(self, client: ClientConnection) -> None:
        """The hub answers in order: what it had to say was said before the pong."""
        self.assertTrue(client.ping().wait(WAIT_S))
        with self.assertRaises(TimeoutError):
            client.recv(timeout=0)

    def closes(self, client: ClientConnection, code: int) -> None:
        with self.assertRaises(ConnectionClosed) as closed:
            client.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, code)


class Handshake(Multiplexer):
    def test_the_recorded_dialogue(self):
        client = self.client()
        client.send("{event: SMHandshake, data: SYN}")
        self.hears(client, "{event: SMHandshake, data: SYN/ACK}")
        client.send("{event: SMHandshake, data: ACK}")
        client.send("{event: SMHandshake, data: Endpoint1}")
        self.hears(client, "{event: SMHandshake, data: ACK}")
        client.send("{event: SMHandshakeEnd}")
        self.hears(client, "{event: SMHandshakeEnd, data: ACK}")
        client.send("ROUTENAME=Endpoint1\nhello")
        self.hears(client, "ROUTENAME=Endpoint1\none: hello")
        self.silent(client)

    def test_the_recorded_dialogue_as_json(self):
        client = self.client()
        client.send('{"event":"SMHandshake","data":"SYN"}')
        self.hears(client, '{"event":"SMHandshake","data":"SYN/ACK"}')
        client.send('{"event":"SMHandshake","data":"ACK"}')
        client.send('{"event":"SMHandshake","data":"Endpoint1"}')
        self.hears(client, '{"event":"SMHandshake","data":"ACK"}')
        client.send('{"event":"SMHandshakeEnd"}')
        self.hears(client, '{"event":"SMHandshakeEnd","data":"ACK"}')
        client.send("ROUTENAME=Endpoint1\nhello")
        self.hears(client, "ROUTENAME=Endpoint1\none: hello")
        self.silent(client)

    def test_nothing_is_said_to_the_acknowledgement_of_a_client(self):
        client = self.client()
        client.send(BARE("SMHandshake", "SYN"))
        self.hears(client, BARE("SMHandshake", "SYN/ACK"))
        client.send(BARE("SMHandshake", "ACK"))
        self.silent(client)

    def test_several_routes_and_one_that_was_not_listed(self):
        for name, spelled in SPELLINGS.items():
            with self.subTest(name):
                client = self.greeted(spelled, "Endpoint1", "SECOND")
                client.send("ROUTENAME=second\nx")
                # The spelling of a route's name is the one by which the client first used it.
                self.hears(client, "ROUTENAME=SECOND\ntwo: x")
                # No list at all: whatever is configured can be used.
                client = self.greeted(spelled)
                client.send("ROUTENAME=Endpoint2\nx")
                self.hears(client, "ROUTENAME=Endpoint2\ntwo: x")

    def test_syn_may_be_repeated(self):
        client = self.client()
        for _ in range(3):
            client.send(BARE("SMHandshake", "SYN"))
            self.hears(client, BARE("SMHandshake", "SYN/ACK"))

    def test_routes_may_be_added_later(self):
        for name, spelled in SPELLINGS.items():
            with self.subTest(name):
                client = self.greeted(spelled, "Endpoint1")
                client.send(spelled("SMHandshake", "Endpoint2"))
                self.hears(client, spelled("SMHandshake", "ACK"))
                client.send("ROUTENAME=Endpoint2\nx")
                self.hears(client, "ROUTENAME=Endpoint2\ntwo: x")

    def test_what_comes_too_early_is_refused_and_the_eighth_closes(self):
        for name, spelled in SPELLINGS.items():
            with self.subTest(name):
                client = self.client()
                for _ in range(7):
                    client.send(spelled("SMHandshake", "Endpoint1"))
                    self.assertRegex(client.recv(timeout=WAIT_S), "^" + spelled("SMError", ".*SYN.*").replace("{", r"\{").replace("}", r"\}") + "$")
                client.send(spelled("SMHandshake", "Endpoint1"))
                with self.assertRaises(ConnectionClosed) as closed:
                    while "SMError" in client.recv(timeout=WAIT_S):
                        pass
                self.assertEqual(closed.exception.rcvd.code, 1008)

    def test_an_early_message_changes_nothing(self):
        client = self.client()
        client.send("ROUTENAME=Endpoint1\ntoo early")
        self.assertIn("SMError", client.recv(timeout=WAIT_S))
        client.send(BARE("SMHandshake", "SYN"))
        self.hears(client, BARE("SMHandshake", "SYN/ACK"))
        client.send(BARE("SMHandshakeEnd", "END"))
        self.assertRegex(client.recv(timeout=WAIT_S), r"^\{event: SMError, data: .*ACK.*\}$")
        client.send(BARE("SMHandshake", "ACK"))
        client.send(BARE("SMHandshakeEnd", "END"))
        self.hears(client, BARE("SMHandshakeEnd", "ACK"))
        self.assertNotIn("too early", self.one.told)


class Messages(Multiplexer):
    def test_text_and_binary_reach_their_endpoint_without_the_first_line(self):
        client = self.greeted()
        self.one.told.clear()
        large = "é" * 500_000
        for body in ("hello", "", "\n", "two\nlines\r\n", "ROUTENAME=second\nof the body", large):
            client.send(f"ROUTENAME=Endpoint1\n{body}")
            self.hears(client, f"ROUTENAME=Endpoint1\none: {body}")
        for body in (b"\x00\xff\x80", b"", b"x" * 500_000):
            client.send(b"ROUTENAME=Endpoint1\n" + body)
            self.hears(client, b"ROUTENAME=Endpoint1\none: " + body)
        self.assertEqual(self.one.told[:3], ["hello", "", "\n"])
        self.assertEqual(self.one.told[-3:-1], [b"\x00\xff\x80", b""])

    def test_the_first_line_may_end_in_the_other_way_and_have_any_case(self):
        client = self.greeted()
        client.send("ROUTENAME=eNdPoInT1\r\nhello")
        self.hears(client, "ROUTENAME=eNdPoInT1\none: hello")

    def test_fragments_arrive_as_one_message(self):
        client = self.greeted()
        client.send(["ROUTE", "NAME=Endpoint1", "\nin ", "pieces"])
        self.hears(client, "ROUTENAME=Endpoint1\none: in pieces")

    def test_routes_are_answered_apart(self):
        client = self.greeted()
        for number in range(200):
            client.send(f"ROUTENAME={'Endpoint1' if number % 2 else 'second'}\n{number}")
        heard = {"ROUTENAME=Endpoint1\none": [], "ROUTENAME=second\ntwo": []}
        for _ in range(200):
            route, _, number = client.recv(timeout=WAIT_S).partition(": ")
            heard[route].append(int(number))
        self.assertEqual(list(heard.values()), [list(range(1, 200, 2)), list(range(0, 200, 2))])

    def test_two_clients_are_told_apart(self):
        ada, bob = self.greeted(), self.greeted(JSON)
        ada.send("ROUTENAME=Endpoint1\nfrom ada")
        bob.send("ROUTENAME=endpoint1\nfrom bob")
        self.hears(ada, "ROUTENAME=Endpoint1\none: from ada")
        self.hears(bob, "ROUTENAME=endpoint1\none: from bob")
        self.silent(ada)
        self.silent(bob)

    def test_unknown_and_missing_routes_are_errors_and_the_connection_stays(self):
        for name, spelled in SPELLINGS.items():
            with self.subTest(name):
                client = self.greeted(spelled)
                client.send("ROUTENAME=nowhere\nx")
                self.hears(client, spelled("SMError", "unknown route nowhere"))
                client.send("no first line")
                self.hears(client, spelled("SMError", "missing route"))
                client.send(b"no first line")
                self.hears(client, spelled("SMError", "missing route"))
                # Longer than 256 bytes, a line names nothing.
                client.send("ROUTENAME=" + "x" * 300 + "\nbody")
                self.hears(client, spelled("SMError", "missing route"))
                client.send("ROUTENAME=Endpoint1\nstill here")
                self.hears(client, "ROUTENAME=Endpoint1\none: still here")


class BareWord(Multiplexer):
    SETTINGS = ("--set", "gateway.bare_ack=true")

    def test_a_client_that_waits_for_the_word(self):
        for name, spelled in SPELLINGS.items():
            with self.subTest(name):
                client = self.client()
                client.send(spelled("SMHandshake", "SYN"))
                self.hears(client, spelled("SMHandshake", "SYN/ACK"))
                client.send(spelled("SMHandshake", "ACK"))
                for step in (spelled("SMHandshake", "Endpoint1"), spelled("SMHandshakeEnd", "END")):
                    client.send(step)
                    self.hears(client, "ACK")
                client.send("ROUTENAME=Endpoint1\nx")
                self.hears(client, "ROUTENAME=Endpoint1\none: x")


class Slow(Multiplexer):
    def test_a_route_that_does_not_read_holds_up_no_other(self):
        client = self.greeted()
        self.two.told.clear()
        self.two.reads.clear()
        self.addCleanup(self.two.reads.set)
        piece, pieces = "x" * 262_144, 80
        for number in range(pieces):
            client.send(f"ROUTENAME=Endpoint2\n{number} {piece}")
        for number in range(50):
            client.send(f"ROUTENAME=Endpoint1\n{number}")
        # Far more than sockets and the window of a route hold; meanwhile the other route answers.
        full, heard = 0, 0
        while heard < 50:
            text = client.recv(timeout=WAIT_S)
            if text == "{event: SMError, data: route full Endpoint2}":
                full += 1
            else:
                self.assertEqual(text, f"ROUTENAME=Endpoint1\none: {heard}")
                heard += 1
        self.assertGreater(full, 0)
        self.assertEqual(self.two.told, [])

        # When it reads again, it gets what was not refused, in order, and the client is told that there is room.
        self.two.reads.set()
        answers = []
        is_ready = False
        while len(answers) < pieces - full or not is_ready:
            text = client.recv(timeout=WAIT_S)
            is_ready |= text == "{event: SMRoute, data: route ready Endpoint2}"
            if text.startswith("ROUTENAME=Endpoint2\ntwo: "):
                answers.append(int(text.split(maxsplit=3)[2]))
        self.assertEqual(answers, sorted(set(answers)))
        client.send("ROUTENAME=Endpoint2\nlast")
        self.hears(client, "ROUTENAME=Endpoint2\ntwo: last")


class Impatient(Multiplexer):
    SETTINGS = ("--set", "gateway.handshake=300ms")

    def test_a_handshake_that_takes_too_long_is_over(self):
        for name, spelled in SPELLINGS.items():
            with self.subTest(name):
                client = self.client()
                client.send(spelled("SMHandshake", "SYN"))
                self.hears(client, spelled("SMHandshake", "SYN/ACK"))
                self.assertIn("SMError", client.recv(timeout=WAIT_S))
                self.closes(client, 1008)

    def test_one_that_is_done_has_all_the_time(self):
        waiting = self.client()
        client = self.greeted()
        # A deadline later, by the hub's own clock.
        self.assertIn("SMError", waiting.recv(timeout=WAIT_S))
        client.send("ROUTENAME=Endpoint1\nx")
        self.hears(client, "ROUTENAME=Endpoint1\none: x")


if __name__ == "__main__":
    unittest.main()
