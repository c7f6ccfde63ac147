//! One call of a local service, from its letter to its outcome.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use whub_core::{CallFigures, Fault, Letter, Packet};
use whub_proto::{Body, Code, Kind};

use crate::local::answer::{AnswerBody, LocalAnswer, LocalWriter};
use crate::local::body::LocalBody;
use crate::local::call::CallState;
use crate::local::mailbox::Shared;
use crate::local::request::LocalRequest;

/// A call as it came.
pub(super) struct Begun {
    pub(super) request: Packet,
    /// No body follows.
    pub(super) ended: bool,
    /// How often it was moved here from other providers.
    pub(super) moved: u8,
    pub(super) figures: CallFigures,
}

/// Answers a call. The future may be dropped at any time: then whoever did so has settled the outcome, or, if the
/// handler panicked, the debt's end does.
pub(super) fn run(
    shared: Arc<Shared>,
    state: Arc<CallState>,
    begun: Begun,
) -> impl Future<Output = ()> + Send {
    let Begun { request, ended, moved, figures } = begun;
    let debt = Debt { shared, state, moved, figures };
    async move {
        let body = LocalBody::new(Arc::clone(&debt.state), request.payload(), ended);
        tokio::select! {
            biased;
            // First, so that a call that came too late is not begun.
            () = debt.state.expired() => debt.expire(),
            () = answer(&debt, &request, body) => {}
        }
    }
}

async fn answer(debt: &Debt, request: &Packet, body: LocalBody) {
    let shared = &debt.shared;
    // Waits for its turn within the deadline. The gate is never closed.
    let _turn = shared.gate.acquire().await;
    if !debt.state.handle() {
        return;
    }
    let answer = match LocalRequest::new(request, &shared.pattern, body) {
        Ok(request) => shared.handler.answer(request).await,
        Err(fault) => fault.into(),
    };
    let LocalAnswer { head, body } = answer;
    let head = match head {
        Ok(head) => head,
        Err(fault) => return debt.refuse(fault),
    };
    if !debt.state.begin() {
        return;
    }
    match body {
        AnswerBody::Whole(bytes) if bytes.len() <= WHOLE_BYTES => {
            debt.answer(head.packet(debt.moved, &bytes, true));
        }
        AnswerBody::Whole(bytes) => {
            debt.begin(head.packet(debt.moved, &[], false));
            write_all(debt.writer(), bytes).await;
            debt.finish();
        }
        AnswerBody::Stream(write) => {
            debt.begin(head.packet(debt.moved, &[], false));
            write(debt.writer()).await;
            debt.finish();
        }
    }
}

async fn write_all(mut writer: LocalWriter, bytes: Bytes) {
    writer.write(&bytes).await;
    writer.finish();
}

/// A body that is no longer than this travels in the frame of its answer, bytes.
const WHOLE_BYTES: usize = 64 * 1024;

/// The outcome that a call is owed.
struct Debt {
    shared: Arc<Shared>,
    state: Arc<CallState>,
    moved: u8,
    figures: CallFigures,
}

impl Debt {
    fn writer(&self) -> LocalWriter {
        LocalWriter { call: Arc::clone(&self.state) }
    }

    /// The whole answer.
    fn answer(&self, packet: Packet) {
        // The place is free before the caller knows the end.
        if self.state.settle().is_some() {
            self.shared.hub.counters.calls_answered.one();
            self.count(&packet);
            self.post(Letter::Answer { id: self.state.id, packet, last: true });
        }
    }

    /// The error instead of an answer. One that says that nothing was begun has another provider asked.
    fn refuse(&self, fault: Fault) {
        let Some(call) = self.state.settle() else { return };
        let hub = &self.shared.hub;
        if fault.is_not_taken() {
            let Err(back) = hub.decline_call(Instant::now(), call, fault.code) else { return };
            drop(back);
        } else {
            drop(call);
        }
        hub.counters.calls_answered.one();
        self.figures.failed(fault.code);
        let packet = Fault { moved: self.moved, ..fault }.packet();
        self.post(Letter::Answer { id: self.state.id, packet, last: true });
    }

    /// The head of an answer whose body follows.
    fn begin(&self, packet: Packet) {
        debug_assert_eq!(packet.head(0).kind, Kind::Response);
        self.count(&packet);
        self.post(Letter::Answer { id: self.state.id, packet, last: false });
    }

    fn count(&self, head: &Packet) {
        if let Ok(Body::Response(response)) = head.frame().map(|frame| frame.body) {
            self.figures.answered(Instant::now(), response.status);
        }
    }

    /// The body was written. A writer that was not finished leaves the call to the end of the debt.
    fn finish(&self) {
        if self.state.is_settled() {
            self.shared.hub.counters.calls_answered.one();
        }
    }

    fn expire(&self) {
        if self.state.settle().is_some() {
            self.shared.hub.counters.calls_deadline.one();
            self.figures.failed(Code::DeadlineExceeded);
            let reason = "the service did not answer in time; allow it longer, or ask why it is slow";
            let fault = Fault::fatal(Code::DeadlineExceeded, "call.deadline", reason);
            self.fail(fault);
        }
    }

    fn fail(&self, fault: Fault) {
        let fault = Fault { moved: self.moved, ..fault };
        self.post(Letter::Failed { id: self.state.id, fault });
    }

    fn post(&self, letter: Letter) {
        // A caller that is gone needs no outcome.
        let _ = self.state.caller.post(letter);
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if self.state.settle().is_some() {
            self.shared.hub.counters.calls_provider_lost.one();
            let reason =
                "the service broke off before its answer was whole; the call may have been carried out";
            self.figures.failed(Code::Internal);
            let fault = Fault::fatal(Code::Internal, "service.broken_off", reason);
            self.fail(fault);
        }
        self.shared.forget(self.state.key());
    }
}
