//! A WebSocket with an endpoint as the other side of a call: its messages are those of the call, both ways, as fast as
//! either side takes them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use whub_core::Announcement;
use whub_transport::Stream;
use whub_ws::{
    CloseCode, Decoder, Event, Head, Limits, MessageKind, Opcode, Role, encode_close, encode_masked,
};

use crate::connection::Place;
use crate::gateway::open::{Opened, nonce};
use crate::local::{LocalBody, LocalWriter};
use crate::mailbox::Mail;

/// What is read of an endpoint at once.
const READ_BYTES: usize = 16 * 1024;

/// How long the endpoint may take for its own close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The endpoint was lost; it, or another, may be there already.
const SERVICE_RESTART: u16 = 1012;

/// How a side has ended: code, 0 for none, and reason.
type Ending = (u16, String);

/// Passes messages both ways until both sides have closed. An endpoint that takes nothing for `patience` is lost.
pub(crate) async fn bridge(
    place: Place,
    opened: Opened,
    mut body: LocalBody,
    mut writer: LocalWriter,
    message_bytes: usize,
    patience: Duration,
) {
    let Opened { stream, early, occupied, .. } = opened;
    let (read, write) = tokio::io::split(stream);
    let sink = Sink { write: Mutex::new(write), patience };
    let mut ear = Ear::new(read, early, message_bytes);
    let (asked, pings) = watch::channel(Vec::new());
    let ending = {
        let hear = ear.pass(&sink, &mut writer, &asked);
        let speak = speak(&mut body, &sink, pings);
        tokio::pin!(hear);
        tokio::select! {
            ending = &mut hear => ending,
            closed = speak => match closed {
                // The endpoint answers the caller's close with its own.
                Some(()) => timeout(CLOSE_WITHIN, hear).await.unwrap_or((0, String::new())),
                None => (SERVICE_RESTART, LOST.to_owned()),
            },
            ending = dismissed(&place) => ending,
        }
    };
    writer.close(ending.0, &ending.1);
    let _ = timeout(CLOSE_WITHIN, sink.write.into_inner().shutdown()).await;
    drop(occupied);
}

const LOST: &str = "the endpoint was lost; open it again";

/// What the caller says, to the endpoint. `None` when the endpoint is lost.
async fn speak(body: &mut LocalBody, sink: &Sink, mut pings: watch::Receiver<Vec<u8>>) -> Option<()> {
    let mut inside = false;
    loop {
        let piece = tokio::select! {
            piece = body.message() => piece,
            Ok(()) = pings.changed() => {
                let mut pong = Vec::new();
                encode_masked(&mut pong, Opcode::Pong, &pings.borrow_and_update(), nonce());
                sink.write(&pong).await?;
                continue;
            }
        };
        let mut frame = Vec::with_capacity(piece.bytes.len() + 32);
        if piece.closing.is_none() || !piece.bytes.is_empty() {
            let opcode = match (inside, piece.text) {
                (true, _) => Opcode::Continuation,
                (false, true) => Opcode::Text,
                (false, false) => Opcode::Binary,
            };
            inside = piece.more;
            encode_masked(
                &mut frame,
                Head { opcode, fin: !piece.more, compressed: false },
                &piece.bytes,
                nonce(),
            );
        }
        let closes = piece.closing.is_some();
        if let Some((code, reason)) = piece.closing {
            // Over the protocol a close may say nothing, or something that no frame may.
            let code = CloseCode::new(code).unwrap_or(CloseCode::NORMAL);
            encode_close(&mut frame, code, &reason, Some(nonce()));
        }
        sink.write(&frame).await?;
        if closes {
            return Some(());
        }
    }
}

/// The way to the endpoint.
struct Sink {
    // Held for a whole frame.
    write: Mutex<WriteHalf<Stream>>,
    /// How long it may take nothing.
    patience: Duration,
}

impl Sink {
    /// `None` when the endpoint is lost.
    async fn write(&self, bytes: &[u8]) -> Option<()> {
        let mut write = self.write.lock().await;
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = timeout(self.patience, write.write(rest)).await.ok()?.ok()?;
            rest = rest.get(count..).filter(|_| count > 0)?;
        }
        timeout(self.patience, write.flush()).await.ok()?.ok()
    }
}

/// Resolves when the hub ends the conversation.
async fn dismissed(place: &Place) -> Ending {
    poll_fn(|cx| {
        let mut mail = VecDeque::new();
        place.watch_mail(cx, &mut mail);
        for item in mail {
            let Mail::Letter(letter) = item else { continue };
            let fault = match letter.announcement() {
                Some(Announcement::Kick(fault)) => Some(fault),
                Some(Announcement::Recheck) => place.recheck().err(),
                // The caller's own connection hears of it too.
                Some(Announcement::Drain { .. }) | None => None,
            };
            if let Some(fault) = fault {
                return std::task::Poll::Ready((fault.code.close_code(), fault.reason.into_owned()));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// What is heard of an endpoint.
struct Ear {
    read: ReadHalf<Stream>,
    decoder: Decoder,
    input: Vec<u8>,
}

impl Ear {
    fn new(read: ReadHalf<Stream>, early: Vec<u8>, message_bytes: usize) -> Self {
        let limits = Limits { message_bytes, frame_bytes: message_bytes };
        Self { read, decoder: Decoder::new(Role::Client, limits), input: early }
    }

    /// What the endpoint says, to the caller, until it has closed or is lost.
    async fn pass(
        &mut self,
        sink: &Sink,
        writer: &mut LocalWriter,
        asked: &watch::Sender<Vec<u8>>,
    ) -> Ending {
        loop {
            let mut said = Vec::new();
            let mut batch = self.decoder.decode(&mut self.input);
            let ending = loop {
                match batch.next() {
                    Ok(None) => break None,
                    Ok(Some(Event::Message { kind, payload })) => {
                        said.push((Some(kind == MessageKind::Text), payload.into_vec()));
                    }
                    Ok(Some(Event::Ping(payload))) => said.push((None, payload.into_vec())),
                    Ok(Some(Event::Pong(_))) => {}
                    Ok(Some(Event::Close(frame))) => {
                        let ending = frame.map(|frame| (frame.code.value(), frame.reason.into_owned()));
                        break Some(ending.unwrap_or_default());
                    }
                    Err(violation) => {
                        let reason = format!("the endpoint broke the rules: {violation}");
                        break Some((CloseCode::INTERNAL.value(), reason));
                    }
                }
            };
            for (kind, payload) in said {
                match kind {
                    Some(text) => writer.say(text, &payload).await,
                    // Answered by whoever writes: while that waits, the endpoint has to be heard still, or two that wait
                    // for each other would wait for ever. The last ping is the one that counts.
                    None => drop(asked.send_replace(payload)),
                }
            }
            if let Some(ending) = ending {
                let mut close = Vec::new();
                encode_close(&mut close, CloseCode::NORMAL, "", Some(nonce()));
                let _ = sink.write(&close).await;
                return ending;
            }
            self.input.resize(READ_BYTES, 0);
            match self.read.read(&mut self.input).await {
                Ok(count) if count > 0 => self.input.truncate(count),
                Ok(_) | Err(_) => return (SERVICE_RESTART, LOST.to_owned()),
            }
        }
    }
}
