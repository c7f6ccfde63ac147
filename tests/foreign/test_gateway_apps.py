"""Applications of others for the gateway, and what they and their clients do without it."""

import json
import pathlib
import unittest

from endpoints import Program
from scene import HubCase

NODE = pathlib.Path(__file__).resolve().parent / "node"


class Applications(HubCase):
    @classmethod
    def setUpClass(cls):
        cls.apps = {
            "yjs": cls.node("apps/again.mjs", "node_modules/y-websocket/bin/server.cjs"),
            "talk": cls.node("apps/talk.mjs"),
            "graphql": cls.node("apps/graphql.mjs"),
        }
        for app in cls.apps.values():
            app.ready()
        super().setUpClass()

    @classmethod
    def node(cls, *command: str) -> Program:
        app = Program("node", *command, cwd=NODE)
        cls.addClassCleanup(app.end)
        return app

    def plays(self, name: str) -> None:
        """Runs the client's tests, directly."""
        app = self.apps[name]
        places = json.dumps({"directly": app.url})
        command = ("env", f"PLACES={places}", f"APP={app.pid}", "node", "--test", f"{name}.test.mjs")
        self.run_program(*command, cwd=NODE, timeout_s=300)

    def test_two_browsers_edit_one_text_with_yjs(self):
        self.plays("yjs")

    def test_socket_io(self):
        self.plays("talk")

    def test_graphql(self):
        self.plays("graphql")


if __name__ == "__main__":
    unittest.main()
