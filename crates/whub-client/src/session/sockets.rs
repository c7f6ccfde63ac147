//! WebSockets of calls, whichever side of the call is ours.

use bytes::Bytes;
use tokio::sync::mpsc;
use whub_proto::{Body, Data, Flags};

use super::{Live, Session};
use crate::body::Piece;
use crate::command::Word;
use crate::credit::Credit;
use crate::key::Key;
use crate::socket::SocketClose;

/// Which sides of a WebSocket have said their last word. The call lives until both have.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ends {
    ours: bool,
    theirs: bool,
}

impl Ends {
    pub(super) fn are_both(self) -> bool {
        self.ours && self.theirs
    }

    pub(super) fn is_theirs(self) -> bool {
        self.theirs
    }

    /// A frame of the other side. After its close there is nothing more to say to it than ours.
    pub(super) fn hear(
        &mut self,
        pieces: &mpsc::UnboundedSender<Piece>,
        credit: &Credit,
        flags: Flags,
        data: &Data<'_>,
        payload: Bytes,
    ) {
        if self.theirs {
            return;
        }
        let end = flags.contains(Flags::END);
        let (text, more) = (flags.contains(Flags::TEXT), flags.contains(Flags::MORE));
        // Who does not listen has dropped the other end.
        if !(end && payload.is_empty()) {
            let _ = pieces.send(Piece::Part { payload, text, more });
        }
        if end {
            self.theirs = true;
            credit.close();
            let _ =
                pieces.send(Piece::Close(SocketClose { code: data.close, reason: data.reason.to_owned() }));
        }
    }
}

impl Session {
    /// A word of ours.
    pub(crate) fn speak(&mut self, key: Key, word: &Word) {
        let Some(&id) = self.ids.get(&key) else { return };
        match word {
            Word::Part { payload, text, more } => {
                let kind = Flags::NONE.with_if(*text, Flags::TEXT);
                let last = kind.with_if(*more, Flags::MORE);
                self.outbox.push_split(
                    id,
                    last,
                    kind.with_if(true, Flags::MORE),
                    payload,
                    self.frame_bytes_max,
                );
            }
            Word::Close { code, reason } => self.close_socket(id, *code, reason),
        }
    }

    /// The handler is done with its WebSocket, whether it closed it or not.
    pub(super) fn end_socket(&mut self, id: u64) {
        let said = self.served.get(&id).and_then(|serving| serving.socket).is_some_and(|ends| ends.ours);
        if !said {
            self.close_socket(id, NORMAL, "");
        }
        self.end_serving(id);
    }

    fn close_socket(&mut self, id: u64, code: u16, reason: &str) {
        self.outbox.push(id, Flags::END, &Body::Data(Data { close: code, reason, ..Data::default() }));
        if let Some(Live::Call(calling)) = self.live.get_mut(&id) {
            let Some(ends) = &mut calling.socket else { return };
            ends.ours = true;
            if ends.are_both() {
                self.end_call(id);
            }
        } else if let Some(serving) = self.served.get_mut(&id) {
            let Some(ends) = &mut serving.socket else { return };
            ends.ours = true;
            if ends.are_both() {
                self.end_serving(id);
            }
        }
    }
}

/// RFC 6455 section 7.4.1: the purpose is fulfilled.
const NORMAL: u16 = 1000;
