// A Socket.IO server with its own client: long polls, the change to a WebSocket, rooms, binary. PLACES says by which ways, as JSON.

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, test } from "node:test";
import { io } from "socket.io-client";

const patience = { timeout: 90_000 };
const soon = () => AbortSignal.timeout(60_000);

const opened = new Set();
afterEach(() => {
  for (const socket of opened) socket.disconnect();
  opened.clear();
});

function enter(url, options) {
  const { origin, pathname } = new URL(url);
  const socket = io(origin, {
    path: `${pathname.replace(/\/$/, "")}/socket.io/`, forceNew: true, auth: { token: "t" }, query: { who: "ada & co" }, ...options,
  });
  opened.add(socket);
  return socket;
}

// `once` of an event of Socket.IO's own emitter.
const hears = (socket, event) => new Promise((resolve, reject) => {
  socket.once(event, (...all) => resolve(all));
  socket.once("connect_error", reject);
});

for (const [way, url] of Object.entries(JSON.parse(process.env.PLACES))) {
  for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
    test(`Socket.IO by ${transports.join(", then ")}, ${way}`, patience, async () => {
      const [ada, bob] = [enter(url, { transports }), enter(url, { transports })];
      const upgraded = Promise.all([ada, bob].map((socket) => once(socket.io.engine, "upgrade", { signal: soon() })));
      upgraded.catch(() => {});
      const [[welcome]] = await Promise.all([ada, bob].map((socket) => hears(socket, "welcome")));
      assert.deepEqual(welcome, { auth: { token: "t" }, query: "ada & co", transport: transports[0] });
      if (transports.length > 1) await upgraded;
      assert.equal(ada.io.engine.transport.name, transports.at(-1));

      await Promise.all([ada, bob].map((socket) => socket.timeout(60_000).emitWithAck("enter", "kitchen")));
      const said = hears(bob, "said");
      ada.emit("say", "kitchen", "grüß dich", Buffer.from([0, 255, 128]), { deep: [Buffer.alloc(100_000, 7)] });
      const [text, bytes, { deep }] = await said;
      assert.deepEqual([text, [...bytes], deep[0].length, deep[0].every((byte) => byte === 7)], ["grüß dich", [0, 255, 128], 100_000, true]);

      const large = Buffer.alloc(700_000, "pears and apples"); // in Base64 just below the 1 MB that the server takes
      const back = await bob.timeout(60_000).emitWithAck("reverse", large);
      assert.ok(Buffer.from(back).reverse().equals(large));

      const ended = hears(bob, "disconnect");
      bob.emit("throw me out");
      assert.equal((await ended)[0], "io server disconnect");
      assert.equal(ada.connected, true);
    });
  }

  test(`its HTTP side, ${way}`, patience, async () => {
    const base = url.replace(/^ws/, "http");
    const plain = await fetch(`${base}/some/page?with=query`);
    assert.equal(await plain.text(), "talk at /some/page?with=query");
    const polled = await fetch(`${base}/socket.io/?EIO=4&transport=polling`);
    assert.match(polled.headers.get("set-cookie"), /^io=/);
    const wrong = await fetch(`${base}/socket.io/?EIO=4&transport=pigeon`);
    assert.deepEqual([wrong.status, (await wrong.json()).code], [400, 0]);
  });
}
