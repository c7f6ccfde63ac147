// graphql-ws, server and client: a subprotocol that both insist on, and close codes of their own. PLACES says by which ways, as JSON.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const patience = { timeout: 90_000 };
const soon = () => AbortSignal.timeout(60_000);

for (const [way, url] of Object.entries(JSON.parse(process.env.PLACES))) {
  const at = `${url}/graphql`;
  const client = (connectionParams) => createClient({ url: at, webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 });

  test(`queries and subscriptions on one socket, ${way}`, patience, async () => {
    const graphql = client({});
    const counted = (async () => {
      const seen = [];
      for await (const { data } of graphql.iterate({ query: "subscription { count(to: 500) }" })) seen.push(data.count);
      return seen;
    })();
    for await (const { data } of graphql.iterate({ query: '{ hello(name: "ada") }' })) assert.equal(data.hello, "hello ada");
    assert.deepEqual(await counted, Array.from({ length: 500 }, (_, at) => at + 1));
    await graphql.dispose();
  });

  test(`the codes by which graphql-ws refuses, ${way}`, patience, async () => {
    const refused = (async () => {
      for await (const _ of client({ secret: "wrong" }).iterate({ query: '{ hello(name: "ada") }' }));
    })();
    await assert.rejects(refused, ({ code, reason }) => code === 4403 && reason === "Forbidden");

    for (const [protocols, frames, code, reason] of [
      [[], [], 4406, "Subprotocol not acceptable"],
      [["graphql-transport-ws"], ["not json"], 4400, "Invalid message received"],
      [["graphql-transport-ws"], ['{"type":"subscribe","id":"1","payload":{"query":"{ hello }"}}'], 4401, "Unauthorized"],
      [["graphql-transport-ws"], ['{"type":"connection_init"}', '{"type":"connection_init"}'], 4429, "Too many initialisation requests"],
    ]) {
      const socket = new WebSocket(at, protocols);
      const closed = once(socket, "close", { signal: soon() });
      await once(socket, "open", { signal: soon() });
      assert.equal(socket.protocol, protocols[0] ?? "");
      for (const frame of frames) socket.send(frame);
      const [seen, why] = await closed;
      assert.deepEqual([seen, String(why)], [code, reason], `${protocols} ${frames}`);
    }
  });

  test(`an upgrade that the server refuses, ${way}`, patience, async () => {
    const socket = new WebSocket(`${url}/elsewhere`);
    const [, response] = await once(socket, "unexpected-response", { signal: soon() });
    assert.equal(response.statusCode, 400);
  });

  test(`queries by HTTP on the same port, ${way}`, patience, async () => {
    const place = at.replace(/^ws/, "http");
    const body = JSON.stringify({ query: "query ($name: String!) { hello(name: $name) }", variables: { name: "bob" } });
    const answer = await fetch(place, { method: "POST", body, headers: { "content-type": "application/json" } });
    assert.equal(answer.headers.get("content-type"), "application/graphql-response+json");
    assert.deepEqual((await answer.json()).data, { hello: "hello bob" });
    assert.equal((await fetch(place)).headers.get("allow"), "POST");
  });
}
