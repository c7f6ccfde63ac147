//! Just enough HTTP to ask a hub about itself.
//!
//! Requests are HTTP/1.0, so that the answer ends with its connection and comes without chunks.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_server::config::Secret;
use whub_transport::{Alpn, DialError, DialOptions, Dialer, ServerUrl, Trust};

use crate::exit::{Exit, Failure};

/// The deadline of a request, connection included.
const WITHIN: Duration = Duration::from_secs(10);

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Header fields of an answer.
const FIELDS_MAX: usize = 64;

/// Asks for `path` and gives the body of an answer with status 200.
pub(crate) async fn get(
    url: &ServerUrl,
    trust: Trust,
    token: Option<&Secret>,
    path: &str,
) -> Result<Vec<u8>, Failure> {
    let asked = tokio::time::timeout(WITHIN, exchange(url, trust, token, path)).await;
    let answer = asked
        .map_err(|_| Failure::new(Exit::Timeout, format!("{url} did not answer within {WITHIN:?}")))??;
    let (status, body) = split(&answer).ok_or_else(|| no_hub(url))?;
    match status {
        200 => Ok(body.to_vec()),
        401 | 403 => Err(Failure::new(Exit::Denied, format!("{url} wants a token that permits this"))
            .try_this("set WHUB_TOKEN, or name a file with --token-file")),
        status => Err(Failure::new(
            Exit::Failed,
            format!("{url} answered {path} with status {status}; is it a hub?"),
        )),
    }
}

async fn exchange(
    url: &ServerUrl,
    trust: Trust,
    token: Option<&Secret>,
    path: &str,
) -> Result<Vec<u8>, Failure> {
    let options = DialOptions { connect_within: WITHIN, trust, alpn: Some(Alpn::Http1) };
    let mut stream =
        Dialer::new(url.clone(), options).connect().await.map_err(|error| unreachable(&error))?;
    let host = url.authority();
    let token =
        token.map(|token| format!("Authorization: Bearer {}\r\n", token.expose())).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{token}\r\n");
    let mut answer = Vec::new();
    let written = stream.write_all(request.as_bytes()).await;
    let read = match written {
        Ok(()) => stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await,
        Err(error) => Err(error),
    };
    read.map_err(|error| Failure::new(Exit::Unreachable, format!("the connection to {url} broke: {error}")))?;
    Ok(answer)
}

/// Status and body.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer).ok()? else { return None };
    Some((head.code?, answer.get(length..)?))
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

fn no_hub(url: &ServerUrl) -> Failure {
    Failure::new(Exit::Failed, format!("what answers at {url} is no hub"))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn answers_are_split() {
        assert_eq!(split(b"HTTP/1.0 200 OK\r\na: b\r\n\r\nbody"), Some((200, &b"body"[..])));
        assert_eq!(split(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Some((503, &b""[..])));
        for broken in
            [&b""[..], b"HTTP/1.1 200 OK\r\na: b\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x0e\x57\x48\x42\x01"]
        {
            assert_eq!(split(broken), None);
        }
    }
}
