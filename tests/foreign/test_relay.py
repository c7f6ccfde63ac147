"""The listener for clients of rust-websocket-relay: the dialogues of /pair/<id> on its own paths, and what it refuses."""

import asyncio
import unittest

import test_pair
import test_tls
from scene import WAIT_S, HubCase
from websockets.sync.client import ClientConnection


class Relay(test_pair.Pair):
    """Every dialogue of `/pair/<id>`, at `/<id>` of a listener of its own."""

    FLAGS = ("--relay", "127.0.0.1:0")
    PLACE = ""

    def socket(self, path: str, **options) -> ClientConnection:
        return super().socket(path, **{"base": self.hub.relay_url} | options)

    def test_all_doors_lead_to_the_same_pairs(self):
        a = self.join("doors")
        self.expect(a, "/status:waiting")
        b = self.socket("/pair/doors", base=self.hub.url)
        self.expect(b, "/status:connected")
        self.expect(a, "/remote:open", "/status:connected")
        a.send("from the relay")
        self.expect(b, "from the relay")

    def test_whub_pair_meets_it(self):
        a = self.join("shell")
        self.expect(a, "/status:waiting")
        shell = self.program(self.binary, "pair", "shell", stdin=-1)
        self.expect(a, "/remote:open", "/status:connected")
        shell.stdin.write(b"bytes of a shell\n")
        shell.stdin.close()
        self.expect(a, b"bytes of a shell\n")
        a.send("text of a page")
        a.close()
        self.assertEqual(shell.stdout.read(), b"text of a page")


class Scope(HubCase):
    FLAGS = ("--relay", "127.0.0.1:0", "--relay-scope", "a")

    def status(self, path: str, *options: str) -> tuple[int, bytes]:
        url = self.hub.relay_url.replace("ws:", "http:").removesuffix("/a") + path
        output = self.program("curl", "-sS", "--max-time", str(WAIT_S), "-w", "%{stderr}%{http_code}", *options, url)
        body, status = output.communicate(timeout=WAIT_S + 5)
        return int(status), body

    def test_ids_are_behind_the_scope_and_nowhere_else(self):
        a = self.socket("/x", base=self.hub.relay_url)
        self.assertEqual(a.recv(timeout=WAIT_S), "/status:waiting")
        b = self.socket("/pair/x")
        self.assertEqual(b.recv(timeout=WAIT_S), "/status:connected")

    def test_refusals_have_no_body(self):
        for path, options, status in (
            ("/a/x", (), 400),
            ("/a/x?y", (), 400),
            ("/a/x", ("-d", "data"), 404),
            ("/a/x", ("-X", "DELETE"), 404),
            ("/a/x/y", (), 404),
            ("/a/", (), 404),
            ("/x", (), 404),
            ("/", (), 404),
            ("/pair/x", (), 404),
            ("/metrics", (), 404),
            ("/a/x", ("-H", "Origin: https://elsewhere.example"), 403),
            ("/a/x", ("-H", "Host: elsewhere.example"), 421),
        ):
            self.assertEqual(self.status(path, *options), (status, b""), f"{path} {options}")


class Secure(HubCase):
    """The certificate of the hub is the relay's too."""

    FLAGS = ("--tls-self-signed", "--relay", "127.0.0.1:0")

    def test_two_meet(self):
        async def meet():
            url = self.hub.relay_url + "/tls"
            options = {"proxy": None, "ssl": test_tls.trusting(), "open_timeout": WAIT_S}
            async with test_tls.connect(url, **options) as a, test_tls.connect(url, **options) as b:
                await b.send("to a")
                return [await a.recv() for _ in range(4)]

        texts = asyncio.run(asyncio.wait_for(meet(), WAIT_S))
        self.assertEqual(texts, ["/status:waiting", "/remote:open", "/status:connected", "to a"])


if __name__ == "__main__":
    unittest.main()
