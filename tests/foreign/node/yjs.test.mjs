// y-websocket's own server with two pages of Chromium that edit one text. PLACES says by which ways they reach it, as JSON;
// SIGUSR1 to the process APP ends the server and starts it anew.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { build } from "vite";

const places = Object.entries(JSON.parse(process.env.PLACES));

let browser;
let site;
before(async () => {
  const entry = fileURLToPath(new URL("apps/yjs-page.js", import.meta.url));
  const built = await build({
    configFile: false, logLevel: "error", build: { write: false, minify: false, lib: { entry, formats: ["es"] } },
  });
  const { code } = built[0].output[0];
  site = createServer(({ url }, response) => {
    if (url === "/page.js") return response.setHeader("content-type", "text/javascript").end(code);
    response.setHeader("content-type", "text/html").end('<!doctype html><meta charset="utf-8"><title>text</title><textarea></textarea><script type="module" src="/page.js"></script>');
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", timeout: 120_000, args: ["--no-sandbox"] });
});
after(async () => {
  await browser?.close();
  site?.close();
});

async function editor(url, room, name) {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`http://127.0.0.1:${site.address().port}/?${new URLSearchParams({ url, room, name })}`);
  await page.waitForSelector("body[data-synced=true]");
  return page;
}

const reads = (page, ...parts) => page.waitForFunction((parts) => parts.every((part) => document.querySelector("textarea").value.includes(part)), parts);
const value = (page) => page.inputValue("textarea");
const typed = (page, text) => page.locator("textarea").pressSequentially(text, { delay: 5 });

for (const [way, url] of places) {
  test(`two browsers edit one text, ${way}`, { timeout: 120_000 }, async () => {
    const room = `room of ${way}`;
    const ada = await editor(url, room, "ada");
    const bob = await editor(url, room, "bob");
    await Promise.all([ada, bob].map((page) => page.waitForSelector("body[data-present='ada bob']")));

    await typed(ada, "begin end");
    await reads(bob, "begin end");
    await bob.locator("textarea").evaluate((area) => area.setSelectionRange(5, 5));
    // Both at once, at two places of it.
    await Promise.all([typed(bob, " and the very middle of it"), typed(ada, ", ganz am Schluß 🙂")]);
    const whole = "begin and the very middle of it end, ganz am Schluß 🙂";
    await Promise.all([ada, bob].map((page) => reads(page, whole)));
    assert.deepEqual([await value(ada), await value(bob)], [whole, whole]);

    // A third one, later, is given all of it; who leaves is missed by the others.
    const eve = await editor(url, room, "eve");
    assert.equal(await value(eve), whole);
    await bob.context().close();
    await Promise.all([ada, eve].map((page) => page.waitForSelector("body[data-present='ada eve']")));

    // More than a frame of the hub's protocol holds.
    const large = "0123456789abcdef".repeat(100_000);
    await eve.fill("textarea", large);
    await ada.waitForFunction((length) => document.querySelector("textarea").value.length === length, large.length);
    assert.equal(await value(ada), large);
    await Promise.all([ada, eve].map((page) => page.context().close()));
  });

  test(`an editor goes on when its server has been away, ${way}`, { timeout: 120_000 }, async () => {
    const room = `restart of ${way}`;
    const [ada, bob] = [await editor(url, room, "ada"), await editor(url, room, "bob")];
    await typed(ada, "before");
    await reads(bob, "before");
    const gone = Promise.all([ada, bob].map((page) => page.waitForSelector("body[data-losses]")));
    process.kill(Number(process.env.APP), "SIGUSR1");
    await gone;
    await Promise.all([typed(ada, " ada's"), typed(bob, " bob's")]);
    await Promise.all([ada, bob].map((page) => reads(page, "before", " ada's", " bob's")));
    await Promise.all([ada, bob].map((page) => page.waitForSelector("body[data-status=connected]")));
    assert.equal(await value(ada), await value(bob));
    await Promise.all([ada, bob].map((page) => page.context().close()));
  });
}
