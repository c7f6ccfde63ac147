//! A caller that keeps many calls under way and insists that each has exactly one outcome, in time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whub_proto::{Body, Cancel, Code, Credit, Data, Flags, Frame, Request};

use super::dice::Dice;
use super::link::{Link, read};
use super::worker::{Order, Orders};
use crate::fault::Fault;

/// What providers register.
pub(super) const SERVICE: &str = "/soak/*rest";

/// Credit that goes without saying.
pub(super) const WINDOW: u64 = 262_144;

/// Calls under way at once.
const UNDER_WAY: usize = 24;

/// What an outcome may come late on an idle machine. What this process and the hub were held up meanwhile, by each
/// other's pauses or by a busy machine, is added.
const ALLOWANCE: Duration = Duration::from_millis(250);

/// A pause of our own, or an answer of the hub to a ping, that is no delay yet.
const PROMPT: Duration = Duration::from_millis(20);

/// How often the hub is pinged, to know how busy it is.
const PING: Duration = Duration::from_millis(50);

/// How long the hub may take to end a connection that was half closed.
const FAREWELL: Duration = Duration::from_secs(20);

/// How long streams that have begun may go on once nothing new is begun.
const LAST: Duration = Duration::from_secs(60);

const PIECE: usize = 8 * 1024;

/// Calls until it is told to finish; connects again whenever the connection has ended.
pub(crate) fn run(hub: SocketAddr, seed: u64) -> Result<Value, Fault> {
    let (orders, mut dice, mut tally) = (Orders::listen(), Dice::new(seed), Tally::default());
    loop {
        let mut caller = Caller::connect(hub, &mut dice, &mut tally)?;
        if caller.converse(&orders)? {
            return Ok(tally.report());
        }
    }
}

/// What became of all calls.
#[derive(Default)]
struct Tally {
    calls: u64,
    outcomes: BTreeMap<String, u64>,
    moved: u64,
    /// How long after its deadline an outcome came, beyond what was excused: the worst.
    latest: Duration,
    faults: Vec<String>,
}

impl Tally {
    fn outcome(&mut self, name: impl Into<String>) {
        *self.outcomes.entry(name.into()).or_default() += 1;
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < 20 {
            self.faults.push(text);
        }
    }

    fn report(&self) -> Value {
        json!({
            "calls": self.calls, "outcomes": self.outcomes, "moved": self.moved,
            "latest_ms": self.latest.as_millis() as u64, "faults": self.faults,
        })
    }
}

struct Caller<'a> {
    link: Link,
    dice: &'a mut Dice,
    tally: &'a mut Tally,
    calls: BTreeMap<u64, Call>,
    next_id: u64,
    held_up: HeldUp,
}

struct Call {
    what: String,
    /// When the outcome has to have begun; unknown until the request has ended.
    due: Option<Instant>,
    timeout: Duration,
    /// How long we were held up in all when the deadline began.
    held_up: Duration,
    cancel_at: Option<Instant>,
    begun: bool,
    upload: Option<Upload>,
    /// Bytes of the answer's body, and how many there are to be.
    taken: u64,
    expected: Option<u64>,
}

struct Upload {
    left: usize,
    credit: u64,
}

/// How long this process did not run, or the hub did not answer a ping: both at the machine's expense.
struct HeldUp {
    total: Duration,
    last_turn: Instant,
    pings: VecDeque<Instant>,
}

impl HeldUp {
    fn turn(&mut self, now: Instant) {
        let gap = now - self.last_turn;
        self.last_turn = now;
        if gap > PROMPT {
            self.total += gap;
        }
    }

    fn pong(&mut self, now: Instant) {
        let Some(sent) = self.pings.pop_front() else { return };
        let took = now - sent;
        if took > PROMPT {
            self.total += took;
        }
    }

    /// With the ping that is not answered yet.
    fn until(&self, now: Instant) -> Duration {
        self.total + self.pings.front().map_or(Duration::ZERO, |sent| now - *sent)
    }
}

impl<'a> Caller<'a> {
    fn connect(hub: SocketAddr, dice: &'a mut Dice, tally: &'a mut Tally) -> Result<Self, Fault> {
        let link = Link::open(hub)?;
        let held_up = HeldUp { total: Duration::ZERO, last_turn: Instant::now(), pings: VecDeque::new() };
        Ok(Self { link, dice, tally, calls: BTreeMap::new(), next_id: 1, held_up })
    }

    /// True when it was told to finish and has.
    fn converse(&mut self, orders: &Orders) -> Result<bool, Fault> {
        let (mut finishing, mut leaving) = (None, None);
        let mut next_ping = Instant::now();
        loop {
            self.link.turn(Duration::from_millis(2))?;
            let now = Instant::now();
            self.held_up.turn(now);
            while let Some(bytes) = self.link.next() {
                self.hear(&bytes, now)?;
            }
            if self.link.over {
                self.lose();
                return Ok(finishing.is_some());
            }
            match orders.next() {
                Some(Order::Finish) => drop(finishing.get_or_insert(now)),
                Some(Order::HalfClose) => {
                    self.link.half_close();
                    leaving.get_or_insert(now);
                }
                None => {}
            }
            if leaving.is_some_and(|since| now - since > FAREWELL) {
                return Err(Fault::protocol("the hub keeps a connection that was half closed"));
            }
            if leaving.is_some() {
                continue;
            }
            if now >= next_ping {
                next_ping = now + PING;
                self.held_up.pings.push_back(now);
                self.link.say(0, Flags::NONE, &Body::Ping, b"")?;
            }
            self.check(now);
            self.advance(now)?;
            match finishing {
                None => self.begin_more(now)?,
                Some(_) if self.calls.is_empty() => return Ok(true),
                Some(since) if now - since > LAST => {
                    let left: Vec<_> = self.calls.values().map(|call| call.what.as_str()).collect();
                    self.tally.fault(format!("never ended: {}", left.join(", ")));
                    return Ok(true);
                }
                Some(_) => {}
            }
        }
    }

    /// The connection is over, so nobody can tell us more; what was under way is not the hub's debt.
    fn lose(&mut self) {
        for _ in std::mem::take(&mut self.calls) {
            self.tally.outcome("disconnected");
        }
    }

    // ------------------------------------------------------------------------------------------------ what we say

    fn begin_more(&mut self, now: Instant) -> Result<(), Fault> {
        while self.calls.len() < UNDER_WAY {
            let id = self.next_id;
            self.next_id += 2;
            self.begin(id, now)?;
        }
        Ok(())
    }

    fn begin(&mut self, id: u64, now: Instant) -> Result<(), Fault> {
        let kinds = ["now", "now", "now", "later", "later", "late", "never", "fail", "stream", "upload"];
        let kind = *self.dice.one(&kinds);
        let number = match kind {
            "later" => self.dice.of(1..300),
            "late" => self.dice.of(400..800),
            "stream" => self.dice.of(1..600_000),
            "upload" => self.dice.of(1..400_000),
            _ => 0,
        };
        let timeout = match kind {
            "late" | "never" => self.dice.ms(50..400),
            _ => self.dice.ms(500..4_000),
        };
        let path = format!("/soak/{kind}/{number}");
        let safe = self.dice.of(0..4) == 0;
        let key = format!("{id}");
        let request = Request {
            path: &path,
            timeout_ms: timeout.as_millis() as u32,
            idempotency: if safe { &key } else { "" },
            ..Request::default()
        };
        let upload = (kind == "upload").then_some(Upload { left: number as usize, credit: WINDOW });
        let flags = if upload.is_some() { Flags::NONE } else { Flags::END };
        self.link.say(id, flags, &Body::Request(request), b"")?;
        let cancelled = self.dice.of(0..12) == 0;
        let call = Call {
            due: upload.is_none().then(|| now + timeout),
            timeout,
            held_up: self.held_up.total,
            cancel_at: cancelled.then(|| now + self.dice.ms(0..300)),
            begun: false,
            upload,
            taken: 0,
            expected: (kind == "stream").then_some(number),
            what: path,
        };
        self.calls.insert(id, call);
        self.tally.calls += 1;
        Ok(())
    }

    /// Uploads go as far as they may, and some calls are given up.
    fn advance(&mut self, now: Instant) -> Result<(), Fault> {
        let held_up = self.held_up.total;
        for (&id, call) in &mut self.calls {
            if call.cancel_at.is_some_and(|at| at <= now) {
                call.cancel_at = None;
                call.upload = None;
                let cancel = Cancel { code: Code::Cancelled, ..Cancel::default() };
                self.link.say(id, Flags::NONE, &Body::Cancel(cancel), b"")?;
                // The hub answers at once.
                (call.due, call.held_up) = (Some(now), held_up);
            }
            while let Some(upload) = &mut call.upload
                && upload.credit >= PIECE as u64
            {
                let piece = PIECE.min(upload.left);
                upload.left -= piece;
                upload.credit -= piece as u64;
                let last = upload.left == 0;
                let flags = if last { Flags::END } else { Flags::NONE };
                self.link.say(id, flags, &Body::Data(Data::default()), &[b'u'; PIECE][..piece])?;
                if last {
                    call.upload = None;
                    (call.due, call.held_up) = (Some(now + call.timeout), held_up);
                }
            }
        }
        Ok(())
    }

    // ---------------------------------------------------------------------------------------------- what we hear

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the protocol is not what is soaked")]
    fn hear(&mut self, bytes: &[u8], now: Instant) -> Result<(), Fault> {
        let frame = read(bytes)?;
        let id = frame.head.id;
        match &frame.body {
            Body::Ping => self.link.say(id, Flags::NONE, &Body::Pong, frame.payload)?,
            Body::Pong => self.held_up.pong(now),
            Body::Credit(more) => {
                if let Some(upload) = self.calls.get_mut(&id).and_then(|call| call.upload.as_mut()) {
                    upload.credit += u64::from(more.bytes);
                }
            }
            Body::Error(error) if id == 0 && error.code == Code::ProtocolError => {
                return Err(Fault::protocol(format!("a caller broke the protocol: {}", error.reason)));
            }
            Body::Response(_) | Body::Data(_) | Body::Error(_) if id != 0 => self.outcome(&frame, now)?,
            _ => {}
        }
        Ok(())
    }

    fn outcome(&mut self, frame: &Frame<'_>, now: Instant) -> Result<(), Fault> {
        let id = frame.head.id;
        let Some(call) = self.calls.get_mut(&id) else {
            self.tally.fault(format!("{:?} for call {id}, which has had its outcome", frame.head.kind));
            return Ok(());
        };
        if let Body::Response(_) = frame.body
            && std::mem::replace(&mut call.begun, true)
        {
            self.tally.fault(format!("two answers for {}", call.what));
        }
        if let Body::Data(_) = frame.body
            && !call.begun
        {
            self.tally.fault(format!("a body without an answer for {}", call.what));
        }
        let moved = frame.via.map_or(0, |via| via.moved);
        if moved > 0 {
            self.tally.moved += 1;
        }
        if moved > 2 {
            self.tally.fault(format!("{} was moved {moved} times", call.what));
        }
        call.taken += frame.payload.len() as u64;
        if let Body::Data(_) = frame.body
            && !frame.payload.is_empty()
            && !frame.head.flags.contains(Flags::END)
        {
            let credit = Credit { bytes: frame.payload.len() as u32 };
            self.link.say(id, Flags::NONE, &Body::Credit(credit), b"")?;
        }
        self.note_lateness(id, now);
        let name = if let Body::Error(error) = &frame.body {
            error.code.slug()
        } else if frame.head.flags.contains(Flags::END) {
            "answered"
        } else {
            return Ok(());
        };
        let Some(call) = self.calls.remove(&id) else { return Ok(()) };
        if name == "answered" && call.expected.is_some_and(|expected| expected != call.taken) {
            self.tally.fault(format!("{}: {} bytes came", call.what, call.taken));
        }
        self.tally.outcome(name);
        Ok(())
    }

    /// An outcome has begun: how late was it?
    fn note_lateness(&mut self, id: u64, now: Instant) {
        let held_up = self.held_up.until(now);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(due) = call.due.take() else { return };
        let excused = held_up - call.held_up;
        self.tally.latest = self.tally.latest.max(now.saturating_duration_since(due + excused));
    }

    /// Calls whose outcome should have begun by now.
    fn check(&mut self, now: Instant) {
        let held_up = self.held_up.until(now);
        for call in self.calls.values_mut() {
            let Some(due) = call.due else { continue };
            let late = now.saturating_duration_since(due + (held_up - call.held_up));
            if late > ALLOWANCE {
                call.due = None;
                let timeout = call.timeout.as_millis();
                self.tally.fault(format!(
                    "{} with {timeout} ms: no outcome {} ms after its deadline",
                    call.what,
                    late.as_millis()
                ));
            }
        }
    }
}
