//! Just enough HTTP to ask a hub about itself.
//!
//! Requests are HTTP/1.0, so that the answer ends with its connection and comes without chunks.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use whub_server::config::Secret;
use whub_transport::{Alpn, DialError, DialOptions, Dialer, ServerUrl, Stream, Trust};

use crate::exit::{Exit, Failure};

/// The deadline of a request, connection included.
const WITHIN: Duration = Duration::from_secs(10);

/// A hub whose events pause says something every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest answer that is read; of events, the longest line.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Header fields of an answer.
const FIELDS_MAX: usize = 64;

/// Longest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The hub's HTTP side.
#[derive(Debug)]
pub(crate) struct HttpHub {
    pub(crate) url: ServerUrl,
    pub(crate) trust: Trust,
    pub(crate) token: Option<Secret>,
}

impl HttpHub {
    /// Asks for `path` and gives the body of an answer with status 200.
    pub(crate) async fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.ask("GET", path, WITHIN).await
    }

    /// Asks for something to be ended, and gives the body of an answer with status 200.
    pub(crate) async fn delete(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.ask("DELETE", path, WITHIN).await
    }

    /// Asks for something to be done within that time, and gives the body of an answer with status 200.
    pub(crate) async fn post(&self, path: &str, within: Duration) -> Result<Vec<u8>, Failure> {
        self.ask("POST", path, within).await
    }

    /// Asks for `path` and gives the events that the answer is made of.
    pub(crate) async fn events(&self, path: &str) -> Result<Events, Failure> {
        let opened = async {
            let mut stream = self.send("GET", path).await?;
            let (status, begun) = self.head(&mut stream).await?;
            if status != 200 {
                let mut body = begun;
                let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut body).await;
                read.map_err(|error| self.broken(&error))?;
                return Err(self.refused(path, status, &body));
            }
            let url = self.url.clone();
            Ok(Events { url, lines: BufReader::new(Box::new(std::io::Cursor::new(begun).chain(stream))) })
        };
        tokio::time::timeout(WITHIN, opened).await.map_err(|_| self.late(WITHIN))?
    }

    async fn ask(&self, method: &str, path: &str, within: Duration) -> Result<Vec<u8>, Failure> {
        let asked = async {
            let mut stream = self.send(method, path).await?;
            let (status, mut body) = self.head(&mut stream).await?;
            let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut body).await;
            read.map_err(|error| self.broken(&error))?;
            if status == 200 { Ok(body) } else { Err(self.refused(path, status, &body)) }
        };
        tokio::time::timeout(within, asked).await.map_err(|_| self.late(within))?
    }

    async fn send(&self, method: &str, path: &str) -> Result<Stream, Failure> {
        let options =
            DialOptions { connect_within: WITHIN, trust: self.trust.clone(), alpn: Some(Alpn::Http1) };
        let dialled = Dialer::new(self.url.clone(), options).connect().await;
        let mut stream = dialled.map_err(|error| unreachable(&error))?;
        let host = self.url.authority();
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
        let token = token.unwrap_or_default();
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n{token}\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| self.broken(&error))?;
        Ok(stream)
    }

    /// Status of the answer, and what has come of its body.
    async fn head(&self, stream: &mut Stream) -> Result<(u16, Vec<u8>), Failure> {
        let mut came = Vec::new();
        loop {
            match split(&came) {
                Ok(Some((status, length))) => return Ok((status, came.split_off(length))),
                Ok(None) if came.len() < HEAD_BYTES_MAX => {}
                Ok(None) | Err(_) => return Err(self.no_hub()),
            }
            if stream.read_buf(&mut came).await.map_err(|error| self.broken(&error))? == 0 {
                return Err(self.no_hub());
            }
        }
    }

    /// What the hub says in the words of its problem document, if it is one.
    fn refused(&self, path: &str, status: u16, body: &[u8]) -> Failure {
        let problem: Option<Value> = serde_json::from_slice(body).ok();
        let text =
            |name: &str| problem.as_ref().and_then(|problem| problem.get(name)).and_then(Value::as_str);
        let (slug, detail) = (text("slug"), text("detail"));
        let url = &self.url;
        let said = detail.map(str::to_owned);
        match status {
            401 | 403 => {
                let said = said.unwrap_or_else(|| format!("{url} wants a token that permits this"));
                let advice = "set WHUB_TOKEN, or name a file with --token-file";
                Failure::new(Exit::Denied, said).try_this(advice)
            }
            409 if slug == Some("config.problems") => Failure::new(Exit::Usage, said.unwrap_or_default()),
            503 if said.is_some() => Failure::new(Exit::Unavailable, said.unwrap_or_default()),
            404 if said.is_some() => Failure::new(Exit::NotFound, said.unwrap_or_default()),
            status => {
                let said = said.unwrap_or_else(|| "is it a hub?".to_owned());
                Failure::new(Exit::Failed, format!("{url} answered {path} with status {status}: {said}"))
            }
        }
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("the connection to {} broke: {error}", self.url))
    }

    fn no_hub(&self) -> Failure {
        Failure::new(Exit::Failed, format!("what answers at {} is no hub", self.url))
    }

    fn late(&self, within: Duration) -> Failure {
        Failure::new(Exit::Timeout, format!("{} did not answer within {within:?}", self.url))
    }
}

/// Server-sent events as they come.
pub(crate) struct Events {
    url: ServerUrl,
    lines: BufReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
}

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Events {
    /// The next event; `None` when the hub has ended them.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            let mut lines = (&mut self.lines).take(ANSWER_BYTES_MAX);
            let lost = |how: String| {
                Failure::new(Exit::Unreachable, format!("the connection to {} {how}", self.url))
            };
            let read = tokio::time::timeout(SILENCE, lines.read_line(&mut line)).await;
            let read = read.map_err(|_| lost(format!("has been silent for {SILENCE:?}")))?;
            let count = read.map_err(|error| lost(format!("broke: {error}")))?;
            if count == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(name) = line.strip_prefix("event: ") {
                event.name = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(data);
            } else if line.is_empty() && !event.name.is_empty() {
                return Ok(Some(event));
            }
        }
    }
}

/// Status, and where the body begins; nothing while the head is not whole.
fn split(answer: &[u8]) -> Result<Option<(u16, usize)>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    Ok(match head.parse(answer)? {
        httparse::Status::Complete(length) => head.code.map(|code| (code, length)),
        httparse::Status::Partial => None,
    })
}

fn unreachable(error: &DialError) -> Failure {
    let exit = match error {
        DialError::Trust(_) => Exit::Usage,
        DialError::Late { .. } => Exit::Timeout,
        DialError::Unknown { .. } | DialError::Unreachable { .. } => Exit::Unreachable,
        DialError::Tls { .. } | DialError::NotAHub { .. } => Exit::Unreachable,
    };
    Failure::new(exit, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split() {
        assert_eq!(split(b"HTTP/1.0 200 OK\r\na: b\r\n\r\nbody"), Ok(Some((200, 25))));
        assert_eq!(split(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Ok(Some((503, 36))));
        for partial in [&b""[..], b"HTTP/1.1 200 OK\r\na: b\r\n"] {
            assert_eq!(split(partial), Ok(None));
        }
        for broken in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"\x0e\x57\x48\x42\x01"] {
            assert!(split(broken).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_says_nothing_is_lost() {
        let (hub, mine) = tokio::io::duplex(64);
        let mut events = Events { url: "ws://h".parse().unwrap(), lines: BufReader::new(Box::new(mine)) };
        let lost = events.next().await.unwrap_err();
        assert_eq!(lost.exit, Exit::Unreachable);
        assert_eq!(lost.message, "the connection to ws://h/ws has been silent for 60s");
        drop(hub);
    }

    #[tokio::test]
    async fn events_are_read() {
        let text = "retry: 2000\n\nevent: a\ndata: 1\n\n:\n\nevent: b\ndata: 2\ndata: 3\n\nevent: cut";
        let lines: Box<dyn tokio::io::AsyncRead + Send + Unpin> = Box::new(text.as_bytes());
        let mut events = Events { url: "ws://h".parse().unwrap(), lines: BufReader::new(lines) };
        for (name, data) in [("a", "1"), ("b", "2\n3")] {
            let event = Event { name: name.to_owned(), data: data.to_owned() };
            assert_eq!(events.next().await.unwrap(), Some(event));
        }
        assert_eq!(events.next().await.unwrap(), None);
    }
}
