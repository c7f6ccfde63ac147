"""Plain WebSockets meet on /pair/<id>, with the texts that clients of the pair relay rely on."""

import base64
import socket
import unittest

from scene import WAIT_S, HubCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

ALONE = "/error:0001:The message was not received by anyone.:"


class Pair(HubCase):
    PLACE = "/pair"
    """What stands before the id."""

    def join(self, id: str, **options) -> ClientConnection:
        return self.socket(f"{self.PLACE}/{id}", **options)

    def expect(self, socket: ClientConnection, *texts: str | bytes) -> None:
        for text in texts:
            self.assertEqual(socket.recv(timeout=WAIT_S), text)

    def silent(self, socket: ClientConnection) -> None:
        """Whatever the hub had to say was said before the pong, because it answers in order."""
        self.assertTrue(socket.ping().wait(WAIT_S))
        with self.assertRaises(TimeoutError):
            socket.recv(timeout=0)

    def pair(self, id: str) -> tuple[ClientConnection, ClientConnection]:
        a = self.join(id)
        self.expect(a, "/status:waiting")
        b = self.join(id)
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
        c = self.join("four")
        self.expect(c, "/status:waiting")
        d = self.join("four")
        self.expect(d, "/status:connected")
        self.expect(c, "/remote:open", "/status:connected")
        d.send("from d")
        self.expect(c, "from d")
        self.silent(a)

    def test_who_is_left_waits_and_is_paired_again(self):
        a, b = self.pair("leave")
        b.close()
        self.expect(a, "/remote:close", "/status:waiting")
        c = self.join("leave")
        self.expect(c, "/status:connected")
        self.expect(a, "/remote:open", "/status:connected")

    def test_who_is_left_takes_the_one_who_waits(self):
        a, b = self.pair("heir")
        c = self.join("heir")
        self.expect(c, "/status:waiting")
        b.close()
        self.expect(a, "/remote:close", "/status:connected")
        self.expect(c, "/remote:open", "/status:connected")

    def test_a_waiter_that_leaves_is_forgotten(self):
        a = self.join("forgotten")
        self.expect(a, "/status:waiting")
        a.close()
        b = self.join("forgotten")
        self.expect(b, "/status:waiting")

    def test_text_while_alone_comes_back_as_error(self):
        a = self.join("alone")
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
        a = self.join("a%20b?x=1")
        self.expect(a, "/status:waiting")
        b = self.join("a%20b")
        self.expect(b, "/status:connected")

    def test_bad_utf8_closes_1007(self):
        a, b = self.pair("utf8")
        a.send(b"\xff\xfe", text=True)
        with self.assertRaises(ConnectionClosed) as closed:
            a.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 1007)
        self.expect(b, "/remote:close", "/status:waiting")

    def test_a_message_beyond_the_limit_closes_1009(self):
        a, b = self.pair("oversize")
        a.send(b"x" * (16 * 2**20 + 1))
        with self.assertRaises(ConnectionClosed) as closed:
            a.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 1009)
        self.expect(b, "/remote:close", "/status:waiting")

    def test_the_five_texts_of_every_sequence(self):
        """One id, from its first client to its last."""
        a = self.join("whole")
        self.expect(a, "/status:waiting")
        a.send("nobody")
        self.expect(a, ALONE + "nobody")
        b = self.join("whole")
        self.expect(b, "/status:connected")
        self.expect(a, "/remote:open", "/status:connected")
        c = self.join("whole")
        self.expect(c, "/status:waiting")
        d = self.join("whole")
        self.expect(d, "/status:connected")
        self.expect(c, "/remote:open", "/status:connected")
        # Nobody waits when A leaves; B waits, so D finds it when C leaves.
        a.close()
        self.expect(b, "/remote:close", "/status:waiting")
        c.close()
        self.expect(d, "/remote:close", "/status:connected")
        self.expect(b, "/remote:open", "/status:connected")
        d.send("left over")
        self.expect(b, "left over")
        e = self.join("whole")
        self.expect(e, "/status:waiting")
        e.close()
        f = self.join("whole")
        self.expect(f, "/status:waiting")
        # A connection that is lost without a word is a leave like any other.
        d.socket.shutdown(socket.SHUT_RDWR)
        self.expect(b, "/remote:close", "/status:connected")
        self.expect(f, "/remote:open", "/status:connected")
        self.silent(b)
        self.silent(f)

    def test_a_secret_is_brought_as_a_subprotocol_or_a_header(self):
        def offer(secret: str) -> str:
            return "whub.secret." + base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")

        a = self.join("secret", subprotocols=["whub.plain", offer("s3cret")])
        self.assertEqual(a.subprotocol, "whub.plain")
        self.expect(a, "/status:waiting")
        for options in ({}, {"subprotocols": ["whub.plain", offer("s3cre")]}):
            refused = self.join("secret", **options)
            with self.assertRaises(ConnectionClosed) as closed:
                refused.recv(timeout=WAIT_S)
            self.assertEqual(closed.exception.rcvd.code, 4403)
        self.silent(a)
        b = self.join("secret", additional_headers={"Whub-Pair-Secret": "s3cret"})
        self.expect(b, "/status:connected")
        self.expect(a, "/remote:open", "/status:connected")


if __name__ == "__main__":
    unittest.main()
