"""Plain WebSockets meet on /pair/<id>, with the texts that clients of the pair relay rely on."""

import unittest

from scene import WAIT_S, HubCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

ALONE = "/error:0001:The message was not received by anyone.:"


class Pair(HubCase):
    def expect(self, socket: ClientConnection, *texts: str | bytes) -> None:
        for text in texts:
            self.assertEqual(socket.recv(timeout=WAIT_S), text)

    def silent(self, socket: ClientConnection) -> None:
        """Whatever the hub had to say was said before the pong, because it answers in order."""
        self.assertTrue(socket.ping().wait(WAIT_S))
        with self.assertRaises(TimeoutError):
            socket.recv(timeout=0)

    def pair(self, id: str) -> tuple[ClientConnection, ClientConnection]:
        a = self.socket(f"/pair/{id}")
        self.expect(a, "/status:waiting")
        b = self.socket(f"/pair/{id}")
        self.expect(b, "/status:connected")
        self.expect(a, "/remote:open", "/status:connected")
        return a, b

    def test_two_meet_and_talk(self):
        a, b = self.pair("meet")
        a.send("hello")
        self.expect(b, "hello")
        b.send("hello yourself")
        self.expect(a, "hello yourself")
        self.silent(b)

    def test_binary_is_relayed(self):
        a, b = self.pair("binary")
        a.send(b"\x00\xff\x80")
        self.expect(b, b"\x00\xff\x80")

    def test_frames_keep_their_order_and_size(self):
        a, b = self.pair("large")
        large = "x" * 65_536
        for text in (large, "small", "é" * 40_000):
            a.send(text)
        self.expect(b, large, "small", "é" * 40_000)

    def test_fragments_arrive_as_one_message(self):
        a, b = self.pair("fragments")
        a.send(["one ", "two ", "three"])
        self.expect(b, "one two three")

    def test_the_third_waits_for_the_fourth(self):
        a, _ = self.pair("four")
        c = self.socket("/pair/four")
        self.expect(c, "/status:waiting")
        d = self.socket("/pair/four")
        self.expect(d, "/status:connected")
        self.expect(c, "/remote:open", "/status:connected")
        d.send("from d")
        self.expect(c, "from d")
        self.silent(a)

    def test_who_is_left_waits_and_is_paired_again(self):
        a, b = self.pair("leave")
        b.close()
        self.expect(a, "/remote:close", "/status:waiting")
        c = self.socket("/pair/leave")
        self.expect(c, "/status:connected")
        self.expect(a, "/remote:open", "/status:connected")

    def test_who_is_left_takes_the_one_who_waits(self):
        a, b = self.pair("heir")
        c = self.socket("/pair/heir")
        self.expect(c, "/status:waiting")
        b.close()
        self.expect(a, "/remote:close", "/status:connected")
        self.expect(c, "/remote:open", "/status:connected")

    def test_a_waiter_that_leaves_is_forgotten(self):
        a = self.socket("/pair/forgotten")
        self.expect(a, "/status:waiting")
        a.close()
        b = self.socket("/pair/forgotten")
        self.expect(b, "/status:waiting")

    def test_text_while_alone_comes_back_as_error(self):
        a = self.socket("/pair/alone")
        self.expect(a, "/status:waiting")
        a.send("anyone?")
        self.expect(a, ALONE + "anyone?")
        a.send(b"anyone?")
        self.expect(a, ALONE)

    def test_status_words_of_a_peer_are_only_words(self):
        a, b = self.pair("words")
        a.send("/remote:close")
        self.expect(b, "/remote:close")
        b.send("still here")
        self.expect(a, "still here")

    def test_ids_are_decoded_and_the_query_is_ignored(self):
        a = self.socket("/pair/a%20b?x=1")
        self.expect(a, "/status:waiting")
        b = self.socket("/pair/a%20b")
        self.expect(b, "/status:connected")

    def test_bad_utf8_closes_1007(self):
        a, b = self.pair("utf8")
        a.send(b"\xff\xfe", text=True)
        with self.assertRaises(ConnectionClosed) as closed:
            a.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 1007)
        self.expect(b, "/remote:close", "/status:waiting")


if __name__ == "__main__":
    unittest.main()
