"""Applications of others behind the gateway: what they and their clients do directly, they do through the hub too."""

import json
import pathlib
import unittest

from endpoints import GatewayCase, Program

NODE = pathlib.Path(__file__).resolve().parent / "node"


class Applications(GatewayCase):
    @classmethod
    def setUpClass(cls):
        cls.apps = {
            "yjs": cls.node("apps/again.mjs", "node_modules/y-websocket/bin/server.cjs"),
            "talk": cls.node("apps/talk.mjs"),
            "graphql": cls.node("apps/graphql.mjs"),
        }
        cls.ENDPOINTS = {name: f'url = "{app.ready().url}"' for name, app in cls.apps.items()}
        super().setUpClass()

    @classmethod
    def node(cls, *command: str) -> Program:
        app = Program("node", *command, cwd=NODE)
        cls.addClassCleanup(app.end)
        return app

    def plays(self, name: str) -> None:
        """Runs the client's tests, by both ways to the same server."""
        app = self.apps[name]
        places = json.dumps({"directly": app.url, "through the hub": self.gateway(name)})
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
