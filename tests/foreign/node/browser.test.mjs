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
