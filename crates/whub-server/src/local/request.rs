//! A call as its handler sees it.

use bytes::Bytes;
use whub_core::{Fault, Packet};
use whub_proto::names::{Pattern, ServicePath};
use whub_proto::{Body, Code, Flags, Format, Frame};

use crate::local::body::LocalBody;

/// A request to a service of this process.
#[derive(Debug)]
pub struct LocalRequest {
    /// The raw path, as the caller wrote it.
    pub path: String,
    /// The method of HTTP; empty where the caller named none.
    pub method: String,
    /// The raw query, without `?`.
    pub query: String,
    /// Names are lower-case and may repeat.
    pub headers: Vec<(String, String)>,
    /// What the `:name` segments of the pattern took, decoded, in order.
    pub params: Vec<(String, String)>,
    /// What `*rest` took, raw; empty where the pattern has none.
    pub rest: String,
    /// What the body is, as the caller says.
    pub format: Format,
    /// The body's first frame is text.
    pub is_text: bool,
    /// Who calls.
    pub caller: LocalCaller,
    /// The body.
    pub body: LocalBody,
}

/// Who calls, as the hub knows it; nobody can forge it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalCaller {
    /// The hub's name for the client.
    pub client: String,
    /// The token's name; empty for anonymous callers.
    pub user: String,
    /// The caller's address; empty where it has none.
    pub peer: String,
    /// The node that the caller is connected to.
    pub node: String,
}

impl LocalRequest {
    /// The first value of a header; ASCII case does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What the pattern's `:name` took, decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a key of the query, decoded as forms are.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| {
            let spaced = value.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        })
    }

    /// The whole body.
    ///
    /// # Errors
    /// `TooLarge` beyond `bytes_max`.
    pub async fn bytes(&mut self, bytes_max: usize) -> Result<Bytes, Fault> {
        self.body.whole(bytes_max).await
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// `TooLarge` beyond `bytes_max`, `BadRequest` for what is no such JSON.
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self, bytes_max: usize) -> Result<T, Fault> {
        let bytes = self.bytes(bytes_max).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Fault::fatal(
                Code::BadRequest,
                "request.json",
                format!("the body is not the JSON wanted here: {error}"),
            )
        })
    }

    /// Reads the frame that the hub made of the caller's.
    pub(super) fn new(packet: &Packet, pattern: &Pattern, body: LocalBody) -> Result<Self, Fault> {
        let frame = packet.frame().map_err(|error| unreadable(error.to_string()))?;
        let Frame { body: Body::Request(request), head, via, .. } = frame else {
            return Err(unreadable(format!("a call began with {:?}", frame.head.kind)));
        };
        let via = via.unwrap_or_default();
        let path = ServicePath::parse(request.path).map_err(|error| unreadable(error.to_string()))?;
        let captures = pattern.captures(&path).unwrap_or_default();
        let params = captures.params.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
        Ok(Self {
            path: request.path.to_owned(),
            method: request.method.to_owned(),
            query: request.query.to_owned(),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            params: params.collect(),
            rest: captures.rest.unwrap_or_default().to_owned(),
            format: request.format,
            is_text: head.flags.contains(Flags::TEXT),
            caller: LocalCaller {
                client: via.client.to_owned(),
                user: via.user.to_owned(),
                peer: via.peer.to_owned(),
                node: via.node.to_owned(),
            },
            body,
        })
    }
}

fn unreadable(why: String) -> Fault {
    Fault::fatal(Code::Internal, "local.request", why)
}
