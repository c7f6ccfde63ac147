// Two browsers meet by id at the hub's /pair/<id>, exchange there what WebRTC needs, and talk over a data channel.
//
// `Meeting` is the place at the hub, `Talk` the direct connection, and what follows them the page.

// Servers that tell a browser its public address, such as { urls: "stun:stun.example.org" }. Without any, the two
// must be on one network, and nobody else is asked.
const ICE_SERVERS = [];
const REDIAL_MS = { least: 500, most: 15_000 };
const LINES_MOST = 500;

/**
 * A place at the hub. The hub says in plain texts what happens, between the texts of the other one; nothing marks
 * whose a text is, so order has to tell. Who is alone hears only the hub. Who is together with another takes
 * nothing for the hub's but `/remote:close`. That one may be a lie, so it must cost no more than if the liar had left:
 * it ends what is being arranged, never a talk that is open, for which the other one is needed and the hub is not.
 *
 * The page's own words on this socket are JSON, so no hub and no page can mistake them for one of those texts.
 */
class Meeting {
  #state = "alone"; // alone → announced → together: only who had waited is told of an arrival first
  #socket;
  #timer;
  #waits = REDIAL_MS.least;

  constructor(url, told) {
    this.url = url;
    this.told = told;
    this.#dial();
  }

  send(signal) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(signal));
  }

  leave() {
    clearTimeout(this.#timer);
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close();
  }

  #dial() {
    this.#state = "alone";
    this.#socket = new WebSocket(this.url);
    this.#socket.onopen = () => { this.#waits = REDIAL_MS.least; };
    this.#socket.onmessage = ({ data }) => { if (typeof data === "string") this.#hear(data); };
    this.#socket.onclose = () => this.#redial();
  }

  #redial() {
    this.told.lost();
    this.#timer = setTimeout(() => this.#dial(), this.#waits * Math.random());
    this.#waits = Math.min(2 * this.#waits, REDIAL_MS.most);
  }

  #hear(text) {
    const together = this.#state === "together";
    if (text === "/remote:close") {
      this.#state = "alone";
      if (together) this.told.left();
    } else if (together) {
      this.#takeSignal(text);
    } else if (text === "/status:waiting") {
      this.told.waiting();
    } else if (text === "/remote:open") {
      this.#state = "announced";
    } else if (text === "/status:connected") {
      const offering = this.#state === "announced";
      this.#state = "together";
      this.told.met(offering);
    }
  }

  // What is no signal, "/status:waiting" from the other one included, is passed over; so is "/error:0001:…", which
  // brings back what was said to one who had just left.
  #takeSignal(text) {
    let signal;
    try {
      signal = JSON.parse(text);
    } catch {
      return;
    }
    if (signal?.description || signal?.candidate) this.told.signal(signal);
  }
}

/** The direct connection. Who had waited makes the offer, so there is never more than one. */
class Talk {
  #connection = new RTCPeerConnection({ iceServers: ICE_SERVERS });
  // Agreed on beforehand: both sides make the same channel, and neither waits for the other's.
  #channel = this.#connection.createDataChannel("chat", { negotiated: true, id: 0 });
  #work = Promise.resolve();
  #doubted = false;

  constructor(send, told) {
    this.send = send;
    this.told = told;
    this.#connection.onicecandidate = ({ candidate }) => { if (candidate) send({ candidate }); };
    this.#connection.onconnectionstatechange = () => this.#judge();
    this.#channel.onopen = () => this.#way().then((way) => this.isOpen && told.open(way));
    this.#channel.onmessage = ({ data }) => { if (typeof data === "string") told.heard(data); };
    this.#channel.onclose = () => this.#over();
  }

  get isOpen() {
    return this.#channel.readyState === "open";
  }

  say(text) {
    this.#channel.send(text);
  }

  offer() {
    this.#next(() => this.#describe());
  }

  /** What the other one says of itself. Candidates wait until the description before them has been taken. */
  take({ description, candidate }) {
    this.#next(async () => {
      if (candidate) return this.#connection.addIceCandidate(candidate);
      await this.#connection.setRemoteDescription(description);
      if (description.type === "offer") await this.#describe();
    });
  }

  /** The hub says that the other one has gone: true, as soon as nothing comes from there any more. */
  doubt() {
    this.#doubted = true;
    this.#judge();
  }

  /** Ends it without a word to the page. */
  end() {
    this.#channel.onopen = this.#channel.onclose = this.#channel.onmessage = null;
    this.#connection.onconnectionstatechange = this.#connection.onicecandidate = null;
    this.#connection.close();
  }

  async #describe() {
    await this.#connection.setLocalDescription();
    this.send({ description: this.#connection.localDescription });
  }

  #next(step) {
    this.#work = this.#work.then(step).catch((error) => this.told.trouble(error.message));
  }

  // "disconnected" may pass, "failed" does not, and takes many seconds.
  #judge() {
    const state = this.#connection.connectionState;
    if (state === "failed" || (state === "disconnected" && this.#doubted)) this.#over();
  }

  #over() {
    this.end();
    this.told.over();
  }

  /** Which way the packets take, such as "host to host, udp". */
  async #way() {
    const all = [...(await this.#connection.getStats()).values()];
    const byId = (id) => all.find((entry) => entry.id === id);
    const pair = byId(all.find(({ type }) => type === "transport")?.selectedCandidatePairId);
    const [here, there] = [byId(pair?.localCandidateId), byId(pair?.remoteCandidateId)];
    return here && there ? `${here.candidateType} to ${there.candidateType}, ${here.protocol}` : "";
  }
}

// ---------------------------------------------------------------- the page

const at = (id) => document.getElementById(id);
let meeting;
let talk;

function meet(id) {
  meeting?.leave();
  drop();
  const url = new URL(`/pair/${encodeURIComponent(id)}`, location);
  url.protocol = url.protocol.replace("http", "ws");
  show("hub", "redialling", "dialling");
  meeting = new Meeting(url, {
    waiting: () => show("hub", "waiting", "waiting for the other one"),
    met: begin,
    signal: (signal) => talk?.take(signal),
    left: () => {
      show("hub", "away", "the other one has gone");
      if (talk?.isOpen) talk.doubt();
      else drop();
    },
    lost: () => show("hub", "redialling", "no connection; dialling again"),
  });
}

function begin(offering) {
  drop();
  show("hub", "together", offering ? "together; this side makes the offer" : "together; the other side makes the offer");
  show("peer", "connecting", "connecting");
  talk = new Talk((signal) => meeting.send(signal), {
    open: (way) => {
      show("peer", "direct", `connected directly${way && ` (${way})`}`);
      line("note", "You talk directly now.");
    },
    heard: (text) => line("other", text),
    over: () => {
      line("note", "The direct connection has ended.");
      drop();
    },
    trouble: (what) => line("note", `That did not work: ${what}`),
  });
  if (offering) talk.offer();
}

function drop() {
  talk?.end();
  talk = undefined;
  show("peer", "nobody", "nobody");
}

function show(what, state, text) {
  at(what).dataset.state = state;
  at(what).textContent = text;
  if (what === "peer") for (const part of at("say").elements) part.disabled = state !== "direct";
}

// As text, never as HTML: a stranger wrote it.
function line(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  at("log").append(item);
  while (at("log").childElementCount > LINES_MOST) at("log").firstChild.remove();
  item.scrollIntoView({ block: "nearest" });
}

at("meet").onsubmit = (event) => {
  event.preventDefault();
  // The address of the page names the id, so that it can be sent to the other one.
  history.replaceState(null, "", `#${encodeURIComponent(at("id").value)}`);
  meet(at("id").value);
};

at("say").onsubmit = (event) => {
  event.preventDefault();
  if (!at("text").value || !talk?.isOpen) return;
  talk.say(at("text").value);
  line("own", at("text").value);
  at("text").value = "";
};

// So that the other side hears of it at once. A page that is shown again from the browser's memory begins anew.
addEventListener("pagehide", drop);
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

if (location.hash.length > 1) {
  at("id").value = decodeURIComponent(location.hash.slice(1));
  meet(at("id").value);
}
