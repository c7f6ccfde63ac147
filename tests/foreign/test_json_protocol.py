"""Python's `websockets` speaks `whub.v1.json` on /ws."""

import unittest

from json_client import SUBPROTOCOL, JsonClient
from scene import WAIT_S, HubCase
from websockets.exceptions import ConnectionClosed, InvalidStatus


class JsonProtocol(HubCase):
    def client(self, **hello) -> JsonClient:
        return JsonClient(self.socket("/ws", subprotocols=[SUBPROTOCOL]), **hello)

    def test_hello_is_welcomed(self):
        socket = self.socket("/ws", subprotocols=[SUBPROTOCOL])
        self.assertEqual(socket.subprotocol, SUBPROTOCOL)
        welcome = JsonClient(socket, name="python").welcome
        self.assertTrue(welcome["client"])
        self.assertEqual(welcome.get("version", 1), 1)
        self.assertTrue(welcome["server"].startswith("whub/"))

    def test_no_known_subprotocol_is_refused_and_both_are_named(self):
        for offered in (None, ["chat"]):
            with self.assertRaises(InvalidStatus) as refused:
                self.socket("/ws", subprotocols=offered)
            response = refused.exception.response
            self.assertEqual(response.status_code, 400)
            self.assertIn(b"whub.v1.json", response.body)
            self.assertIn(b"whub.v1", response.body.replace(b"whub.v1.json", b""))

    def test_publish_reaches_subscribers_of_the_filter_only(self):
        reader, stranger, writer = self.client(), self.client(), self.client()
        self.assertEqual(reader.ask(kind="subscribe", filter="news/+")["kind"], "ok")
        self.assertEqual(stranger.ask(kind="subscribe", filter="weather/#")["kind"], "ok")
        self.assertEqual(writer.ask(kind="publish", ack=True, channel="news/eu", data={"title": "hi", "n": 1})["kind"], "ok")

        message = reader.next("message")
        self.assertEqual(message["channel"], "news/eu")
        self.assertEqual(message["data"], {"title": "hi", "n": 1})
        self.assertEqual(message.get("id", 0), 0)

        self.assertEqual(writer.ask(kind="publish", ack=True, channel="weather/eu/oslo", text="snø")["kind"], "ok")
        first = stranger.next("message")
        self.assertEqual((first["channel"], first["text"]), ("weather/eu/oslo", "snø"))

    def test_unsubscribed_means_silence(self):
        reader, writer = self.client(), self.client()
        reader.ask(kind="subscribe", filter="a/b")
        reader.ask(kind="subscribe", filter="marker")
        self.assertEqual(reader.ask(kind="unsubscribe", filter="a/b")["kind"], "ok")
        writer.ask(kind="publish", ack=True, channel="a/b", text="no")
        writer.ask(kind="publish", ack=True, channel="marker", text="yes")
        self.assertEqual(reader.next("message")["channel"], "marker")

    def test_a_call_reaches_its_provider_and_the_answer_comes_back(self):
        provider, caller = self.client(), self.client()
        self.assertEqual(provider.ask(kind="register", path="/math/:op")["kind"], "ok")

        id = caller.new_id()
        caller.send(kind="request", id=id, path="/math/add", end=True, timeout_ms=5000, headers={"x-tenant": "acme"}, data={"a": 1, "b": 2})
        request = provider.next("request")
        self.assertEqual((request["path"], request["data"]), ("/math/add", {"a": 1, "b": 2}))
        self.assertEqual(request["headers"]["x-tenant"], "acme")
        self.assertEqual(request["id"] % 2, 0)

        provider.send(kind="response", id=request["id"], end=True, headers={"x-served": "1"}, data={"sum": 3})
        answer = caller.next("response", id=id)
        self.assertEqual(answer["data"], {"sum": 3})
        self.assertEqual(answer.get("status", 200), 200)
        self.assertEqual(answer["headers"]["x-served"], "1")

    def test_the_hubs_own_services_answer_with_data(self):
        answer = self.client().call("/status/info")
        self.assertTrue(answer["data"]["id"])

    def test_calls_without_a_provider_fail_at_once(self):
        answer = self.client().call("/nobody/here", timeout_ms=30000)
        self.assertEqual((answer["kind"], answer["code"]), ("error", "not_found"))

    def test_a_lost_provider_is_told_at_once(self):
        socket = self.socket("/ws", subprotocols=[SUBPROTOCOL])
        provider, caller = JsonClient(socket), self.client()
        provider.ask(kind="register", path="/doomed")
        id = caller.new_id()
        caller.send(kind="request", id=id, path="/doomed", end=True, timeout_ms=30000)
        provider.next("request")
        socket.close()
        self.assertEqual(caller.next("error", id=id)["code"], "provider_lost")

    def test_reserved_paths_cannot_be_provided(self):
        client = self.client()
        for path in ("/healthz", "/v1/call", "/ws", "/"):
            self.assertEqual(client.ask(kind="register", path=path)["kind"], "error", path)

    def test_pairs_meet(self):
        left, right = self.client(), self.client()
        left_id, right_id = left.new_id(), right.new_id()
        self.assertEqual(left.ask(kind="join", id=left_id, room="table-7", mode="pair")["kind"], "ok")
        self.assertEqual(right.ask(kind="join", id=right_id, room="table-7", mode="pair")["kind"], "ok")
        left.send(kind="data", id=left_id, text="over to you")
        self.assertEqual(right.next("data", id=right_id)["text"], "over to you")
        right.send(kind="data", id=right_id, b64="AAEC/w==")
        self.assertEqual(left.next("data", id=left_id)["b64"], "AAEC/w==")

    def test_what_is_not_json_ends_the_session_with_the_protocol_code(self):
        socket = self.socket("/ws", subprotocols=[SUBPROTOCOL])
        JsonClient(socket)
        socket.send("{not json")
        with self.assertRaises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 4605)

    def test_foreign_origin_and_host_are_refused(self):
        with self.assertRaises(InvalidStatus) as refused:
            self.socket("/ws", subprotocols=[SUBPROTOCOL], origin="https://evil.example")
        self.assertEqual(refused.exception.response.status_code, 403)


if __name__ == "__main__":
    unittest.main()
