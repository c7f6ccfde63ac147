//! The session as a provider: what it registered, and the calls that it is to answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use whub_proto::code::NOT_TAKEN;
use whub_proto::names::ServicePath;
use whub_proto::{Body, Cancel, Code, Data, Failure, Flags, Frame, Headers, Request, Response, Unregister};

use super::{Live, Session};
use crate::body::{self, Piece};
use crate::command::{Answer, Done};
use crate::credit::{Allowance, Credit, WINDOW_BYTES};
use crate::error::Error;
use crate::event::Event;
use crate::key::Key;
use crate::serve::{self, Job, Place, ServiceError};
use crate::session::sockets::Ends;
use crate::socket::WEBSOCKET;
use crate::wanted::{Provided, Wanted};

/// When to come back to a service that does not take a call: about as long as a burst lasts.
const RETRY_MS: u32 = 100;

/// A call that this client is to answer.
pub(super) struct Serving {
    key: Key,
    pieces: mpsc::UnboundedSender<Piece>,
    place: Place,
    pub(super) allowance: Allowance,
    pub(super) download: Arc<Credit>,
    cancelled: watch::Sender<bool>,
    /// The head of the answer was sent.
    answered: bool,
    /// The request asks for a WebSocket.
    pub(super) socket: Option<Ends>,
}

impl Serving {
    /// Nobody waits for the answer any more.
    pub(super) fn cancel(self) {
        self.download.close();
        let _ = self.pieces.send(Piece::Failed(Error::cancelled("the caller no longer waits")));
        self.cancelled.send_replace(true);
    }
}

impl Live {
    /// The service, while it is about to end.
    fn leaving(&self) -> Option<&Provided> {
        if let Self::Leaving(provided, _) = self { Some(provided) } else { None }
    }
}

impl Session {
    // --------------------------------------------------------------------------------------- registrations

    pub(crate) fn register(&mut self, key: Key, wanted: &Wanted) {
        let Some(Provided { service, .. }) = wanted.services.get(&key) else { return };
        let id = self.next_id();
        let outbox = &mut self.outbox;
        service.offer.register(service.pattern.as_str(), service.inflight_max, |register| {
            outbox.push(id, Flags::NONE, &Body::Register(register));
        });
        self.live.insert(id, Live::Service(key));
    }

    pub(crate) fn unregister(&mut self, mut provided: Provided, grace_ms: u32, done: Option<Done>) {
        let id = self.next_id();
        let path = provided.service.pattern.as_str();
        self.outbox.push(id, Flags::NONE, &Body::Unregister(Unregister { path, grace_ms }));
        // Whoever still waits for it to begin has given up.
        provided.service.done = None;
        self.live.insert(id, Live::Leaving(Box::new(provided), done));
    }

    /// The hub does not want the service.
    pub(super) fn handle_unregistered(&mut self, key: Key, error: Error, wanted: &mut Wanted) {
        let Some(provided) = wanted.services.get_mut(&key) else { return };
        match provided.service.done.take() {
            Some(done) => {
                wanted.services.remove(&key);
                drop(done.send(Err(error)));
            }
            // It was registered once; the next connection tries again.
            None => self.events.push_back(Event::Error(error)),
        }
    }

    // ------------------------------------------------------------------------------------ calls that arrive

    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        request: &Request<'_>,
        payload: Bytes,
        wanted: &Wanted,
    ) -> Result<(), Error> {
        let id = frame.head.id;
        if id == 0 || id % 2 == 1 || self.served.contains_key(&id) {
            return Err(Error::protocol("the hub sent a request with an id that is not free"));
        }
        let via = frame.via.unwrap_or_default();
        let leaving = self.live.values().filter_map(Live::leaving);
        let Some(provided) = find(wanted.services.values().chain(leaving), via.path, request.path) else {
            self.not_take(id, "this client does not provide the service any more");
            return Ok(());
        };
        if provided.is_full() {
            self.not_take(id, "the provider is busy with as many calls as it takes");
            return Ok(());
        }
        let (serving, job) = self.accept(now, frame, request, provided);
        self.ids.insert(serving.key, id);
        self.served.insert(id, serving);
        self.jobs.push_back(job);
        if payload.is_empty() && !frame.head.flags.contains(Flags::END) {
            return Ok(());
        }
        self.take_upload(id, frame.head.flags, &Data::default(), payload)
    }

    /// Has the hub ask another provider.
    fn not_take(&mut self, id: u64, reason: &'static str) {
        let failure = Failure { reason, slug: NOT_TAKEN, ..failure(Code::Unavailable, RETRY_MS) };
        self.outbox.push(id, Flags::NONE, &Body::Error(failure));
    }

    fn accept(
        &self,
        now: Instant,
        frame: &Frame<'_>,
        request: &Request<'_>,
        provided: &Provided,
    ) -> (Serving, Job) {
        let via = frame.via.unwrap_or_default();
        let key = self.supply.keys.next();
        let (pieces, incoming) = mpsc::unbounded_channel();
        let (cancelled, is_cancelled) = watch::channel(false);
        let credit = if request.credit == 0 { WINDOW_BYTES } else { request.credit };
        let download = Arc::new(Credit::new(credit));
        let timeout_ms = if via.timeout_ms == 0 { request.timeout_ms } else { via.timeout_ms };
        let deadline = (timeout_ms > 0).then(|| now + Duration::from_millis(timeout_ms.into()));
        let given = serve::Request {
            pattern: provided.service.pattern.clone(),
            path: request.path.to_owned(),
            query: request.query.to_owned(),
            method: request.method.to_owned(),
            scheme: request.scheme.to_owned(),
            authority: request.authority.to_owned(),
            format: request.format,
            text: frame.head.flags.contains(Flags::TEXT),
            headers: request.headers.into(),
            client: via.client.to_owned(),
            user: via.user.to_owned(),
            peer: via.peer.to_owned(),
            deadline: deadline.map(tokio::time::Instant::from_std),
            cancelled: is_cancelled,
            body: body::Body::new(key, incoming, self.supply.releases.clone()),
            door: None,
        };
        let place = provided.places.take();
        let job = Job {
            key,
            handler: Arc::clone(&provided.service.handler),
            request: given,
            download: Arc::clone(&download),
            place: place.clone(),
        };
        let allowance = Allowance::default();
        let socket = (request.method == WEBSOCKET).then(Ends::default);
        (Serving { key, pieces, place, allowance, download, cancelled, answered: false, socket }, job)
    }

    /// More of a request's body.
    pub(super) fn handle_upload(
        &mut self,
        id: u64,
        flags: Flags,
        data: &Data<'_>,
        payload: Bytes,
    ) -> Result<(), Error> {
        self.take_upload(id, flags, data, payload)
    }

    fn take_upload(&mut self, id: u64, flags: Flags, data: &Data<'_>, payload: Bytes) -> Result<(), Error> {
        // A call that was answered before its body ended.
        let Some(serving) = self.served.get_mut(&id) else { return Ok(()) };
        if !serving.allowance.receive(payload.len()) {
            return Err(Error::protocol("the hub sent more of a body than it was allowed to"));
        }
        if let Some(ends) = &mut serving.socket {
            ends.hear(&serving.pieces, &serving.download, flags, data, payload);
            if ends.are_both() {
                self.end_serving(id);
            }
            return Ok(());
        }
        // A handler that does not read its body has dropped the other end.
        if !payload.is_empty() {
            let _ = serving.pieces.send(Piece::Chunk(payload));
        }
        if flags.contains(Flags::END) {
            let _ = serving.pieces.send(Piece::End(data.headers.into()));
        }
        Ok(())
    }

    /// Nobody waits for our answer any more.
    pub(super) fn handle_cancel(&mut self, id: u64, _cancel: &Cancel<'_>) {
        let Some(serving) = self.served.remove(&id) else { return };
        self.ids.remove(&serving.key);
        serving.cancel();
    }

    // ------------------------------------------------------------------------------------------ our answers

    /// What a handler answered.
    pub(crate) fn answer(&mut self, key: Key, answer: Result<Box<Answer>, ServiceError>) {
        // The caller gave up meanwhile.
        let Some(&id) = self.ids.get(&key) else { return };
        let Some(serving) = self.served.get_mut(&id) else { return };
        let first = !std::mem::replace(&mut serving.answered, true);
        match answer {
            Ok(answer) if first => self.respond(id, &answer),
            Ok(_) if serving.socket.is_some() => self.end_socket(id),
            Ok(_) => {}
            Err(error) => self.respond_error(id, &error),
        }
    }

    /// What a handler says before its answer. What is too large for a frame is not said.
    pub(crate) fn report(&mut self, key: Key, news: &Answer) {
        let Some(&id) = self.ids.get(&key) else { return };
        if self.served.get(&id).is_none_or(|serving| serving.answered) {
            return;
        }
        let pairs = news.headers.pairs();
        let (status, format, headers) = (news.status, news.format, Headers::new(&pairs));
        let response = Body::Response(Response { status, format, headers, ..Response::default() });
        let _ = self.outbox.push_with(id, Flags::NONE, &response, &news.payload, self.frame_bytes_max);
    }

    /// A handler ended without an answer.
    pub(crate) fn answer_for_lost(&mut self, key: Key) {
        let error = ServiceError::internal("the service failed before it had answered");
        self.answer(key, Err(error));
    }

    fn respond(&mut self, id: u64, answer: &Answer) {
        let pairs = answer.headers.pairs();
        let (status, format, headers) = (answer.status, answer.format, Headers::new(&pairs));
        let response = Body::Response(Response { status, format, headers, ..Response::default() });
        let text = Flags::NONE.with_if(answer.text, Flags::TEXT);
        let flags = text.with_if(answer.ended, Flags::END);
        let whole = self.outbox.push_with(id, flags, &response, &answer.payload, self.frame_bytes_max);
        if whole.is_err() {
            if self.outbox.push_with(id, text, &response, &[], self.frame_bytes_max).is_err() {
                let reason = "the headers of the answer are more than a frame may hold";
                let error = ServiceError::new(Code::ProviderLost, reason).slug("service.bad_answer");
                return self.respond_error(id, &error);
            }
            let last = Flags::NONE.with_if(answer.ended, Flags::END);
            self.outbox.push_split(id, last, Flags::NONE, &answer.payload, self.frame_bytes_max);
        }
        if answer.ended {
            self.end_serving(id);
        }
    }

    /// The body of an answer ends, with trailers if a frame can hold them.
    pub(crate) fn send_trailers(&mut self, key: Key, trailers: &crate::Headers) {
        let Some(&id) = self.ids.get(&key) else { return };
        let pairs = trailers.pairs();
        let last = Body::Data(Data { headers: Headers::new(&pairs), ..Data::default() });
        if self.outbox.push_with(id, Flags::END, &last, &[], self.frame_bytes_max).is_err() {
            self.outbox.push_data(id, Flags::END, &[]);
        }
        self.end_serving(id);
    }

    fn respond_error(&mut self, id: u64, error: &ServiceError) {
        let pairs = error.headers.pairs();
        let body = Failure {
            reason: &error.reason,
            slug: &error.slug,
            headers: Headers::new(&pairs),
            ..failure(error.code, error.retry_ms)
        };
        let sent = self.outbox.push_with(id, Flags::NONE, &Body::Error(body), &[], self.frame_bytes_max);
        if sent.is_err() {
            self.outbox.push(id, Flags::NONE, &Body::Error(failure(error.code, error.retry_ms)));
        }
        self.end_serving(id);
    }

    pub(super) fn end_serving(&mut self, id: u64) {
        let Some(serving) = self.served.remove(&id) else { return };
        self.ids.remove(&serving.key);
        serving.place.leave();
        serving.download.close();
    }
}

fn failure(code: Code, retry_ms: u32) -> Failure<'static> {
    Failure { code, slug: code.slug(), retry_ms, ..Failure::default() }
}

/// The service that a request is for: the hub names the pattern; one that does not is matched here.
fn find<'a>(
    mut services: impl Iterator<Item = &'a Provided>,
    pattern: &str,
    path: &str,
) -> Option<&'a Provided> {
    if !pattern.is_empty() {
        return services.find(|provided| provided.service.pattern.as_str() == pattern);
    }
    let path = ServicePath::parse(path).ok()?;
    services.find(|provided| provided.service.pattern.matches(&path))
}
