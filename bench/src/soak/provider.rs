//! A provider that does what the path of a call says, and nothing to spare the hub.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whub_proto::{Body, Code, Credit, Data, Failure, Flags, Kind, Register, Request, Response};

use super::caller::{SERVICE, WINDOW};
use super::link::{Link, read};
use super::worker::{Order, Orders};
use crate::fault::Fault;

/// How long the hub may take to end a connection that was half closed.
const FAREWELL: Duration = Duration::from_secs(20);

/// Payload bytes of a frame of a stream.
const PIECE: usize = 8 * 1024;

/// Calls that one provider takes at once.
const INFLIGHT_MAX: u32 = 200;

/// Serves until it is told to finish; connects again whenever the connection has ended.
pub(crate) fn run(hub: SocketAddr) -> Result<Value, Fault> {
    let orders = Orders::listen();
    let mut answered = 0;
    loop {
        let mut provider = Provider::connect(hub)?;
        let finished = provider.serve(&orders)?;
        answered += provider.answered;
        if finished {
            return Ok(json!({ "answered": answered }));
        }
    }
}

struct Provider {
    link: Link,
    calls: BTreeMap<u64, Work>,
    answered: u64,
}

/// What is left to do for a call.
enum Work {
    /// Answer at this time.
    Answer(Instant),
    /// Send so many bytes, as credit allows.
    Stream { left: usize, credit: u64 },
    /// Read the body to its end.
    Upload { taken: u64 },
    /// Leave it unanswered.
    Never,
}

impl Provider {
    fn connect(hub: SocketAddr) -> Result<Self, Fault> {
        let mut link = Link::open(hub)?;
        let register = Register { path: SERVICE, max_inflight: INFLIGHT_MAX, ..Register::default() };
        link.say(1, Flags::NONE, &Body::Register(register), b"")?;
        Ok(Self { link, calls: BTreeMap::new(), answered: 0 })
    }

    /// True when it was told to finish.
    fn serve(&mut self, orders: &Orders) -> Result<bool, Fault> {
        let mut leaving: Option<Instant> = None;
        loop {
            self.link.turn(Duration::from_millis(5))?;
            while let Some(bytes) = self.link.next() {
                self.hear(&bytes)?;
            }
            if self.link.over {
                return Ok(false);
            }
            match orders.next() {
                Some(Order::Finish) => return Ok(true),
                Some(Order::HalfClose) => {
                    self.link.half_close();
                    leaving.get_or_insert_with(Instant::now);
                }
                None => {}
            }
            if leaving.is_some_and(|since| since.elapsed() > FAREWELL) {
                return Err(Fault::protocol("the hub keeps a connection that was half closed"));
            }
            self.work()?;
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the protocol is not what is soaked")]
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let frame = read(bytes)?;
        let id = frame.head.id;
        match &frame.body {
            Body::Ping => self.link.say(id, Flags::NONE, &Body::Pong, frame.payload)?,
            Body::Request(request) => self.take(id, request),
            Body::Data(_) => self.upload(id, frame.payload.len(), frame.head.flags)?,
            Body::Credit(more) => {
                if let Some(Work::Stream { credit, .. }) = self.calls.get_mut(&id) {
                    *credit += u64::from(more.bytes);
                }
            }
            Body::Cancel(_) => drop(self.calls.remove(&id)),
            Body::Error(error) if id == 0 && error.code == Code::ProtocolError => {
                return Err(Fault::protocol(format!("a provider broke the protocol: {}", error.reason)));
            }
            // Welcome, Ok, the last words of a hub that takes this provider for dead.
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, id: u64, request: &Request<'_>) {
        let mut parts = request.path.split('/').skip(2);
        let what = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let credit = if request.credit == 0 { WINDOW } else { request.credit.into() };
        let work = match what {
            "stream" => Work::Stream { left: number as usize, credit },
            "upload" => Work::Upload { taken: 0 },
            "never" => Work::Never,
            "fail" => {
                let failure = Failure { code: Code::Conflict, slug: "soak.conflict", ..Failure::default() };
                self.answer(id, &Body::Error(failure), b"");
                return;
            }
            _ => Work::Answer(Instant::now() + Duration::from_millis(number)),
        };
        if let Work::Stream { .. } = work {
            // The head goes at once, the body follows.
            let _ = self.link.say(id, Flags::NONE, &Body::Response(Response::default()), b"");
        }
        self.calls.insert(id, work);
    }

    fn upload(&mut self, id: u64, bytes: usize, flags: Flags) -> Result<(), Fault> {
        let Some(Work::Upload { taken }) = self.calls.get_mut(&id) else { return Ok(()) };
        *taken += bytes as u64;
        if flags.contains(Flags::END) {
            let text = taken.to_string();
            self.calls.remove(&id);
            self.answer(id, &Body::Response(Response::default()), text.as_bytes());
        } else if bytes > 0 {
            self.link.say(id, Flags::NONE, &Body::Credit(Credit { bytes: bytes as u32 }), b"")?;
        }
        Ok(())
    }

    fn answer(&mut self, id: u64, body: &Body<'_>, payload: &[u8]) {
        let last = if body.kind() == Kind::Error { Flags::NONE } else { Flags::END };
        self.answered += u64::from(self.link.say(id, last, body, payload).is_ok());
    }

    /// Answers that are due, and streams as far as they may go.
    fn work(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        let mut done = Vec::new();
        for (&id, work) in &mut self.calls {
            match work {
                Work::Answer(due) if *due <= now => done.push(id),
                Work::Stream { left, credit } => {
                    while *left > 0 && *credit >= PIECE as u64 {
                        let piece = PIECE.min(*left);
                        *left -= piece;
                        *credit -= piece as u64;
                        let flags = if *left == 0 { Flags::END } else { Flags::NONE };
                        self.link.say(id, flags, &Body::Data(Data::default()), &[b's'; PIECE][..piece])?;
                    }
                    if *left == 0 {
                        done.push(id);
                    }
                }
                Work::Answer(_) | Work::Upload { .. } | Work::Never => {}
            }
        }
        for id in done {
            if let Some(Work::Answer(_)) = self.calls.remove(&id) {
                self.answer(id, &Body::Response(Response::default()), b"done");
            } else {
                self.answered += 1;
            }
        }
        Ok(())
    }
}
