//! Handlers of applications' own kinds of frames, as async functions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use whub_core::{Fault, FrameHandler, Grants, Mailbox, Now, Packet, Parcel, Reply, Sender};
use whub_proto::{Body, Code, Flags, Frame, Kind, Success};

/// A frame of an application's own kind.
#[derive(Debug, Clone)]
pub struct OwnFrame {
    /// 128 to 191.
    pub kind: u8,
    /// The hub's name for the client; messages reach it by this.
    pub client: Box<str>,
    /// The token's name; empty for anonymous clients.
    pub user: Box<str>,
    /// The client's address.
    pub address: Box<str>,
    /// What the client may do.
    pub grants: Arc<Grants>,
    /// What stands before the payload, in whatever form the application gives it; the hub has not looked at it.
    pub envelope: Bytes,
    /// The rest.
    pub payload: Bytes,
    /// The client says that the payload is text.
    pub is_text: bool,
}

impl OwnFrame {
    /// Frames of one kind that are handled at once, of all clients together. Beyond it the client is told to come back.
    pub const CONCURRENCY: usize = 256;
}

/// What a frame of an application's own kind is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnReply {
    /// `Ok`, with nothing in it.
    Done,
    /// A frame of an application's own kind.
    Frame {
        /// 128 to 191.
        kind: u8,
        /// What it says.
        payload: Bytes,
        /// The payload is text.
        is_text: bool,
    },
    /// An error.
    Refused(Fault),
}

impl OwnReply {
    /// A frame with a text in it.
    #[must_use]
    pub fn text(kind: u8, text: impl Into<String>) -> Self {
        Self::Frame { kind, payload: text.into().into(), is_text: true }
    }

    fn packet(self) -> Packet {
        match self {
            Self::Done => Packet::build(&Body::Ok(Success::default())),
            Self::Refused(fault) => fault.packet(),
            Self::Frame { kind, payload, is_text } if whub_core::OWN_KINDS.contains(&kind) => {
                let flags = Flags::NONE.with_if(is_text, Flags::TEXT);
                Packet::forward(Kind::Unknown(kind), flags, None, &[], &payload)
            }
            Self::Frame { kind, .. } => {
                let reason = format!("a handler answered with kind {kind}, which is not an application's");
                Fault::fatal(Code::Internal, "handler.kind", reason).packet()
            }
        }
    }
}

impl From<()> for OwnReply {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl From<Fault> for OwnReply {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl<A: Into<Self>> From<Result<A, Fault>> for OwnReply {
    fn from(result: Result<A, Fault>) -> Self {
        result.map_or_else(Self::Refused, Into::into)
    }
}

/// A handler whose frames are tasks; what takes longer than `timeout` is answered with `DeadlineExceeded`.
pub(super) fn handler<F, Fut, A>(handle: F, timeout: Duration) -> Arc<dyn FrameHandler>
where
    F: Fn(OwnFrame) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = A> + Send + 'static,
    A: Into<OwnReply>,
{
    Arc::new(Tasks { handle, timeout, gate: Arc::new(Semaphore::new(OwnFrame::CONCURRENCY)) })
}

struct Tasks<F> {
    handle: F,
    timeout: Duration,
    gate: Arc<Semaphore>,
}

impl<F, Fut, A> FrameHandler for Tasks<F>
where
    F: Fn(OwnFrame) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = A> + Send + 'static,
    A: Into<OwnReply>,
{
    fn handle(&self, _: Now, from: Sender<'_>, frame: &Frame<'_>) -> Reply {
        let Ok(turn) = Arc::clone(&self.gate).try_acquire_owned() else {
            let reason = "too many frames of this kind are being handled; send it again a little later";
            return Reply::Refused(Fault::passing(Code::TooManyRequests, "handler.busy", 100, reason));
        };
        let own = OwnFrame {
            kind: frame.head.kind.into(),
            client: from.client.into(),
            user: from.identity.user.as_deref().unwrap_or_default().into(),
            address: from.address.into(),
            grants: Arc::clone(&from.identity.grants),
            envelope: Bytes::copy_from_slice(frame.envelope),
            payload: Bytes::copy_from_slice(frame.payload),
            is_text: frame.head.flags.contains(Flags::TEXT),
        };
        let answer = Answer { to: from.mailbox.clone(), id: frame.head.id };
        let (work, timeout) = ((self.handle)(own), self.timeout);
        tokio::spawn(async move {
            let _turn = turn;
            match tokio::time::timeout(timeout, work).await {
                Ok(reply) => answer.give(reply.into()),
                Err(_) => answer.give(OwnReply::Refused(too_slow())),
            }
        });
        Reply::Later
    }
}

/// The answer that a frame is owed; one that is dropped is an error, as after a panic.
struct Answer {
    to: Mailbox,
    id: u64,
}

impl Answer {
    fn give(mut self, reply: OwnReply) {
        self.send(reply);
        self.id = 0;
    }

    fn send(&self, reply: OwnReply) {
        if self.id != 0 {
            let packet = reply.packet();
            // A client that has gone needs no answer; one that is slow has asked for it.
            let _ = self.to.send(Parcel::Packet { id: self.id, packet: &packet });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(OwnReply::Refused(broken()));
    }
}

fn too_slow() -> Fault {
    Fault::fatal(
        Code::DeadlineExceeded,
        "handler.deadline",
        "the handler of this kind did not answer in time",
    )
}

fn broken() -> Fault {
    Fault::fatal(Code::Internal, "handler.broken_off", "the handler of this kind broke off")
}
