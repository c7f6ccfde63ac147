"""What a client and an endpoint say to each other is the same with the hub in between, byte for byte."""

import dataclasses
import os
import socket
import threading
import unittest
import zlib

from endpoints import GatewayCase
from recorder import (
    BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, Dialogue, Ends, Frame, Notes, Recorder, Side, ask, client, close, fields_of,
    serve, server,
)
from scene import WAIT_S

# What a proxy says of itself to the endpoint, and of the way, which has another name at each end.
ADDED_TO_REQUESTS = {"host", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "via", "traceparent", "x-request-id"}
# What the hub lets pages of other origins see, where the endpoint says nothing about it; and its name of the request.
ADDED_TO_ANSWERS = {"access-control-allow-origin", "access-control-expose-headers", "vary", "x-request-id"}
# Each connection has a key of its own, and so an answer to it.
OF_A_CONNECTION = {"sec-websocket-key", "sec-websocket-accept", "connection", "keep-alive", "date", "transfer-encoding"}

MIB = 2**20
MASSES = {size: os.urandom(size) for size in (125, 126, 65_535, 65_536, 16 * MIB)}
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def deflated(*texts: bytes) -> list[bytes]:
    """Messages of one direction with the context taken over, as permessage-deflate has them."""
    packer = zlib.compressobj(wbits=-15)
    return [(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4] for text in texts]


PACKED = deflated(b"again and again " * 1000, b"again and again, later")

CLOSES = {
    "1000": close(1000),
    "1001, going": close(1001, "going away"),
    "1011": close(1011, "grüß dich"),
    "3000": close(3000, "registered"),
    "4999, a long reason": close(4999, "r" * 123),
    "no code": close(),
}

DIALOGUES = (
    Dialogue(
        "text, binary, empty",
        (
            client(Frame(TEXT, "grüß dich".encode())), server(Frame(TEXT, b"hello")),
            client(Frame(BINARY, bytes(range(256)))), server(Frame(BINARY, bytes(range(256)))),
            client(Frame(TEXT)), server(Frame(TEXT)), client(Frame(BINARY)), server(Frame(BINARY)),
            client(*(Frame(TEXT, b"%d" % n) for n in range(500))), server(*(Frame(BINARY, b"%d" % n) for n in range(500))),
        ),
    ),
    Dialogue(
        "fragments, with control frames between",
        tuple(
            side(Frame(0x01, b"one "), Frame(PING, b"between"), Frame(0x00, b"two "), Frame(0x00), Frame(FIN, b"three"), Frame(BINARY, b"whole"), Frame(0x02), Frame(FIN))
            for side in (client, server)
        ) + (server(Frame(PONG, b"between")), client(Frame(PONG, b"between"))),
    ),
    Dialogue("a character that is cut by fragments", (client(Frame(0x01, b"\xc3"), Frame(FIN, b"\xbc")), server(Frame(0x01, b"\xf0\x9f"), Frame(FIN, b"\x99\x82")))),
    Dialogue(
        "pings and pongs",
        (
            client(Frame(PING, b"ping")), server(Frame(PONG, b"ping")), server(Frame(PING, bytes(125))), client(Frame(PONG, bytes(125))),
            client(Frame(PING)), server(Frame(PONG)), client(Frame(PONG, b"unasked")), server(Frame(PONG, b"unasked")),
            client(*(Frame(PING, b"%d" % n) for n in range(20)), Frame(TEXT, b"last")),
        ),
    ),
    *(Dialogue(f"the client closes, {name}", (client(frame), server(frame), Ends("server"))) for name, frame in CLOSES.items()),
    *(Dialogue(f"the server closes, {name}", (server(frame), client(frame), Ends("server"))) for name, frame in CLOSES.items()),
    Dialogue("the answer to a close has another code", (client(close(4000, "mine")), server(close(4001, "yours")), Ends("server"))),
    Dialogue("data after the other side's close", (server(close(1000)), client(Frame(TEXT, b"still this"), close(1000)), Ends("server"))),
    Dialogue("the client is gone without a word", (server(Frame(TEXT, b"last words")), Ends("client"))),
    *(
        Dialogue(f"{size} bytes", (client(Frame(BINARY, mass)), server(Frame(BINARY, mass))))
        for size, mass in MASSES.items()
    ),
    Dialogue("byte by byte", (client(Frame(TEXT, b"slow"), Frame(PING), Frame(BINARY, bytes(300)), trickled=True), server(Frame(TEXT, b"slow"), Frame(PONG), Frame(BINARY, bytes(300)), trickled=True))),
    Dialogue("both speak at once", (client(Frame(TEXT, b"second")),), at_once=(client(Frame(TEXT, b"with the request")), server(Frame(TEXT, b"with the answer")))),
    Dialogue("the server closes with its answer", (client(close(4321, "never mind")), Ends("server")), at_once=(server(close(4321, "never mind")),)),
    Dialogue("a subprotocol of two", (client(Frame(TEXT, b"x")),), asks=("Sec-WebSocket-Protocol: one, two.v2",), answers=("Sec-WebSocket-Protocol: two.v2",)),
    Dialogue("a subprotocol of two fields", (client(Frame(TEXT, b"x")),), asks=("Sec-WebSocket-Protocol: one", "Sec-WebSocket-Protocol: two"), answers=("Sec-WebSocket-Protocol: one",)),
    Dialogue("no subprotocol taken", (client(Frame(TEXT, b"x")),), asks=("Sec-WebSocket-Protocol: one",)),
    Dialogue(
        "deflate, agreed on",
        (
            client(Frame(TEXT | RSV1, PACKED[0]), Frame(TEXT | RSV1, PACKED[1])), server(Frame(BINARY | RSV1, PACKED[0]), Frame(TEXT, b"plain")),
            client(Frame(0x01 | RSV1, PACKED[0][:7]), Frame(PING), Frame(FIN, PACKED[0][7:])), server(Frame(0x02 | RSV1, PACKED[1][:3]), Frame(FIN, PACKED[1][3:])),
        ),
        asks=(f"{DEFLATE}; client_max_window_bits; server_no_context_takeover, x-other; a=\"b\"; c",), answers=(f"{DEFLATE}; client_max_window_bits=12; server_no_context_takeover",),
    ),
    Dialogue("deflate, declined", (client(Frame(TEXT, b"plain")), server(Frame(TEXT, b"plain"))), asks=(DEFLATE,)),
    Dialogue("the path, as it came", (client(Frame(TEXT, b"x")),), target="/a%20b/%2Fc//d;e=f/?q=1&r=%26&&s"),
    Dialogue("only a query", (client(Frame(TEXT, b"x")),), target="?q=1"),
    Dialogue(
        "header fields both ways", (client(Frame(TEXT, b"x")),),
        asks=("Origin: http://127.0.0.1:1", "Cookie: a=b; c=d", "Cookie: e=f", "Authorization: Basic YTpi", "User-Agent: tester/1", "X-Own: one", "X-Own: two", "X-Empty:", "Accept-Language: de, en;q=0.5"),
        answers=("Set-Cookie: a=b; Path=/", "Set-Cookie: c=d", "X-Answer: yes", "Server: recorder"),
    ),
    *(
        Dialogue(f"refused: {status}", refusal=f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nX-Why: because\r\n{more}Content-Length: 6\r\n\r\nreason".encode())
        for status, more in (("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"\r\n'), ("403 Forbidden", ""), ("404 Not Found", ""), ("302 Found", "Location: http://elsewhere.example/x\r\n"), ("426 Upgrade Required", ""), ("503 Service Unavailable", "Retry-After: 7\r\n"))
    ),
)


class Between(GatewayCase):
    @classmethod
    def setUpClass(cls):
        cls.recorder = Recorder()
        cls.addClassCleanup(cls.recorder.close)
        # Nobody but those of the dialogues may knock at the recorder's door.
        cls.ENDPOINTS = {"echo": f'url = "ws://127.0.0.1:{cls.recorder.port}"\nhealth = "off"'}
        super().setUpClass()
        host, port = cls.hub.address.split(":")
        cls.ways = {"directly": (("127.0.0.1", cls.recorder.port), ""), "through the hub": ((host, int(port)), "/gateway/echo")}


class WebSockets(Between):
    def test_every_dialogue_is_seen_alike_by_both_sides(self):
        for dialogue in DIALOGUES:
            with self.subTest(dialogue.name):
                direct, between = (self.play(dialogue, *way) for way in self.ways.values())
                self.alike(direct, between)

    def play(self, dialogue: Dialogue, address: tuple[str, int], base: str) -> tuple[Notes, Notes]:
        self.recorder.plays(lambda side: serve(dialogue, side))
        asked = ask(dialogue, address, base or ("" if dialogue.target.startswith("/") else "/"))
        return asked, self.recorder.notes()

    def alike(self, direct: tuple[Notes, Notes], between: tuple[Notes, Notes]) -> None:
        for who, one, other in zip(("client", "server"), direct, between):
            self.assertEqual(head(other, than=one), head(one), f"the head that the {who} saw")
            self.assertEqual(len(other.seen), len(one.seen), f"what the {who} saw")
            for seen, wanted in zip(other.seen, one.seen):
                self.assertTrue(seen == wanted, f"{who}: {brief(seen)} instead of {brief(wanted)}")

    def test_a_lost_endpoint_is_the_one_thing_that_the_hub_speaks_of_itself(self):
        dialogue = Dialogue("lost", (client(Frame(TEXT, b"last words")), Ends("server")))
        asked, _ = self.play(dialogue, *self.ways["directly"])
        self.assertEqual(asked.seen, ["end"])
        heard = dataclasses.replace(dialogue, steps=(*dialogue.steps[:1], server(close(1012, "the endpoint was lost; connect again")), Ends("server")))
        self.recorder.plays(lambda side: serve(dialogue, side))
        asked = ask(heard, *self.ways["through the hub"])
        self.assertEqual(asked.seen, [(CLOSE, False, heard.steps[1].frames[0].payload), "end"])


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A request and its answer; the bodies are given apart, because they are framed anew at each hop."""

    name: str
    line: str
    answer: str
    asks: tuple[str, ...] = ()
    body: bytes | None = None
    answer_body: bytes = b""
    chunked: bool = False
    """Both bodies come in chunks."""

    @property
    def has_answer_body(self) -> bool:
        return not self.line.startswith("HEAD") and not self.answer.startswith(("204", "304"))


def framed(body: bytes, chunked: bool) -> tuple[str, bytes]:
    """The header line for a body, and its bytes."""
    if not chunked:
        return f"Content-Length: {len(body)}\r\n", body
    parts = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
    return "Transfer-Encoding: chunked\r\n", b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


BODY = os.urandom(3 * MIB)
EXCHANGES = (
    Exchange("a page", "GET /", "200 OK\r\nContent-Type: text/html; charset=utf-8", answer_body=b"<p>hello"),
    Exchange("the path, as it came", "GET /a%20b/%2Fc//d;e=f/?q=1&r=%26&&s", "200 OK", answer_body=b"x"),
    Exchange("only a query", "GET /?q=1", "200 OK", answer_body=b"x"),
    Exchange("a head", "HEAD /file", "200 OK\r\nContent-Length: 12345\r\nETag: \"e\""),
    Exchange("a form", "POST /form", "303 See Other\r\nLocation: /thanks", ("Content-Type: application/x-www-form-urlencoded",), b"a=b&c=d"),
    Exchange("an empty body", "POST /empty", "200 OK", body=b""),
    Exchange("a long body both ways", "PUT /file", "201 Created", body=BODY, answer_body=BODY),
    Exchange("a long body both ways, in chunks", "PUT /file", "200 OK", body=BODY, answer_body=BODY, chunked=True),
    Exchange("other methods", "PATCH /x", "200 OK", body=b"patch", answer_body=b"patched"),
    Exchange("what is deleted", "DELETE /x", "204 No Content"),
    Exchange("what is allowed", "OPTIONS /x", "204 No Content\r\nAllow: GET, PUT"),
    Exchange("nothing new", "GET /cached", "304 Not Modified\r\nETag: \"e\"", ('If-None-Match: "e"',)),
    Exchange("a part", "GET /file", "206 Partial Content\r\nContent-Range: bytes 0-3/9", ("Range: bytes=0-3",), answer_body=b"part"),
    Exchange("what was packed stays packed", "GET /packed", "200 OK\r\nContent-Encoding: gzip", ("Accept-Encoding: gzip, br",), answer_body=zlib.compress(b"x" * 1000, wbits=31)),
    Exchange(
        "header fields both ways", "GET /", "200 OK\r\nSet-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\nX-Answer: yes\r\nServer: recorder\r\nCache-Control: no-store",
        ("Origin: http://127.0.0.1:1", "Cookie: a=b; c=d", "Authorization: Basic YTpi", "User-Agent: tester/1", "Accept: text/html", "X-Own: one", "X-Own: two", "X-Empty:"), answer_body=b"x",
    ),
    Exchange("rules for other origins", "GET /", "200 OK\r\nAccess-Control-Allow-Origin: https://one.example\r\nVary: Accept", ("Origin: http://127.0.0.1:1",), answer_body=b"x"),
    Exchange("not there", "GET /nowhere", "404 Not Found\r\nContent-Type: text/plain", answer_body=b"nothing here"),
    Exchange("a fault of the server", "GET /fault", "500 Internal Server Error", answer_body=b"oh"),
)


class Http(Between):
    def test_every_exchange_is_seen_alike_by_both_sides(self):
        for exchange in EXCHANGES:
            with self.subTest(exchange.name):
                (asked, served), (asked_between, served_between) = (self.play(exchange, *way) for way in self.ways.values())
                for one, other in ((asked, asked_between), (served, served_between)):
                    self.assertEqual(head(other, than=one), head(one))
                    self.assertTrue(other.seen == one.seen, f"{brief(other.seen)} instead of {brief(one.seen)}")

    def play(self, exchange: Exchange, address: tuple[str, int], base: str) -> tuple[Notes, Notes]:
        def serve(side: Side) -> None:
            side.notes.seen.append(side.read_body())
            length, body = framed(exchange.answer_body, exchange.chunked) if exchange.has_answer_body else ("", b"")
            side.send(f"HTTP/1.1 {exchange.answer}\r\n{length}\r\n".encode() + body)

        self.recorder.plays(serve)
        method, target = exchange.line.split()
        side = Side("client", socket.create_connection(address, WAIT_S))
        try:
            length, body = ("", b"") if exchange.body is None else framed(exchange.body, exchange.chunked)
            asks = "".join(f"{line}\r\n" for line in exchange.asks)
            side.send(f"{method} {base}{target} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n{asks}{length}\r\n".encode() + body)
            side.read_head()
            side.notes.seen.append(side.read_body() if exchange.has_answer_body else b"")
        finally:
            side.end()
        return side.notes, self.recorder.notes()

    def test_events_come_as_they_are_sent(self):
        for name, (address, base) in self.ways.items():
            heard = threading.Semaphore(0)

            def serve(side: Side) -> None:
                side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                for n in range(5):
                    side.send(b"9\r\ndata: %d\n\n\r\n" % n)
                    self.assertTrue(heard.acquire(timeout=WAIT_S), "nobody has heard it")
                side.send(b"0\r\n\r\n")

            with self.subTest(name):
                self.recorder.plays(serve)
                side = Side("client", socket.create_connection(address, WAIT_S))
                side.send(f"GET {base}/events HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n\r\n".encode())
                side.read_head()
                for n in range(5):
                    self.assertEqual(side.read_chunk(), b"data: %d\n\n" % n)
                    heard.release()
                self.assertEqual(side.read_chunk(), b"")
                side.end()
                self.recorder.notes()


def head(notes: Notes, than: Notes | None = None) -> tuple[str, list]:
    """The first line and the fields, without what differs by nature. What was added counts where `than` has it too."""
    had = {name for name, _ in fields_of(than.head)} if than else set()
    left_out = OF_A_CONNECTION | ADDED_TO_REQUESTS | (ADDED_TO_ANSWERS - had if than else set())
    fields = [field for field in fields_of(notes.head) if field[0] not in left_out]
    # A list may come in one field or in several.
    offers = ", ".join(value for name, value in fields if name == "sec-websocket-protocol")
    others = [field for field in fields if field[0] != "sec-websocket-protocol"]
    return notes.head.split("\r\n")[0], sorted(others + [("sec-websocket-protocol", offers)])


def brief(seen) -> str:
    return f"{seen[0]:#x} {seen[2][:60]!r} ({len(seen[2])} bytes)" if isinstance(seen, tuple) else repr(seen)[:200]


if __name__ == "__main__":
    unittest.main()
