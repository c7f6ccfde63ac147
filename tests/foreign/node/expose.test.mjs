// Applications behind `whub expose` in Debian's Chromium: one of Python below a path and under a host, and Vite's
// development server, whose pages are changed while they are open.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { createServer } from "vite";

const address = process.env.WHUB_SERVER.replace(/^ws:\/\//, "");
const port = address.split(":").at(-1);
const patience = { timeout: 120_000 };

let browser;
const ends = [];
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", timeout: 120_000, args: ["--no-sandbox"] });
});
after(async () => {
  await browser?.close();
  for (const end of ends.reverse()) await end();
});

async function pageAt(url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  const failures = [];
  page.on("requestfailed", (request) => failures.push(`${request.url()}: ${request.failure().errorText}`));
  page.on("response", (response) => response.status() >= 400 && failures.push(`${response.url()}: ${response.status()}`));
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  const heard = new Promise((resolve) => page.on("websocket", (socket) => socket.on("framereceived", resolve)));
  const response = await page.goto(url);
  assert.equal(response.status(), 200, url);
  return { page, failures, sockets, heard };
}

// Below a path, and the same application under a host of its own. Browsers know where *.localhost is.
for (const place of [`http://${address}/shop`, `http://shop.localhost:${port}/`]) {
  test(`an application at ${new URL(place).host.replace(port, "PORT")}${new URL(place).pathname}`, patience, async () => {
    const { page, sockets } = await pageAt(place);
    // A page without the slash would look for its parts in the wrong place.
    assert.ok(page.url().endsWith("/"), page.url());
    await page.waitForSelector("body[data-event^=tick]");
    await page.waitForSelector("body[data-echo='echo.v1 ping']");
    const base = page.url().replace(/^http/, "ws");
    assert.deepEqual(sockets, [`${base}echo`]);

    const file = { name: "pears.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(5_000_000, "pear") };
    await page.setInputFiles("input[type=file]", file);
    await Promise.all([page.waitForURL("**/upload"), page.click("button")]);
    const told = JSON.parse(await page.innerText("body"));
    assert.deepEqual([told.name, told.size], ["pears.bin", 5_000_000]);

    await page.goto(`${place.replace(/\/$/, "")}/login`);
    const seen = JSON.parse(await page.innerText("body"));
    assert.deepEqual(seen, { session: "ada", theme: "dark" });
    await page.close();
  });
}

// Starts Vite for a folder, and exposes it.
async function vite(base, ...options) {
  const root = await mkdtemp(join(tmpdir(), "whub-vite-"));
  ends.push(() => rm(root, { recursive: true, force: true }));
  await writeFile(join(root, "index.html"), '<!doctype html><title>vite</title><p id="word"></p><script type="module" src="./main.js"></script>');
  await writeFile(join(root, "main.js"), 'import { word } from "./word.js";\nconst show = (word) => { document.querySelector("#word").textContent = word; };\nshow(word);\nimport.meta.hot.accept("./word.js", (fresh) => show(fresh.word));\n');
  await writeFile(join(root, "word.js"), 'export const word = "before";\n');
  const inner = await freePort();
  const server = await createServer({
    root, base, configFile: false, cacheDir: join(root, ".cache"), logLevel: "error",
    server: { host: "127.0.0.1", port: inner, strictPort: true, watch: { usePolling: true, interval: 50 } },
  });
  await server.listen();
  ends.push(() => server.close());
  await expose(...options.map((option) => option.replace("URL", `http://127.0.0.1:${inner}`)));
  return root;
}

async function freePort() {
  const probe = listen();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function expose(...options) {
  const exposer = spawn(process.env.WHUB_BIN, ["expose", ...options], { stdio: ["ignore", "inherit", "pipe"] });
  ends.push(() => exposer.kill());
  for await (const line of createInterface({ input: exposer.stderr })) {
    if (line.startsWith("exposing")) return;
    assert.fail(line);
  }
}

for (const { name, base, options, place } of [
  { name: "below a path", base: "/vite/", options: ["vite", "URL", "--keep-prefix"], place: `http://${address}/vite/` },
  { name: "under a host", base: "/", options: ["URL", "--host", "vite.localhost"], place: `http://vite.localhost:${port}/` },
]) {
  test(`Vite's pages ${name} change while they are open`, patience, async () => {
    const root = await vite(base, ...options);
    const { page, failures, sockets, heard } = await pageAt(place);
    await page.waitForFunction(() => document.querySelector("#word").textContent === "before");
    await page.evaluate(() => { globalThis.isSamePage = true; });
    // Vite tells of a change only those whose socket it has greeted.
    await heard;
    await writeFile(join(root, "word.js"), 'export const word = "after";\n');
    await page.waitForFunction(() => document.querySelector("#word").textContent === "after");
    assert.equal(await page.evaluate(() => globalThis.isSamePage), true, "the page was not loaded anew");
    assert.ok(sockets.length > 0 && sockets.every((url) => new URL(url).host === new URL(place).host), `${sockets}`);
    assert.deepEqual(failures.filter((failure) => !failure.includes("favicon")), []);
    await page.close();
  });
}
