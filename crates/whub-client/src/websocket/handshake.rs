//! The opening handshake on a stream.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_transport::{ReadHalf, WriteHalf};
use whub_ws::{deflate::Agreement, handshake::Request};

use super::{Opening, WebSocketError};

/// Longest head of a response, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most fields of a response.
const FIELDS_MAX: usize = 64;
/// Of the body of a refusal no more is shown than this, bytes.
const REASON_BYTES_MAX: usize = 512;

/// What both sides agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) protocol: Option<String>,
    pub(super) deflate: Option<Agreement>,
    /// Bytes of frames that came right behind the head.
    pub(super) early: Vec<u8>,
}

pub(super) async fn open(
    read: &mut ReadHalf,
    write: &mut WriteHalf,
    opening: &Opening<'_>,
) -> Result<Agreed, WebSocketError> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(WebSocketError::Random)?;
    let request = Request {
        authority: opening.authority,
        target: opening.target,
        nonce,
        protocols: opening.protocols,
        deflate: opening.deflate,
        headers: opening.headers,
    };
    write.write_all(&request.encode()?).await?;
    write.flush().await?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if read.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        if let Some(agreed) = judge(&request, &bytes)? {
            return Ok(agreed);
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(WebSocketError::NotHttp);
        }
    }
}

/// `None` while the head is incomplete.
fn judge(request: &Request<'_>, bytes: &[u8]) -> Result<Option<Agreed>, WebSocketError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let head_len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(WebSocketError::NotHttp),
    };
    let (Some(status), rest) = (response.code, &bytes[head_len..]) else {
        return Err(WebSocketError::NotHttp);
    };
    if status != 101 {
        return Err(refusal(status, response.headers, rest));
    }
    let headers = response.headers.iter().map(|field| (field.name, field.value));
    let established = request.verify(status, headers)?;
    Ok(Some(Agreed {
        protocol: established.protocol.map(str::to_owned),
        deflate: established.deflate,
        early: rest.to_vec(),
    }))
}

fn refusal(status: u16, headers: &[httparse::Header<'_>], body: &[u8]) -> WebSocketError {
    let field = |name: &str| {
        let found = headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let is_text =
        field("content-type").is_some_and(|kind| kind.starts_with("text/plain") || kind.contains("json"));
    let body = if is_text { &body[..body.len().min(REASON_BYTES_MAX)] } else { &[] };
    WebSocketError::Refused {
        status,
        reason: reason(body),
        retry_after: field("retry-after").and_then(|value| value.trim().parse().ok()),
    }
}

/// The sentence of a problem document (RFC 9457), or the text itself.
fn reason(body: &[u8]) -> String {
    let Ok(problem) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::from_utf8_lossy(body).trim().to_owned();
    };
    let member = ["detail", "message", "title"].into_iter().find_map(|name| problem.get(name)?.as_str());
    member.unwrap_or_default().to_owned()
}
