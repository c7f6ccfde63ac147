// WebSocket over HTTP/2 (RFC 8441) with Node's own HTTP/2 client, in TLS and in plain text. Node has no WebSocket on
// top of it, so the frames are made here by hand.

import assert from "node:assert/strict";
import { connect } from "node:http2";
import { test } from "node:test";

const origin = process.env.WHUB_SERVER.replace(/^ws/, "http");
const DEADLINE_MS = 60_000;

/** A text message as a client frames it: masked, here with zeros, and shorter than 126 bytes. */
function frame(object) {
  const text = Buffer.from(JSON.stringify(object));
  assert.ok(text.length < 126);
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]);
}

/** Cuts whole text messages of a server out of what came, and leaves the rest. */
function messages(state, bytes) {
  state.rest = Buffer.concat([state.rest, bytes]);
  const found = [];
  for (;;) {
    if (state.rest.length < 2) return found;
    let [length, head] = [state.rest[1], 2];
    if (length === 126) {
      if (state.rest.length < 4) return found;
      [length, head] = [state.rest.readUInt16BE(2), 4];
    }
    if (state.rest.length < head + length) return found;
    assert.equal(state.rest[0], 0x81);
    found.push(JSON.parse(state.rest.subarray(head, head + length).toString()));
    state.rest = state.rest.subarray(head + length);
  }
}

test("a session over a stream of HTTP/2", { timeout: DEADLINE_MS }, async () => {
  const client = connect(origin, { rejectUnauthorized: false });
  try {
    const settings = await new Promise((resolve) => client.once("remoteSettings", resolve));
    assert.equal(settings.enableConnectProtocol, true);
    const stream = client.request({
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":path": "/ws",
      "sec-websocket-version": "13",
      "sec-websocket-protocol": "whub.v1.json",
    });
    const answer = await new Promise((resolve) => stream.once("response", resolve));
    assert.equal(answer[":status"], 200);
    assert.equal(answer["sec-websocket-protocol"], "whub.v1.json");
    const dialogue = [
      [{ kind: "hello" }, "welcome"],
      [{ kind: "subscribe", id: 1, filter: "h2" }, "ok"],
      [{ kind: "publish", channel: "h2", text: "over one stream" }, "message"],
    ];
    const state = { rest: Buffer.alloc(0) };
    stream.write(frame(dialogue[0][0]));
    for await (const bytes of stream) {
      for (const heard of messages(state, bytes)) {
        assert.equal(heard.kind, dialogue.shift()[1]);
        if (dialogue.length) stream.write(frame(dialogue[0][0]));
        else assert.equal(heard.text, "over one stream");
      }
      if (!dialogue.length) break;
    }
    assert.equal(dialogue.length, 0);
  } finally {
    client.destroy();
  }
});
