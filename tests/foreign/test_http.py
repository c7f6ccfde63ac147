"""curl against the HTTP side: operations, services, publish and server-sent events."""

import json
import unittest

from json_client import SUBPROTOCOL, JsonClient
from scene import WAIT_S, HubCase


class Answer:
    """What curl received: status, header lines in lower case (the last value of each), body."""

    def __init__(self, raw: bytes):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def json(self):
        return json.loads(self.body)


class Http(HubCase):
    def curl(self, path: str, *options: str) -> Answer:
        return Answer(self.start_curl(path, *options).communicate(timeout=WAIT_S + 5)[0])

    def start_curl(self, path: str, *options: str):
        # Without Expect: curl would otherwise first ask for permission to send larger bodies.
        return self.program("curl", "-sSi", "--max-time", str(WAIT_S), "-H", "Expect:", *options, self.http + path)

    def provider(self, path: str) -> JsonClient:
        client = JsonClient(self.socket("/ws", subprotocols=[SUBPROTOCOL]))
        self.assertEqual(client.ask(kind="register", path=path)["kind"], "ok")
        return client

    def test_operations(self):
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.curl(path).status, 200, path)
        metrics = self.curl("/metrics")
        self.assertEqual(metrics.status, 200)
        self.assertIn(b"# TYPE", metrics.body)

    def test_no_provider_is_404_as_problem_json(self):
        answer = self.curl("/nope")
        self.assertEqual(answer.status, 404)
        self.assertTrue(answer.headers["content-type"].startswith("application/problem+json"))
        self.assertEqual(answer.json["message"], "can not find service for uri /nope")
        self.assertTrue(answer.json["slug"])
        self.assertIn("retry_ms", answer.json)

    def test_a_service_path_becomes_a_call(self):
        provider = self.provider("/shop/*rest")
        curl = self.start_curl(
            "/shop/cart/a%2Fb?x=1&y=%20", "-X", "PUT", "-H", "content-type: text/plain", "-H", "x-tenant: acme", "-H", "cookie: session=1", "-d", "three pears"
        )
        request = provider.next("request")
        self.assertEqual(request["method"], "PUT")
        self.assertEqual(request["path"], "/shop/cart/a%2Fb")
        self.assertEqual(request["query"], "x=1&y=%20")
        self.assertEqual(request["headers"]["x-tenant"], "acme")
        self.assertEqual(request["headers"]["content-type"], "text/plain")
        self.assertNotIn("cookie", request["headers"])
        self.assertEqual(provider.body(request), b"three pears")

        provider.send(kind="response", id=request["id"], status=201, headers={"content-type": "text/plain", "x-cart": "7"}, text="put ")
        provider.send(kind="data", id=request["id"], text="there", end=True)
        answer = Answer(curl.communicate(timeout=WAIT_S)[0])
        self.assertEqual((answer.status, answer.body), (201, b"put there"))
        self.assertEqual(answer.headers["x-cart"], "7")
        self.assertEqual(answer.headers["content-type"], "text/plain")

    def test_a_lost_provider_is_502(self):
        socket = self.socket("/ws", subprotocols=[SUBPROTOCOL])
        provider = JsonClient(socket)
        provider.ask(kind="register", path="/doomed")
        curl = self.start_curl("/doomed")
        provider.next("request")
        socket.close()
        self.assertEqual(Answer(curl.communicate(timeout=WAIT_S)[0]).status, 502)

    def test_an_echo_provided_on_the_command_line_returns_body_and_type(self):
        # A file, so that the body is larger than any one frame and any window.
        body = bytes(range(256)) * 8192
        name = self.hub.log.parent / "echo-body"
        name.write_bytes(body)
        echo = self.program(self.binary, "provide", "/echo", "--echo")
        probe = JsonClient(self.socket("/ws", subprotocols=[SUBPROTOCOL]))
        while probe.call("/echo", text="?").get("code") == "not_found":
            self.assertIsNone(echo.poll(), "the provider ended")
        answer = self.curl("/echo", "-H", "content-type: application/x-tar", "--data-binary", f"@{name}")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/x-tar"))
        self.assertTrue(answer.body == body, f"{len(answer.body)} of {len(body)} bytes came back, or others")

    def test_publish_by_post_reaches_a_subscriber(self):
        reader = JsonClient(self.socket("/ws", subprotocols=[SUBPROTOCOL]))
        reader.ask(kind="subscribe", filter="news/#")
        answer = self.curl("/v1/publish/news/eu", "-H", "content-type: application/json", "-d", '{"title": "hi"}')
        self.assertEqual((answer.status, answer.json), (200, {"count": 1}))
        message = reader.next("message")
        self.assertEqual((message["channel"], message["data"]), ("news/eu", {"title": "hi"}))

    def test_subscribe_as_server_sent_events(self):
        events = self.start_curl("/v1/subscribe/ticks/+", "-N")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = events.stdout.readline()
            self.assertTrue(line, f"the stream ended after {head!r}")
            head += line
        answer = Answer(head)
        self.assertEqual((answer.status, answer.headers["content-type"].split(";")[0]), (200, "text/event-stream"))

        self.assertLess(self.curl("/v1/publish/ticks/one", "-H", "content-type: text/plain", "-d", "tick\ntock").status, 300)
        event = read_event(events.stdout)
        self.assertIn("tick", event["data"])
        self.assertIn("tock", event["data"])

    def test_methods_that_no_service_gets(self):
        self.assertEqual(self.curl("/shop", "-X", "TRACE").status, 405)

    def test_foreign_hosts_and_origins_are_refused(self):
        for header, status in (("Host: evil.example", 421), ("Origin: https://evil.example", 403)):
            self.assertEqual(self.curl("/v1/publish/a", "-H", header, "-d", "x").status, status, header)

    def test_an_unknown_token_is_refused(self):
        answer = self.curl("/v1/publish/a", "-H", "Authorization: Bearer guess", "-d", "x")
        self.assertEqual((answer.status, answer.json["message"]), (401, "invalid credential"))

    def test_http2_prior_knowledge(self):
        raw = self.curl("/nope", "--http2-prior-knowledge")
        self.assertEqual((raw.status, raw.json["message"]), (404, "can not find service for uri /nope"))


def read_event(stream) -> dict[str, str]:
    """The next event of an event stream that has data, by the rules of the HTML standard."""
    event: dict[str, str] = {}
    data: list[str] = []
    for raw in stream:
        line = raw.decode().rstrip("\r\n")
        if line == "" and data:
            return {**event, "data": "\n".join(data)}
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name:
            event[name] = value
    raise AssertionError("the event stream ended")


if __name__ == "__main__":
    unittest.main()
