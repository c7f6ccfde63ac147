"""curl as a half of a pair: what one uploads to /pair/<id> the other one downloads."""

import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import urllib.request

from scene import WAIT_S, HubCase

MIB = 2**20
FILE = 64 * MIB
ROOM = 16 * MIB
"""What the hub may need beyond what it had: two mailboxes and some buffers, far less than a file."""

HTTP2 = "--http2-prior-knowledge"


class CurlPair(HubCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.file = cls.folder / "file"
        cls.file.write_bytes(os.urandom(FILE))

    def curl(self, id: str, *options: str, **files) -> subprocess.Popen:
        command = ("curl", "-sS", "--max-time", str(WAIT_S), *options, f"{self.http}/pair/{id}")
        return self.program(*command, **files)

    def ends(self, curl: subprocess.Popen) -> int:
        """The exit code, once it has ended. What it says is not read meanwhile, so it must be little."""
        return curl.wait(timeout=WAIT_S + 5)

    def took(self, name: str) -> None:
        def digest(path: pathlib.Path) -> str:
            return hashlib.sha256(path.read_bytes()).hexdigest()

        self.assertEqual(digest(self.folder / name), digest(self.file), f"{name} differs from what was sent")

    def to(self, name: str) -> tuple[str, str]:
        return "-o", str(self.folder / name)

    def waits(self) -> None:
        """Waits until a half does."""
        deadline = time.monotonic() + WAIT_S
        while json.load(urllib.request.urlopen(f"{self.http}/v1/status"))["waiting"] == 0:
            self.assertLess(time.monotonic(), deadline, "nobody waits")

    def holds(self, name: str, size: int) -> None:
        """Waits until a download has begun."""
        deadline = time.monotonic() + WAIT_S
        path = self.folder / name
        while not path.exists() or path.stat().st_size < size:
            self.assertLess(time.monotonic(), deadline, f"{name} does not grow")

    def test_a_file_goes_from_one_to_the_other_and_the_hub_keeps_none_of_it(self):
        before = self.hub.peak_bytes
        for upload in (("-T", str(self.file)), ("--data-binary", f"@{self.file}"), ("-T", "-")):
            for sender, receiver in (((), ()), ((HTTP2,), ()), ((), (HTTP2,)), ((HTTP2,), (HTTP2,))):
                down = self.curl("file", *receiver, *self.to("down"))
                with open(self.file, "rb") as file:
                    up = self.curl("file", *sender, *upload, stdin=file)
                    self.assertEqual((self.ends(up), self.ends(down)), (0, 0), f"{upload} {sender} {receiver}")
                self.assertEqual(up.stdout.read(), b"", "a GET sends nothing")
                self.took("down")
        self.assertLess(self.hub.peak_bytes - before, ROOM, "the hub holds files in memory")

    def test_the_secret_of_the_first_is_asked_of_the_second(self):
        header = self.folder / "secret"
        header.write_text("Whub-Pair-Secret: s3cret\n")
        secret = ("-H", f"@{header}")
        up = self.curl("secret", *secret, "-T", str(self.file))
        self.waits()
        for wrong in ((), ("-H", "Whub-Pair-Secret: another")):
            self.assertEqual(self.ends(self.curl("secret", "-f", *wrong)), 22, "the hub refuses it")
        down = self.curl("secret", *secret, *self.to("secret-down"))
        self.assertEqual((self.ends(up), self.ends(down)), (0, 0))
        self.took("secret-down")

    def test_the_sender_may_come_first(self):
        up = self.curl("first", "-T", str(self.file))
        down = self.curl("first", *self.to("first"))
        self.assertEqual((self.ends(up), self.ends(down)), (0, 0))
        self.took("first")

    def test_both_may_send(self):
        for options in ((), (HTTP2,)):
            one = self.curl("both", *options, "-T", str(self.file), *self.to("one"))
            other = self.curl("both", *options, "-T", str(self.file), *self.to("other"))
            self.assertEqual((self.ends(one), self.ends(other)), (0, 0))
            self.took("one")
            self.took("other")

    def test_a_slow_receiver_is_waited_for_in_constant_memory(self):
        before = self.hub.peak_bytes
        down = self.curl("slow", "--limit-rate", "16M", *self.to("slow"))
        up = self.curl("slow", "-T", str(self.file))
        self.assertEqual((self.ends(up), self.ends(down)), (0, 0))
        self.took("slow")
        self.assertLess(self.hub.peak_bytes - before, ROOM, "the hub holds what its receiver does not take")

    def test_who_is_left_by_a_half_that_vanishes_sees_it(self):
        for options in ((), (HTTP2,)):
            down = self.curl("vanish", *options, "--limit-rate", "1M", *self.to("vanish"))
            up = self.curl("vanish", *options, "-T", str(self.file))
            self.holds("vanish", 1)
            down.kill()
            self.assertNotEqual(self.ends(up), 0, "the upload did not arrive")
            (self.folder / "vanish").unlink()

            down = self.curl("vanish", *options, *self.to("vanish"))
            up = self.curl("vanish", *options, "--limit-rate", "1M", "-T", str(self.file))
            self.holds("vanish", 1)
            up.kill()
            self.assertNotEqual(self.ends(down), 0, "the download is not whole")
            (self.folder / "vanish").unlink()

    def test_whub_pair_at_the_other_end(self):
        down = self.curl("shell", *self.to("shell"))
        with open(self.file, "rb") as file:
            shell = self.program(self.binary, "pair", "shell", stdin=file)
            self.assertEqual((self.ends(down), self.ends(shell)), (0, 0))
        self.took("shell")

        with open(self.folder / "from-curl", "wb") as output:
            shell = self.program(self.binary, "pair", "shell", stdout=output)
            up = self.curl("shell", "-T", str(self.file))
            self.assertEqual((self.ends(up), self.ends(shell)), (0, 0))
        self.took("from-curl")

    def test_a_page_at_the_other_end(self):
        page = self.socket("/pair/page")
        self.assertEqual(page.recv(timeout=WAIT_S), "/status:waiting")
        up = self.curl("page", "-N", "-d", "to the page")
        self.assertEqual([page.recv(timeout=WAIT_S) for _ in range(2)], ["/remote:open", "/status:connected"])
        self.assertEqual(page.recv(timeout=WAIT_S), b"to the page")
        page.send("to curl")
        self.assertEqual(up.stdout.read(len("to curl")), b"to curl")


class SecureCurlPair(HubCase):
    FLAGS = ("--tls-self-signed",)

    def test_through_tls_with_http2(self):
        url = self.http.replace("ws", "http", 1) + "/pair/x"
        down = self.program("curl", "-sSk", "--max-time", str(WAIT_S), url)
        up = self.program("curl", "-sSk", "--max-time", str(WAIT_S), "-T", __file__, url)
        self.assertEqual(down.communicate(timeout=WAIT_S + 5)[0], pathlib.Path(__file__).read_bytes())
        self.assertEqual((up.wait(WAIT_S), down.returncode), (0, 0))


class Waiting(HubCase):
    FLAGS = ("--set", "limits.pair_wait=100ms")

    def test_waiting_ends(self):
        for options in ((), (HTTP2,), ("-T", __file__)):
            status = self.run_program("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *options, self.http + "/pair/x")
            self.assertEqual(status, "504", options)
        failing = self.program("curl", "-sSf", self.http + "/pair/x")
        self.assertEqual(failing.wait(timeout=WAIT_S), 22)


if __name__ == "__main__":
    unittest.main()
