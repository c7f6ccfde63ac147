//! A connection that carries whole frames: in WebSocket messages, or behind their lengths on a byte stream.
//!
//! Left to others: what the frames mean ([`crate::session`]) and how long to wait for them.

mod reader;
mod writer;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use whub_proto::Code;
use whub_transport::{ServerUrl, Stream, Wire, preface::PREFACE};
use whub_ws::{CloseFrame, Limits};

use crate::error::Error;
use crate::websocket::{Opening, WebSocket, WebSocketError};

pub(crate) use reader::{LinkReader, detach};
pub(crate) use writer::LinkWriter;

/// The binary form of the protocol.
const SUBPROTOCOL: &str = "whub.v1";

/// One thing that arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A frame; not looked into yet.
    Frame(Bytes),
    /// A ping of the WebSocket below, to be answered.
    Ping(Bytes),
    /// Another sign of life.
    Sign,
    /// The hub ends the connection, and perhaps says why.
    Close(Option<CloseFrame<'static>>),
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) reader: LinkReader,
    pub(crate) writer: LinkWriter,
}

impl Link {
    /// Begins the protocol of `url` on a fresh stream. `frame_bytes_max` is the longest frame to take, bytes.
    pub(crate) async fn open(stream: Stream, url: &ServerUrl, frame_bytes_max: usize) -> Result<Self, Error> {
        match url.wire() {
            Wire::WebSocket => Self::open_websocket(stream, url, frame_bytes_max).await,
            Wire::Own => Self::open_own(stream, url.tls(), frame_bytes_max).await,
        }
    }

    async fn open_websocket(stream: Stream, url: &ServerUrl, frame_bytes_max: usize) -> Result<Self, Error> {
        let authority = url.authority();
        let opening = Opening {
            authority: &authority,
            target: url.path(),
            protocols: &[SUBPROTOCOL],
            deflate: None,
            headers: &[("User-Agent", crate::AGENT)],
            limits: Limits { message_bytes: frame_bytes_max, frame_bytes: frame_bytes_max },
        };
        let socket = WebSocket::open(stream, &opening).await.map_err(|error| refused(error, url))?;
        if socket.protocol.as_deref() != Some(SUBPROTOCOL) {
            return Err(Error::protocol(format!("{url} is a WebSocket but does not speak `{SUBPROTOCOL}`")));
        }
        Ok(Self {
            reader: LinkReader::WebSocket(socket.reader),
            writer: LinkWriter::WebSocket(socket.writer),
        })
    }

    async fn open_own(stream: Stream, tls: bool, frame_bytes_max: usize) -> Result<Self, Error> {
        let (read, mut write) = stream.split();
        if !tls {
            write.write_all(&PREFACE).await.map_err(lost)?;
            write.flush().await.map_err(lost)?;
        }
        Ok(Self { reader: LinkReader::own(read, frame_bytes_max), writer: LinkWriter::own(write) })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "codes are open, and so are HTTP statuses")]
/// Why there is no WebSocket at this URL, in the words of a hub's codes.
fn refused(error: WebSocketError, url: &ServerUrl) -> Error {
    let WebSocketError::Refused { status, reason, retry_after } = &error else {
        return broken(error);
    };
    let said = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let refused = match Code::from(*status) {
        Code::NotFound => Error::from_code(Code::NotFound, format!("there is no hub at {url} (404{said})")),
        Code::Unavailable | Code::TooManyRequests => {
            let pause = std::time::Duration::from_secs(retry_after.unwrap_or(1));
            Error::unavailable(format!("the server at {url} is too busy ({status}{said})"), pause)
        }
        code => {
            Error::from_code(code, format!("the server at {url} refused the connection ({status}{said})"))
        }
    };
    refused.with_source(error)
}

/// What the end of a WebSocket means for those who waited.
pub(crate) fn broken(error: WebSocketError) -> Error {
    match &error {
        WebSocketError::Violation(violation) => Error::protocol(violation.to_string()),
        WebSocketError::Io(_) | WebSocketError::Random(_) => Error::lost(error.to_string()),
        WebSocketError::NotHttp | WebSocketError::Handshake(_) | WebSocketError::Refused { .. } => {
            Error::protocol(error.to_string())
        }
    }
    .with_source(error)
}

fn lost(error: std::io::Error) -> Error {
    Error::lost(format!("the connection was lost: {error}")).with_source(error)
}

/// What a Close frame tells those who waited.
pub(crate) fn closed(frame: Option<&CloseFrame<'_>>) -> Error {
    let Some(frame) = frame else { return Error::lost("the hub closed the connection") };
    let (number, reason) = (frame.code.value(), &frame.reason);
    let sentence = |said: &str| match reason.is_empty() {
        true => format!("{said} ({number})"),
        false => format!("{said} ({number}): {reason}"),
    };
    match number {
        1002 | 1003 | 1007..=1010 => {
            Error::protocol(sentence("the hub says that this client broke the protocol"))
        }
        3000 => Error::from_code(Code::Unauthorized, sentence("the hub wants other credentials")),
        3003 => Error::from_code(Code::Forbidden, sentence("the hub forbids this")),
        4400..=4999 => {
            let code = Code::from(number - 4000);
            Error::from_code(code, sentence("the hub closed the connection"))
        }
        _ => Error::lost(sentence("the hub closed the connection")),
    }
}

#[cfg(test)]
mod tests {
    use whub_ws::CloseCode;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn close_codes_say_whether_to_come_back() {
        for (number, kind, fatal) in [
            (1000, ErrorKind::ConnectionLost, false),
            (1001, ErrorKind::ConnectionLost, false),
            (1002, ErrorKind::ProtocolError, true),
            (4401, ErrorKind::Unauthorized, true),
            (4403, ErrorKind::Forbidden, true),
            (4602, ErrorKind::RemoteError, false),
            (4603, ErrorKind::RemoteError, true),
            (4604, ErrorKind::Unavailable, false),
            (4605, ErrorKind::ProtocolError, true),
        ] {
            let code = CloseCode::new(number).expect("a legal code");
            let error = closed(Some(&CloseFrame { code, reason: "why".into() }));
            assert_eq!((error.kind(), error.is_fatal()), (kind, fatal), "{number}");
            assert!(error.reason().contains("why"));
        }
        assert_eq!(closed(None).kind(), ErrorKind::ConnectionLost);
    }
}
