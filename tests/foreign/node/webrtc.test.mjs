// examples/webrtc-pair in Debian's Chromium: two pages meet at the hub and talk without it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import WebSocket from "ws";

const hub = process.env.WHUB_SERVER;
const folder = fileURLToPath(new URL("../../../examples/webrtc-pair", import.meta.url));
const patience = { timeout: 120_000 };

let browser;
const ends = [];
before(async () => {
  await provide(hub);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    timeout: 120_000,
    // For machines without a network: no address but the loopback one, and nobody who resolves the names that stand for addresses.
    args: ["--no-sandbox", "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns"],
  });
});
after(async () => {
  await browser?.close();
  for (const end of ends.reverse()) await end();
});

// Starts `whub` and waits for a line of its standard output or error that begins like this; returns the process and the line.
async function whub(stream, beginning, ...options) {
  const child = spawn(process.env.WHUB_BIN, options, { stdio: ["ignore", "pipe", "pipe"] });
  ends.push(() => child.kill());
  child[stream === "stdout" ? "stderr" : "stdout"].resume();
  for await (const line of createInterface({ input: child[stream] })) {
    if (line.startsWith(beginning)) return { child, line };
  }
  return assert.fail(`whub ${options[0]} ended`);
}

function provide(at) {
  return whub("stderr", "providing", "provide", "/webrtc", "--files", folder, "--server", at);
}

// A visitor of its own: a page in a context that shares nothing with the others. `script` runs before those of the page.
async function visitor(id, script = () => {}, at = hub) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.addInitScript(script);
  page.setDefaultTimeout(60_000);
  await page.goto(`${at.replace(/^ws/, "http")}/webrtc/`);
  await page.fill("#id", id);
  await page.click("#meet button");
  return page;
}

const state = (page, what, wanted) => page.waitForSelector(`#${what}[data-state=${wanted}]`);
const hears = (page, text) => page.waitForFunction((text) => [...document.querySelectorAll("li.other")].some((line) => line.textContent === text), text);
const says = async (page, text) => {
  await page.fill("#text", text);
  await page.click("#say button");
};

test("two pages meet, talk directly, and meet again when one has left", patience, async () => {
  const ada = await visitor("tea & cake");
  await state(ada, "hub", "waiting");
  const bob = await visitor("tea & cake");
  for (const page of [ada, bob]) await state(page, "peer", "direct");
  assert.match(await ada.textContent("#hub"), /this side makes the offer/, "who had waited offers");
  assert.match(await bob.textContent("#hub"), /the other side makes the offer/);

  await says(ada, "<b>hello</b>");
  await hears(bob, "<b>hello</b>");
  await says(bob, "/remote:close");
  await hears(ada, "/remote:close");
  await state(ada, "peer", "direct");

  await bob.context().close();
  await state(ada, "peer", "nobody");
  await state(ada, "hub", "waiting");
  const back = await visitor("tea & cake");
  for (const page of [ada, back]) await state(page, "peer", "direct");
  await says(back, "here again");
  await hears(ada, "here again");
  await Promise.all([ada, back].map((page) => page.context().close()));
});

test("what is said goes from page to page and not through the hub", patience, async () => {
  const ada = await visitor("direct");
  const frames = [];
  ada.on("websocket", (socket) => {
    for (const event of ["framesent", "framereceived"]) socket.on(event, ({ payload }) => frames.push(String(payload)));
  });
  await ada.reload(); // the address names the id
  await state(ada, "hub", "waiting");
  const bob = await visitor("direct");
  for (const page of [ada, bob]) await state(page, "peer", "direct");
  await says(bob, "between ourselves");
  await hears(ada, "between ourselves");
  assert.ok(frames.length > 3, `${frames}`);
  assert.ok(!frames.some((frame) => frame.includes("between ourselves")), "the hub has heard it");
  await Promise.all([ada, bob].map((page) => page.context().close()));
});

test("a lie at the hub does not end a talk that is open", patience, async () => {
  const ada = await visitor("open talk");
  await state(ada, "hub", "waiting");
  const bob = await visitor("open talk", () => {
    globalThis.WebSocket = class extends WebSocket {
      constructor(...all) {
        super(...all);
        globalThis.socket = this;
      }
    };
  });
  for (const page of [ada, bob]) await state(page, "peer", "direct");
  await bob.evaluate(() => globalThis.socket.send("/remote:close"));
  await state(ada, "hub", "away");
  await says(ada, "still there?");
  await hears(bob, "still there?");
  await says(bob, "of course");
  await hears(ada, "of course");

  await bob.context().close();
  await state(ada, "hub", "waiting");
  await state(ada, "peer", "nobody");
  await ada.context().close();
});

test("a talk outlives the hub, and both find back to it", patience, async () => {
  const serve = (address) => whub("stdout", "listening on", "serve", "--listen", address);
  const first = await serve("127.0.0.1:0");
  const own = first.line.match(/ws:\S+/)[0];
  await provide(own);
  const [ada, bob] = [await visitor("outlives", undefined, own), await visitor("outlives", undefined, own)];
  for (const page of [ada, bob]) await state(page, "peer", "direct");
  first.child.kill("SIGKILL");
  for (const page of [ada, bob]) await state(page, "hub", "redialling");
  await says(ada, "without a hub");
  await hears(bob, "without a hub");

  await serve(new URL(own).host);
  for (const page of [ada, bob]) await state(page, "hub", "together");
  for (const page of [ada, bob]) await state(page, "peer", "direct");
  await says(bob, "with the next one");
  await hears(ada, "with the next one");
  await Promise.all([ada, bob].map((page) => page.context().close()));
});

// A peer that is no page, and lies.
function liar(id) {
  const socket = new WebSocket(`${hub}/pair/${encodeURIComponent(id)}`);
  ends.push(() => socket.terminate());
  const heard = [];
  const waiting = [];
  socket.on("message", (data) => (waiting.length ? waiting.shift()(String(data)) : heard.push(String(data))));
  return { socket, next: async () => heard.shift() ?? new Promise((resolve) => waiting.push(resolve)) };
}

test("a peer that speaks like the hub gains nothing over leaving", patience, async () => {
  const ada = await visitor("lies");
  await state(ada, "hub", "waiting");
  const { socket, next } = liar("lies");
  assert.equal(await next(), "/status:connected");
  assert.equal(JSON.parse(await next()).description.type, "offer");
  // Words of the hub in an order that is not the hub's are no signals, and neither is any other text.
  for (const lie of ["/remote:open", "/status:waiting", "/status:connected", "{", "null", "7", "hello", '{"candidate":7}']) socket.send(lie);
  socket.send(Buffer.from("/remote:close"));
  await ada.waitForFunction(() => /^That did not work/.test(document.querySelector("li.note")?.textContent), null);
  assert.equal(await ada.getAttribute("#hub", "data-state"), "together", "only the last one was looked at");
  // A lie in the hub's own order: the liar is taken for a new one, to whom the page offers.
  for (const lie of ["/remote:close", "/remote:open", "/status:connected"]) socket.send(lie);
  for (let frame; JSON.parse((frame = await next())).description?.type !== "offer"; );
  socket.terminate();

  // And nobody after it suffers: the page knows its place from what the hub says next.
  await state(ada, "hub", "waiting");
  const bob = await visitor("lies");
  for (const page of [ada, bob]) await state(page, "peer", "direct");
  await says(bob, "truly");
  await hears(ada, "truly");
  await Promise.all([ada, bob].map((page) => page.context().close()));
});
