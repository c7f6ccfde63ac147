// Pages in Debian's Chromium: those of this machine may use the hub, those of strangers may not.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const hub = process.env.WHUB_SERVER;
const address = hub.replace(/^ws:\/\//, "");
const port = address.split(":").at(-1);

let browser;
let site; // a web server beside the hub, which the browser also knows as evil.example
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    timeout: 120_000,
    args: ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"],
  });
  site = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>page</title>"));
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  await browser?.close();
  site?.close();
});

async function pageAt(url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  return page;
}

// Runs in the page: opens a socket, plays the frames of a dialogue, returns the kinds of frame it heard.
function dialogue([url, protocols, frames]) {
  return new Promise((resolve) => {
    const heard = [];
    const socket = new WebSocket(url, protocols);
    const timer = setTimeout(() => resolve({ heard, outcome: "silence" }), 60_000);
    const done = (outcome) => {
      clearTimeout(timer);
      resolve({ heard, outcome });
    };
    socket.onopen = () => socket.send(JSON.stringify(frames.shift()));
    socket.onmessage = ({ data }) => {
      heard.push(JSON.parse(data));
      if (frames.length) socket.send(JSON.stringify(frames.shift()));
      else if (heard.at(-1).kind === "message") done("heard");
    };
    socket.onclose = ({ code }) => done(`closed ${code}`);
  });
}

const frames = [
  { kind: "hello", agent: "page/1" },
  { kind: "subscribe", id: 1, filter: "page/#" },
  { kind: "publish", channel: "page/a", data: { n: 1 } },
];
const protocols = ["whub.v1.json"];

test("a page of this machine subscribes and publishes", { timeout: 120_000 }, async () => {
  const page = await pageAt(`http://127.0.0.1:${site.address().port}/`);
  const { heard, outcome } = await page.evaluate(dialogue, [`${hub}/ws`, protocols, frames]);
  assert.equal(outcome, "heard", JSON.stringify(heard));
  assert.deepEqual(heard.map(({ kind }) => kind), ["welcome", "ok", "message"]);
  assert.deepEqual(heard[2].data, { n: 1 });
  await page.close();
});

test("a stranger's page cannot open a socket to the hub of its visitor", { timeout: 120_000 }, async () => {
  const page = await pageAt(`http://evil.example:${site.address().port}/`);
  const { heard, outcome } = await page.evaluate(dialogue, [`${hub}/ws`, protocols, frames]);
  assert.deepEqual([heard, outcome], [[], "closed 1006"]);
  const posted = await page.evaluate(
    (url) => fetch(url, { method: "POST", mode: "no-cors", body: "x" }).then((response) => response.type, () => "failed"),
    `http://${address}/v1/publish/page/a`,
  );
  assert.ok(["opaque", "failed"].includes(posted));
  await page.close();
});

test("a name that a stranger points at the hub is refused", { timeout: 120_000 }, async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  const response = await page.goto(`http://evil.example:${port}/`);
  assert.equal(response.status(), 421);
  await page.close();
});

// Runs in the page: two members of a room, by docs/rooms.md alone. Returns what the second one was told.
function room([url]) {
  return new Promise((resolve) => {
    const told = [];
    const enter = (nick) => {
      const socket = new WebSocket(url);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => socket.send(JSON.stringify({ join: { info: { nick }, secret: "s3cret" } }));
      socket.onclose = ({ code }) => resolve([...told, `closed ${code}`]);
      return socket;
    };
    const ada = enter("ada");
    let bob;
    ada.onmessage = ({ data }) => {
      const { event, members } = JSON.parse(data);
      if (event === "state") bob = enter("bob");
      if (event === "joined") {
        ada.send(JSON.stringify({ text: `hello, ${members[0].info.nick}` }));
        ada.send(JSON.stringify({ to: [members[0].member], data: { n: 1 } }));
        ada.send(new Uint8Array([1, 2, 3]));
        ada.send(JSON.stringify({ act: "kick", members: [members[0].member], reason: "late" }));
      }
      if (bob) {
        bob.onmessage = ({ data }) => {
          if (typeof data === "string") told.push(JSON.parse(data));
          else told.push([new DataView(data).getUint32(0), ...new Uint8Array(data, 4)]);
        };
      }
    };
    setTimeout(() => resolve([...told, "silence"]), 60_000);
  });
}

test("a page is in a room", { timeout: 120_000 }, async () => {
  const page = await pageAt(`http://127.0.0.1:${site.address().port}/`);
  const [state, ...told] = await page.evaluate(room, [`${hub}/room/page%20room`]);
  assert.deepEqual([state.event, state.room, state.member, state.members.length], ["state", "page room", 2, 2]);
  assert.deepEqual(told, [
    { event: "message", from: 1, text: "hello, bob" },
    { event: "message", from: 1, to: [2], data: { n: 1 } },
    [1, 1, 2, 3],
    { event: "closed", reason: "late" },
    "closed 4410",
  ]);
  await page.close();
});
