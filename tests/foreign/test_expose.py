"""A FastAPI application behind `whub expose`: paths, headers, uploads, downloads, events, WebSockets, and its failures."""

import contextlib
import hashlib
import http.client
import http.cookiejar
import json
import os
import pathlib
import signal
import socket
import sys
import time
import unittest
import urllib.request

from websockets.exceptions import ConnectionClosed, InvalidStatus

from hub import free_port
from scene import WAIT_S, HubCase

APPS = pathlib.Path(__file__).resolve().parent / "apps"


class Exposed(HubCase):
    """Tests that share a hub, an application and its exposer."""

    OPTIONS: tuple[str, ...] = ()

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.app = self.start_app()
        self.until(self.is_up)
        self.exposer = self.expose(*self.OPTIONS)
        self.until(lambda: self.status("/shop/healthz") == 200)

    def start_app(self):
        command = (sys.executable, "-m", "uvicorn", "--app-dir", str(APPS), "--port", str(self.port), "--log-level", "warning", "shop:app")
        return self.program(*command, stdout=None, stderr=None)

    def expose(self, *options: str):
        command = (self.binary, "expose", "shop", f"http://127.0.0.1:{self.port}", *options)
        return self.program(*command, stdout=None, stderr=None)

    def until(self, condition) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it takes too long")
            time.sleep(0.05)

    def connect(self) -> http.client.HTTPConnection:
        return self._open.enter_context(contextlib.closing(http.client.HTTPConnection(self.hub.address, timeout=WAIT_S)))

    def ask(self, path: str, method: str = "GET", body=None, headers: dict | None = None, **options) -> http.client.HTTPResponse:
        connection = self.connect()
        connection.request(method, path, body, headers or {}, **options)
        return connection.getresponse()

    def status(self, path: str) -> int:
        return self.ask(path).status

    def json(self, path: str, *arguments, **options):
        answer = self.ask(path, *arguments, **options)
        body = answer.read()
        self.assertEqual(answer.status, 200, body)
        return json.loads(body)

    def is_up(self) -> bool:
        """Whether the application takes connections."""
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port), WAIT_S):
            return True
        return False

    def exposers(self) -> int:
        """How many the hub knows of."""
        services = {service["pattern"]: service["providers"] for service in self.json("/v1/services")["services"]}
        providers = services.get("/shop/*rest", 0)
        return providers if isinstance(providers, int) else len(providers)

    def counted(self) -> dict:
        """What the application has counted, asked without the hub."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counted", timeout=WAIT_S) as answer:
            return json.load(answer)


class Requests(Exposed):
    def test_the_application_sees_its_own_paths_and_the_callers_headers(self):
        headers = {"Cookie": "a=b; c=d", "Authorization": "Basic YTpi", "User-Agent": "me/1", "Accept": "text/x-mine", "Connection": "close"}
        seen = self.json("/shop/inspect/a%20b/?q=%2F&x=", "PUT", "hello", headers)
        self.assertEqual((seen["method"], seen["path"], seen["query"], seen["body"]), ("PUT", "/inspect/a%20b/", "q=%2F&x=", "hello"))
        told = seen["headers"]
        self.assertEqual(told["host"], f"127.0.0.1:{self.port}")
        self.assertEqual(told["x-forwarded-prefix"], "/shop")
        self.assertEqual(told["x-forwarded-host"], self.hub.address)
        self.assertEqual(told["x-forwarded-proto"], "http")
        self.assertTrue(told["x-forwarded-for"].startswith("127.0.0.1"))
        for name in ("cookie", "authorization", "user-agent", "accept"):
            self.assertEqual(told[name], headers[name.title()], name)
        # A token that is none of the hub's is the application's.
        told = self.json("/shop/inspect/", headers={"Authorization": "Bearer of-the-app"})["headers"]
        self.assertEqual(told["authorization"], "Bearer of-the-app")

    def test_what_the_caller_says_of_other_proxies_is_not_believed(self):
        told = self.json("/shop/inspect/", headers={"X-Forwarded-Prefix": "/evil"})["headers"]
        self.assertEqual(told["x-forwarded-prefix"], "/shop")

    def test_every_method_and_head(self):
        for method in ("DELETE", "PATCH", "OPTIONS"):
            self.assertEqual(self.json("/shop/inspect/x", method)["method"], method)
        answer = self.ask("/shop/download/1", "HEAD")
        # FastAPI has no HEAD of its own for this route, and says so without a body.
        self.assertEqual((answer.status, answer.read()), (405, b""))
        self.assertEqual(self.status("/shop/nowhere"), 404)

    def test_redirects_and_cookies_stay_inside_the_prefix(self):
        answer = self.ask("/shop/login")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/shop/me"))
        cookies = answer.headers.get_all("set-cookie")
        self.assertTrue(any("session=ada" in cookie and "Path=/shop;" in cookie + ";" for cookie in cookies), cookies)
        jar = http.cookiejar.CookieJar()
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        with visitor.open(f"{self.http}/shop/login", timeout=WAIT_S) as page:
            self.assertEqual(json.load(page), {"session": "ada", "theme": "dark"})

    def test_an_upload_of_32_mib(self):
        body = os.urandom(32 << 20)
        seen = self.json("/shop/raw", "PUT", body)
        self.assertEqual(seen, {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "length": str(len(body))})

    def test_an_upload_whose_length_nobody_knows(self):
        chunks = [os.urandom(100_000) for _ in range(20)]
        seen = self.json("/shop/raw", "PUT", iter(chunks), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(seen, {"size": 2_000_000, "sha256": hashlib.sha256(b"".join(chunks)).hexdigest(), "length": None})

    def test_a_form_with_a_file(self):
        name = self.hub.log.parent / "expose-file"
        name.write_bytes(os.urandom(3_000_000))
        answer = self.run_program("curl", "-sS", "-F", f"file=@{name};filename=pears.bin", f"{self.http}/shop/upload")
        digest = hashlib.sha256(name.read_bytes()).hexdigest()
        self.assertEqual(json.loads(answer), {"name": "pears.bin", "size": 3_000_000, "sha256": digest})

    def test_a_download_of_64_mib_keeps_its_length(self):
        answer = self.ask("/shop/download/64")
        self.assertEqual(answer.headers["content-length"], str(64 << 20))
        size = 0
        while chunk := answer.read(1 << 20):
            size += len(chunk)
        self.assertEqual(size, 64 << 20)

    def test_a_reader_that_stops_holds_the_application_back(self):
        connection = self.connect()
        connection.request("GET", "/shop/download/256")
        connection.getresponse().read(1)
        seen = -1
        while seen != (now := self.counted()["chunks"]):
            seen = now
            time.sleep(0.5)
        # What the sockets and the windows on the way hold, and no more.
        self.assertLess(seen, 16 * 64)
        connection.close()
        self.until(lambda: self.counted().get("downloads") == 1)

    def test_http2_callers(self):
        answer = self.run_program("curl", "-sS", "--http2-prior-knowledge", "-b", "a=b", "-b", "c=d", f"{self.http}/shop/inspect/h2")
        self.assertEqual(json.loads(answer)["path"], "/inspect/h2")


class Events(Exposed):
    def test_events_come_as_they_happen_and_end_with_the_listener(self):
        connection = self.connect()
        connection.request("GET", "/shop/events")
        answer = connection.getresponse()
        self.assertEqual(answer.headers["content-type"].split(";")[0], "text/event-stream")
        self.assertEqual([answer.readline() for _ in range(3)], [b"id: 1\n", b"data: tick 1\n", b"\n"])
        self.assertEqual(answer.readline(), b"id: 2\n")
        self.assertEqual(self.counted()["listening"], 1)
        answer.close()
        connection.close()
        self.until(lambda: self.counted()["listening"] == 0)

    def test_a_caller_that_gives_up_is_told_to_the_application(self):
        waiting = self.program("curl", "-sS", f"{self.http}/shop/never")
        self.until(lambda: self.counted().get("never") == 1)
        waiting.kill()
        self.until(lambda: self.counted()["never"] == 0)


class WebSockets(Exposed):
    def test_messages_subprotocol_and_close_codes(self):
        socket = self.socket("/shop/echo?x=1", subprotocols=["other", "echo.v1"], origin=self.http, additional_headers={"Cookie": "a=b"})
        self.assertEqual(socket.subprotocol, "echo.v1")
        self.assertEqual(socket.response.headers["x-greeting"], "hello")
        self.assertEqual(socket.response.headers["set-cookie"], "room=1; Path=/shop")
        large = "größer " * 200_000
        for message in ("hello", "", b"\x00\xff", b"", large, large.encode()):
            socket.send(message)
            self.assertEqual(socket.recv(WAIT_S), message)
        socket.send("headers")
        told = json.loads(socket.recv(WAIT_S))
        self.assertEqual((told["cookie"], told["origin"], told["x-forwarded-prefix"]), ("a=b", self.http, "/shop"))
        socket.send("bye")
        with self.assertRaises(ConnectionClosed) as closed:
            socket.recv(WAIT_S)
        self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4001, "as you wish"))

    def test_the_callers_close_reaches_the_application(self):
        socket = self.socket("/shop/echo")
        self.assertIsNone(socket.subprotocol)
        socket.close(4002, "enough")
        self.until(lambda: self.counted().get("closed 4002") == 1)

    def test_a_refusal_is_the_applications(self):
        with self.assertRaises(InvalidStatus) as refused:
            self.socket("/shop/members")
        self.assertEqual(refused.exception.response.status_code, 403)
        socket = self.socket("/shop/members", additional_headers={"Cookie": "session=ada"})
        self.assertEqual(socket.recv(WAIT_S), "welcome, ada")

    def test_an_application_that_dies_closes_its_sockets(self):
        socket = self.socket("/shop/echo")
        self.app.kill()
        with self.assertRaises(ConnectionClosed) as closed:
            socket.recv(WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 1014)


class Hosts(Exposed):
    OPTIONS = ("--host", "shop.localhost")

    def test_every_path_of_the_host_is_the_applications(self):
        host = {"Host": f"shop.localhost:{self.hub.address.split(':')[1]}"}
        self.assertEqual(self.ask("/", headers=host).read()[:15], b"<!doctype html>")
        seen = self.json("/inspect/v1/status", headers=host)
        self.assertEqual((seen["path"], seen["headers"]["host"]), ("/inspect/v1/status", f"127.0.0.1:{self.port}"))
        self.assertNotIn("x-forwarded-prefix", seen["headers"])
        self.assertEqual(seen["headers"]["x-forwarded-host"], host["Host"])
        answer = self.ask("/login", headers=host)
        self.assertEqual(answer.headers["location"], "/me")
        self.assertTrue(any("Path=/;" in cookie + ";" for cookie in answer.headers.get_all("set-cookie")))
        # The hub's own paths are not there, and no other host leads anywhere.
        self.assertEqual(self.ask("/metrics", headers=host).status, 404)
        self.assertEqual(self.ask("/", headers={"Host": "other.localhost"}).status, 421)


class Browser(Exposed):
    OPTIONS = ("--host", "shop.localhost")

    def test_chromium(self):
        self.run_program("node", "--test", "expose.test.mjs", cwd=APPS.parent / "node", timeout_s=300)


class Failures(Exposed):
    OPTIONS = ("--health", "/healthz", "--health-interval", "200ms")

    def test_an_application_that_dies_is_withdrawn_and_offered_again(self):
        self.app.kill()
        self.app.wait()
        self.until(lambda: self.status("/shop/healthz") == 404)
        self.start_app()
        self.until(lambda: self.status("/shop/healthz") == 200)

    def test_an_application_that_says_it_is_ill_is_withdrawn(self):
        tell = lambda state: urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{self.port}/ill/{state}", method="POST"), timeout=WAIT_S
        ).close()
        tell("true")
        self.until(lambda: self.status("/shop/me") == 404)
        tell("false")
        self.until(lambda: self.status("/shop/me") == 200)

    def test_an_application_that_hangs_is_withdrawn(self):
        self.app.send_signal(signal.SIGSTOP)
        waiting = self.program("curl", "-sS", "-H", "X-Timeout-Ms: 600000", f"{self.http}/shop/me")
        self.until(lambda: self.exposers() == 0)
        self.app.send_signal(signal.SIGCONT)
        # Withdrawn, but what was begun is finished.
        self.assertEqual(json.loads(waiting.communicate(timeout=WAIT_S)[0]), {"session": None, "theme": None})
        self.until(lambda: self.status("/shop/healthz") == 200)

    def test_an_application_that_dies_in_an_answer_breaks_it_off(self):
        answer = self.ask("/shop/download/256")
        answer.read(1 << 20)
        self.app.kill()
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            answer.read()

    def test_an_exposer_that_dies_breaks_its_answers_off_and_another_takes_over(self):
        answer = self.ask("/shop/download/256")
        answer.read(1 << 20)
        self.exposer.kill()
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        self.until(lambda: self.status("/shop/me") == 404)
        self.expose()
        self.until(lambda: self.status("/shop/me") == 200)

    def test_two_exposers_and_one_leaves(self):
        second = self.expose()
        self.until(lambda: self.exposers() == 2)
        second.send_signal(signal.SIGTERM)
        for _ in range(50):
            self.assertEqual(self.status("/shop/me"), 200)
        self.assertEqual(second.wait(WAIT_S), 0)


if __name__ == "__main__":
    unittest.main()
