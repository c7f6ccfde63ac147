// The `ws` package and Node's own WebSocket against the hub at WHUB_SERVER.

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, test } from "node:test";
import WebSocket from "ws";

const hub = process.env.WHUB_SERVER;
const soon = () => AbortSignal.timeout(60_000);

const opened = new Set();
afterEach(() => {
  for (const close of opened) close();
  opened.clear();
});

async function open(path, protocols, options) {
  const socket = new WebSocket(hub + path, protocols, options);
  opened.add(() => socket.terminate());
  socket.texts = [];
  socket.on("message", (data, binary) => binary || socket.texts.push(String(data)));
  await once(socket, "open", { signal: soon() });
  return socket;
}

async function hears(socket, text) {
  while (!socket.texts.includes(text)) await once(socket, "message", { signal: soon() });
}

async function answer(socket, data, options) {
  const heard = once(socket, "message", { signal: soon() });
  socket.send(data, options);
  return heard;
}

test("ws: text, binary and fragments come back as they went", { timeout: 90_000 }, async () => {
  const socket = await open("/debug/echo");
  for (const sent of ["hello", "", "grüß dich", Buffer.from([0, 255, 128]), Buffer.alloc(1 << 20, 7)]) {
    const [data, binary] = await answer(socket, sent);
    assert.equal(binary, typeof sent !== "string");
    assert.ok(data.equals(Buffer.from(sent)));
  }
  const whole = once(socket, "message", { signal: soon() });
  socket.send("in ", { fin: false });
  socket.ping();
  socket.send("two", { fin: true });
  assert.equal(String((await whole)[0]), "in two");
  const closed = once(socket, "close", { signal: soon() });
  socket.close(3001, "enough");
  assert.deepEqual((await closed)[0], 3001);
});

test("ws: permessage-deflate is negotiated on the echo and survives", { timeout: 90_000 }, async () => {
  const socket = await open("/debug/echo", [], { perMessageDeflate: { threshold: 0 } });
  assert.match(socket.extensions, /permessage-deflate/);
  const text = "again and again ".repeat(10_000);
  for (let round = 0; round < 3; round++) assert.equal(String((await answer(socket, text))[0]), text);
});

test("ws: the hub answers a ping", { timeout: 90_000 }, async () => {
  const socket = await open("/debug/echo");
  const pong = once(socket, "pong", { signal: soon() });
  socket.ping("are you there");
  assert.equal(String((await pong)[0]), "are you there");
});

test("ws: two halves of a pair", { timeout: 90_000 }, async () => {
  const left = await open("/pair/node");
  const right = await open("/pair/node");
  await hears(left, "/status:connected");
  left.send("hello from node");
  await hears(right, "hello from node");
});

test("Node's own WebSocket speaks the JSON protocol", { timeout: 90_000 }, async () => {
  const socket = new globalThis.WebSocket(`${hub}/ws`, ["whub.v1.json"]);
  opened.add(() => socket.close());
  const waiting = [];
  const heard = [];
  socket.onmessage = ({ data }) => (waiting.length ? waiting.shift()(JSON.parse(data)) : heard.push(JSON.parse(data)));
  const next = () => heard.shift() ?? new Promise((resolve) => waiting.push(resolve));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("not opened"));
    socket.onclose = () => reject(new Error("closed"));
  });
  assert.equal(socket.protocol, "whub.v1.json");
  const send = (frame) => socket.send(JSON.stringify(frame));

  send({ kind: "hello", agent: "node-test/1" });
  assert.equal((await next()).kind, "welcome");
  send({ kind: "subscribe", id: 1, filter: "node/+" });
  assert.deepEqual(await next().then(({ kind, id }) => [kind, id]), ["ok", 1]);
  send({ kind: "publish", channel: "node/a", data: { n: 1 } });
  const message = await next();
  assert.deepEqual([message.kind, message.channel, message.data], ["message", "node/a", { n: 1 }]);
});
