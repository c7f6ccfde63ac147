"""The same port behind TLS: wss from Python, WebSocket over HTTP/2 from Node, curl.

The client of these tests is the asyncio one of `websockets`. The other reads in a thread of its own, and Python's `ssl`
does not keep two threads apart that use one connection: what one writes while the other reads may never leave.
"""

import asyncio
import contextlib
import json
import pathlib
import ssl
import unittest

from scene import WAIT_S, HubCase
from websockets.asyncio.client import ClientConnection, connect

HERE = pathlib.Path(__file__).resolve().parent


def trusting() -> ssl.SSLContext:
    """The certificate is self-signed; whether it is the right one is not asked here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Tls(HubCase):
    FLAGS = ("--tls-self-signed",)

    def secure(self, path: str, **options) -> contextlib.AbstractAsyncContextManager[ClientConnection]:
        """A WebSocket to the hub, for `async with`."""
        options |= {"max_size": 16 * 2**20, "open_timeout": WAIT_S, "close_timeout": WAIT_S}
        return connect(self.hub.url + path, proxy=None, ssl=trusting(), **options)

    def test_a_json_session(self):
        async def session():
            async with self.secure("/ws", subprotocols=["whub.v1.json"]) as socket:
                await socket.send('{"kind":"hello"}')
                return json.loads(await socket.recv())

        self.assertEqual(within(session())["kind"], "welcome")

    def test_a_large_message_of_a_pair(self):
        message = bytes(range(256)) * 16384

        async def pair():
            async with self.secure("/pair/tls") as left:
                self.assertEqual(await left.recv(), "/status:waiting")
                async with self.secure("/pair/tls") as right:
                    self.assertEqual(await right.recv(), "/status:connected")
                    self.assertEqual([await left.recv(), await left.recv()], ["/remote:open", "/status:connected"])
                    await left.send(message)
                    return await right.recv()

        self.assertTrue(within(pair()) == message, "the message changed on its way")

    def test_websocket_over_http2(self):
        self.run_program("node", "--test", "h2.test.mjs", cwd=HERE / "node")

    def test_curl_speaks_http2(self):
        version = self.run_program(
            "curl", "-sSk", "--http2", "-o", "/dev/null", "-w", "%{http_version}", f"{self.http}/healthz"
        )
        self.assertEqual(version, "2")


class PlainHttp2(HubCase):
    def test_websocket_over_http2_with_prior_knowledge(self):
        self.run_program("node", "--test", "h2.test.mjs", cwd=HERE / "node")


def within(dialogue):
    """Runs a dialogue to its end, which has to come in time."""
    return asyncio.run(asyncio.wait_for(dialogue, 2 * WAIT_S))


if __name__ == "__main__":
    unittest.main()
