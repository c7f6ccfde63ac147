//! Stands before the caller's mailbox, where every outcome of a call passes, and before the provider's, where the
//! request's body does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use whub_proto::{Body, Code, Kind};

use crate::call::Place;
use crate::call::{CallId, CallKey};
use crate::fault::Fault;
use crate::hub::Now;
use crate::letter::Letter;
use crate::mailbox::{Fate, Framing, Mailbox, Parcel, Post, Publication, Sent, SessionId, Undelivered};
use crate::middleware::{AnswerHead, Asked, CallRecord, Chain, Outcome};
use crate::packet::Packet;

/// A call that is watched until it has ended. It is the caller's mailbox to the provider; the last handle that goes
/// without an outcome means that the caller no longer waits.
#[derive(Debug)]
pub(crate) struct Watch {
    /// So that it can stand before a provider too that is known later.
    me: Weak<Self>,
    chain: Arc<Chain>,
    record: CallRecord,
    caller: Mailbox,
    id: CallId,
    request_bytes_max: u64,
    response_bytes_max: u64,
    /// Bytes of request body so far.
    up: AtomicU64,
    // Held for a note, never while a step or a mailbox is called.
    progress: Mutex<Progress>,
}

/// How far the call is.
#[derive(Debug, Default)]
struct Progress {
    status: u16,
    taken: Option<Duration>,
    first: Option<Duration>,
    down: u64,
    moved: u8,
    provider: Option<Arc<str>>,
    is_over: bool,
}

impl Watch {
    pub(crate) fn new(chain: Arc<Chain>, began: Now, asked: &Asked<'_>, id: CallId) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            record: CallRecord::new(began, asked),
            caller: asked.caller.mailbox.clone(),
            id,
            request_bytes_max: asked.request_bytes_max,
            response_bytes_max: asked.response_bytes_max,
            up: AtomicU64::new(asked.payload.len() as u64),
            progress: Mutex::default(),
            chain,
        })
    }

    /// The mailbox that the call's outcome goes to.
    pub(crate) fn caller(self: &Arc<Self>) -> Mailbox {
        Mailbox::new(Arc::clone(self) as Arc<dyn Post>)
    }

    /// Where the rest of the request goes.
    pub(crate) fn place(self: &Arc<Self>, place: Place) -> Place {
        match place {
            Place::At(provider) => {
                Place::At(Mailbox::new(Arc::new(Upload { watch: Arc::clone(self), provider })))
            }
            Place::Waiting(service) => Place::Waiting(service),
        }
    }

    /// No provider has taken the call.
    pub(crate) fn refused(&self, now: Now, fault: &Fault) {
        if !std::mem::replace(&mut self.progress().is_over, true) {
            let outcome = Outcome::refused(fault, self.up.load(Relaxed));
            self.chain.ended(now, &self.record, &outcome);
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, id: CallId, packet: Packet, last: bool) -> Result<(), Undelivered> {
        let now = self.chain.now();
        let head = packet.head(0);
        let packet = if head.kind == Kind::Response { self.begin(now, packet) } else { packet };
        let is_too_long = {
            let mut progress = self.progress();
            if progress.is_over {
                return Err(Undelivered::Gone(Letter::Answer { id, packet, last }));
            }
            progress.down += packet.payload_len() as u64;
            progress.down > self.response_bytes_max
        };
        if is_too_long {
            self.fail(now, response_too_long(self.response_bytes_max));
            return Err(Undelivered::Gone(Letter::Answer { id, packet, last }));
        }
        if last {
            self.end_with(now, &packet);
        }
        self.caller.post(Letter::Answer { id, packet, last })
    }

    /// The head of the answer, or news of its progress, which is nobody's business here.
    fn begin(&self, now: Now, packet: Packet) -> Packet {
        let Ok(frame) = packet.frame() else { return packet };
        let Body::Response(response) = frame.body else { return packet };
        if matches!(response.status, 100 | 102..=199) {
            return packet;
        }
        let provider = {
            let mut progress = self.progress();
            progress.status = response.status;
            progress.moved = frame.via.map_or(0, |via| via.moved);
            progress.first = Some(now.at.saturating_duration_since(self.record.began.at));
            progress.provider.clone()
        };
        if !self.chain.sees_answers() {
            return packet;
        }
        let mut answer = AnswerHead::new(&frame, &response, provider);
        self.chain.answered(now, &self.record, &mut answer);
        answer.rebuilt(&frame, &response).unwrap_or(packet)
    }

    /// The service has had its last word: the end of its response, or an error.
    fn end_with(&self, now: Now, packet: &Packet) {
        let failure = match packet.frame().map(|frame| frame.body) {
            Ok(Body::Error(failure)) => {
                let slug = if failure.slug.is_empty() { failure.code.slug() } else { failure.slug };
                Some((failure.code, slug.to_owned().into()))
            }
            _ => None,
        };
        self.end(now, failure);
    }

    /// Ends the call from here: the caller is told, the provider learns from its next word that nobody listens.
    fn fail(&self, now: Now, fault: Fault) {
        if self.end(now, Some((fault.code, fault.slug.into()))) {
            let _ = self.caller.post(Letter::Failed { id: self.id, fault });
        }
    }

    /// False when it was over before.
    fn end(&self, now: Now, failure: Option<(Code, std::borrow::Cow<'static, str>)>) -> bool {
        let outcome = {
            let mut progress = self.progress();
            if std::mem::replace(&mut progress.is_over, true) {
                return false;
            }
            let (code, slug) = failure.unwrap_or_else(|| (Code::Unspecified, "".into()));
            Outcome {
                // An answer that has begun keeps the status that the caller has seen.
                status: if progress.status == 0 { code.http_status() } else { progress.status },
                code,
                slug,
                refused: false,
                taken: progress.taken,
                first: progress.first,
                duration: now.at.saturating_duration_since(self.record.began.at),
                bytes_up: self.up.load(Relaxed),
                bytes_down: progress.down,
                moved: progress.moved,
                provider: progress.provider.clone(),
            }
        };
        self.chain.ended(now, &self.record, &outcome);
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let now = self.chain.now();
        self.end(now, Some((Code::Cancelled, "call.cancelled".into())));
    }
}

impl Post for Watch {
    fn session(&self) -> SessionId {
        self.caller.session()
    }

    fn framing(&self) -> Framing {
        self.caller.framing()
    }

    #[allow(clippy::wildcard_enum_match_arm)] // Whatever is no outcome is between the two ends.
    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        match letter {
            Letter::Answer { id, packet, last } => self.answer(id, packet, last),
            Letter::Failed { id, fault } => {
                if self.end(self.chain.now(), Some((fault.code, fault.slug.into()))) {
                    return self.caller.post(Letter::Failed { id, fault });
                }
                Err(Undelivered::Gone(Letter::Failed { id, fault }))
            }
            Letter::Placed { id, place, step } => {
                let place = self.me.upgrade().map_or_else(|| place.clone(), |me| me.place(place.clone()));
                self.caller.post(Letter::Placed { id, place, step })
            }
            other => self.caller.post(other),
        }
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        self.caller.send(parcel)
    }

    fn hold(&self) {
        self.caller.hold();
    }

    fn poll_room(&self, waker: &Waker) -> bool {
        self.caller.poll_room(waker)
    }

    fn served_by(&self, provider: &str) {
        let taken = self.chain.now().at.saturating_duration_since(self.record.began.at);
        {
            let mut progress = self.progress();
            progress.provider = Some(provider.into());
            progress.taken = Some(taken);
        }
        self.caller.served_by(provider);
    }

    fn publish(&self, publication: &dyn Publication) -> Fate {
        self.caller.publish(publication)
    }
}

/// The provider's mailbox, as the caller of a watched call has it.
#[derive(Debug)]
struct Upload {
    watch: Arc<Watch>,
    provider: Mailbox,
}

impl Upload {
    /// Counts a piece of the body. False when it was one too many.
    fn take(&self, call: CallKey, bytes: usize) -> bool {
        let watch = &self.watch;
        let up = watch.up.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        if up <= watch.request_bytes_max {
            return true;
        }
        watch.fail(watch.chain.now(), request_too_long(watch.request_bytes_max));
        // A provider that is gone needs no telling.
        let _ = self.provider.post(Letter::Abandon { call, code: Code::TooLarge });
        false
    }
}

impl Post for Upload {
    fn session(&self) -> SessionId {
        self.provider.session()
    }

    fn framing(&self) -> Framing {
        self.provider.framing()
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        if let Letter::Upload { call, data } = &letter
            && !self.take(*call, data.payload_len())
        {
            return Err(Undelivered::Gone(letter));
        }
        self.provider.post(letter)
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        self.provider.send(parcel)
    }

    fn hold(&self) {
        self.provider.hold();
    }

    fn poll_room(&self, waker: &Waker) -> bool {
        self.provider.poll_room(waker)
    }

    fn publish(&self, publication: &dyn Publication) -> Fate {
        self.provider.publish(publication)
    }
}

/// The fault of a request whose body is longer than a step allows.
pub(crate) fn request_too_long(bytes_max: u64) -> Fault {
    let reason = format!("the request's body is longer than the {bytes_max} bytes that are allowed here");
    Fault::fatal(Code::TooLarge, "call.request_too_large", reason)
}

fn response_too_long(bytes_max: u64) -> Fault {
    let reason = format!("the service's answer is longer than the {bytes_max} bytes that are allowed here");
    Fault::fatal(Code::ProviderLost, "call.response_too_large", reason)
}
