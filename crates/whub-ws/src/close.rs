//! Closing (RFC 6455 sections 5.5.1 and 7): codes, the body of a Close frame, and who may hang up when.

use std::borrow::Cow;

use crate::{Role, Violation, frame::CONTROL_BYTES_MAX};

/// Bytes of the longest reason that fits a Close frame beside its code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// A close code that may appear on the wire (RFC 6455 section 7.4 and IANA's registry). 1005, 1006 and 1015,
/// which are only ever local, cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server stops, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this side does not take, such as binary where text is spoken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: data that does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: against the rules of this side, when no other code fits.
    pub const POLICY: Self = Self(1008);
    /// 1009: longer than this side takes.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: this side failed.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: overloaded, try again later.
    pub const TRY_LATER: Self = Self(1013);

    /// The code with this number, unless it must not appear on the wire.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }
}

/// What the body of a Close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why, as a number.
    pub code: CloseCode,
    /// Why, in words; often empty, at most [`REASON_BYTES_MAX`] bytes.
    pub reason: Cow<'a, str>,
}

impl<'a> CloseFrame<'a> {
    /// Reads the body of a Close frame; an empty body has no code.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Option<Self>, Violation> {
        if body.is_empty() {
            return Ok(None);
        }
        let Some((code, reason)) = body.split_first_chunk::<2>() else { return Err(Violation::CloseBody) };
        let number = u16::from_be_bytes(*code);
        let code = CloseCode::new(number).ok_or(Violation::CloseCode(number))?;
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
        Ok(Some(Self { code, reason: Cow::Borrowed(reason) }))
    }

    /// The same with a reason of its own.
    #[must_use]
    pub fn into_owned(self) -> CloseFrame<'static> {
        CloseFrame { code: self.code, reason: Cow::Owned(self.reason.into_owned()) }
    }
}

/// The closing handshake of one connection (RFC 6455 section 7.1): each side sends one Close frame, then the
/// server hangs up. Tell it of every Close that is sent or received; it says what to send and when to hang up.
///
/// ```
/// use whub_ws::{CloseCode, Closing, Role};
///
/// let mut closing = Closing::new(Role::Server);
/// assert!(closing.start(), "send a Close frame now");
/// assert!(!closing.may_send(), "and nothing after it");
/// assert!(!closing.receive(), "the peer's answer needs no answer");
/// assert!(closing.may_hang_up());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    role: Role,
    sent: bool,
    received: bool,
}

impl Closing {
    /// An open connection, seen by the side that plays `role`.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, sent: false, received: false }
    }

    /// This side wants to close, or must because of a [`Violation`]. Whether to send a Close frame: not if one
    /// was sent already.
    #[must_use]
    pub const fn start(&mut self) -> bool {
        let first = !self.sent;
        self.sent = true;
        first
    }

    /// A Close frame arrived. Whether to answer with one, best with the same code ([`crate::encode_close_reply`]).
    #[must_use]
    pub const fn receive(&mut self) -> bool {
        self.received = true;
        self.start()
    }

    /// Whether frames may still be sent: nothing follows a Close frame, not even a Pong.
    #[must_use]
    pub const fn may_send(&self) -> bool {
        !self.sent
    }

    /// Whether this side has sent its Close and only waits for the peer's. Data that arrives meanwhile is to be
    /// read and may be ignored; the wait needs a deadline.
    #[must_use]
    pub const fn awaits_peer(&self) -> bool {
        self.sent && !self.received
    }

    /// Whether this side may close the transport in order, once what it has sent is flushed. A client leaves it
    /// to the server, under a deadline, so that the server's port does not linger in TIME_WAIT at the wrong end.
    #[must_use]
    pub const fn may_hang_up(&self) -> bool {
        self.sent && self.received && matches!(self.role, Role::Server)
    }

    /// Whether both Close frames have passed: when the transport ends now, it ended cleanly.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.sent && self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_appear_on_the_wire() {
        let legal: Vec<u16> = (0..=u16::MAX).filter(|code| CloseCode::new(*code).is_some()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(legal, expected);
    }

    #[test]
    fn bodies() {
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        assert_eq!(CloseFrame::parse(&[0x03]), Err(Violation::CloseBody));
        assert_eq!(CloseFrame::parse(&[0x03, 0xed]), Err(Violation::CloseCode(1005)));
        assert_eq!(CloseFrame::parse(&[0x03, 0xe8, 0xff]), Err(Violation::Utf8));
        let bye = CloseFrame { code: CloseCode::NORMAL, reason: "bye".into() };
        assert_eq!(CloseFrame::parse(b"\x03\xe8bye"), Ok(Some(bye)));
    }

    #[test]
    fn each_side_sends_one_close_and_the_server_hangs_up() {
        let (mut server, mut client) = (Closing::new(Role::Server), Closing::new(Role::Client));
        assert!(client.start(), "the client sends");
        assert!(client.awaits_peer() && !client.is_clean());
        assert!(server.receive(), "the server answers");
        assert!(server.may_hang_up());
        assert!(!client.receive(), "the client does not answer the answer");
        assert!(client.is_clean() && !client.may_hang_up());
    }

    #[test]
    fn closes_that_cross_are_not_answered() {
        let mut server = Closing::new(Role::Server);
        assert!(server.start());
        assert!(!server.receive());
        assert!(!server.start());
        assert!(server.may_hang_up());
    }
}
