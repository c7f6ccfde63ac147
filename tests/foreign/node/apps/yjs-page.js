// A text area that is edited together with everybody else at ROOM. The test gives the address in the page's query.

import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const { url, room, name } = Object.fromEntries(new URLSearchParams(location.search));
const area = document.querySelector("textarea");
const doc = new Y.Doc();
const text = doc.getText("text");
// Tabs of one browser would otherwise talk to each other without the server.
const provider = new WebsocketProvider(url, room, doc, { disableBc: true, maxBackoffTime: 500 });

provider.awareness.setLocalStateField("name", name);
provider.awareness.on("change", () => {
  document.body.dataset.present = [...provider.awareness.getStates().values()].map((state) => state.name).sort().join(" ");
});
provider.on("status", ({ status }) => { document.body.dataset.status = status; });
provider.on("connection-close", () => { document.body.dataset.losses = 1 + Number(document.body.dataset.losses ?? 0); });
provider.on("sync", (synced) => { document.body.dataset.synced = synced; });

// What was typed is what lies between the beginning and the end that stayed the same.
area.addEventListener("input", () => {
  const [old, now] = [text.toString(), area.value];
  let head = 0;
  while (head < Math.min(old.length, now.length) && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < Math.min(old.length, now.length) - head && old.at(-1 - tail) === now.at(-1 - tail)) tail++;
  doc.transact(() => {
    text.delete(head, old.length - tail - head);
    text.insert(head, now.slice(head, now.length - tail));
  }, "typed");
});

// The cursor stays at the character before which it was.
text.observe(({ transaction }) => {
  if (transaction.origin === "typed") return;
  const behind = area.value.slice(area.selectionStart);
  area.value = text.toString();
  const at = area.value.lastIndexOf(behind);
  area.setSelectionRange(at, at);
});
