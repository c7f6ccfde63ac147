//! How a client names its hub: `ws wss http https tcp tls unix`, parsed once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::address::{AddressError, Host, HostPort, unix_path};

/// The port of a hub where URL rules know none: "WHUB" on a telephone keypad.
pub const DEFAULT_PORT: u16 = 9482;

/// The address of a hub, as in `WHUB_SERVER`.
///
/// Where the port is missing, `ws` and `http` mean 80, `wss` and `https` 443, as everywhere else on the web
/// (RFC 6455, section 3), so a hub behind a web server needs none; `tcp` and `tls` mean [`DEFAULT_PORT`].
/// Where the path is missing, `/ws` is meant. There is no user, query or fragment: a secret in a URL ends up
/// in logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    scheme: Scheme,
    place: Place,
}

/// What is spoken once the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// HTTP/1.1 with an upgrade to WebSocket.
    WebSocket,
    /// The own protocol; outside TLS it begins with [`crate::preface::PREFACE`].
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scheme {
    Ws,
    Wss,
    Http,
    Https,
    Tcp,
    Tls,
    Unix,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Host { at: HostPort, path: String },
    Socket(PathBuf),
}

impl ServerUrl {
    /// The protocol of this URL: WebSocket for `ws wss http https`, the own one for `tcp tls unix`.
    #[must_use]
    pub fn wire(&self) -> Wire {
        match self.scheme {
            Scheme::Ws | Scheme::Wss | Scheme::Http | Scheme::Https => Wire::WebSocket,
            Scheme::Tcp | Scheme::Tls | Scheme::Unix => Wire::Own,
        }
    }

    /// Whether the stream is encrypted: `wss https tls`.
    #[must_use]
    pub fn tls(&self) -> bool {
        matches!(self.scheme, Scheme::Wss | Scheme::Https | Scheme::Tls)
    }

    /// The host; `None` for a Unix socket.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match &self.place {
            Place::Host { at, .. } => Some(&at.host),
            Place::Socket(_) => None,
        }
    }

    /// The port, given or implied; `None` for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Host { at, .. } => Some(at.port),
            Place::Socket(_) => None,
        }
    }

    /// The path of the WebSocket, `/ws` unless the URL says otherwise; empty where none is spoken.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.place {
            Place::Host { path, .. } => path,
            Place::Socket(_) => "",
        }
    }

    /// The path of the Unix socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Host { .. } => None,
            Place::Socket(path) => Some(path),
        }
    }

    /// The value of the `Host` header: the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Host { at, .. } if at.port == self.scheme.default_port() => at.host.to_string(),
            Place::Host { at, .. } => at.to_string(),
            Place::Socket(_) => "localhost".to_owned(),
        }
    }

    /// The same hub with another path, for plain WebSockets such as `/pair/<id>`. The path is taken as it is.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        let mut other = self.clone();
        if let Place::Host { path: old, .. } = &mut other.place {
            path.clone_into(old);
        }
        other
    }
}

impl Default for ServerUrl {
    /// `ws://127.0.0.1:9482/ws`.
    fn default() -> Self {
        let host = Host::Ip(std::net::Ipv4Addr::LOCALHOST.into());
        let at = HostPort { host, port: DEFAULT_PORT };
        Self { scheme: Scheme::Ws, place: Place::Host { at, path: "/ws".to_owned() } }
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':') else { return Err(UrlError::NoScheme) };
        let scheme = Scheme::parse(scheme, rest)?;
        if scheme == Scheme::Unix {
            return Ok(Self { scheme, place: Place::Socket(unix_path(rest)?) });
        }
        let Some(rest) = rest.strip_prefix("//") else { return Err(UrlError::NoScheme) };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = HostPort::split(authority)?;
        let at = HostPort { host, port: port.unwrap_or_else(|| scheme.default_port()) };
        if at.port == 0 {
            return Err(UrlError::PortZero);
        }
        Ok(Self { scheme, place: Place::Host { at, path: scheme.path(path)? } })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host { path, .. } => write!(f, "{}://{}{path}", self.scheme.name(), self.authority()),
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Scheme {
    fn parse(name: &str, rest: &str) -> Result<Self, UrlError> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            "http" => Self::Http,
            "https" => Self::Https,
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "unix" => Self::Unix,
            _ if rest.starts_with("//") => return Err(UrlError::Scheme(name.to_owned())),
            _ => return Err(UrlError::NoScheme),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Unix => "unix",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Ws | Self::Http => 80,
            Self::Wss | Self::Https => 443,
            Self::Tcp | Self::Tls | Self::Unix => DEFAULT_PORT,
        }
    }

    fn path(self, path: &str) -> Result<String, UrlError> {
        if path.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(UrlError::Path);
        }
        match (self, path) {
            (Self::Tcp | Self::Tls | Self::Unix, "" | "/") => Ok(String::new()),
            (Self::Tcp | Self::Tls | Self::Unix, _) => Err(UrlError::NoPathHere(self.name())),
            (Self::Ws | Self::Wss | Self::Http | Self::Https, "" | "/") => Ok("/ws".to_owned()),
            (Self::Ws | Self::Wss | Self::Http | Self::Https, path) => Ok(path.to_owned()),
        }
    }
}

/// What is wrong with a server URL. The URL itself is not repeated: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// No `scheme://`.
    #[error("a server is a URL such as ws://127.0.0.1:9482, wss://hub.example.org or unix:/run/whub.sock")]
    NoScheme,
    /// A scheme no hub speaks.
    #[error("`{0}` is no scheme of a hub; use ws, wss, http, https, tcp, tls or unix")]
    Scheme(String),
    /// `user:secret@host`.
    #[error("a server URL holds no user or password, they would end up in logs; use WHUB_TOKEN or --token")]
    User,
    /// `?query` or `#fragment`.
    #[error("a server URL has no `?` or `#` part; a token belongs into WHUB_TOKEN or --token")]
    Query,
    /// A path with something that must be percent-encoded.
    #[error("the path of a server URL has spaces, control or non-ASCII characters; percent-encode them")]
    Path,
    /// A path where none can be used.
    #[error("a {0} URL has no path")]
    NoPathHere(&'static str),
    /// Port 0 can be listened on, not dialled.
    #[error("port 0 cannot be dialled; use the port that the hub printed when it started")]
    PortZero,
    /// Host, port or socket path.
    #[error(transparent)]
    Address(#[from] AddressError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_people_write() {
        for (text, shown, port, path, tls, wire) in [
            ("ws://127.0.0.1:9482", "ws://127.0.0.1:9482/ws", 9482, "/ws", false, Wire::WebSocket),
            ("ws://127.0.0.1:9482/", "ws://127.0.0.1:9482/ws", 9482, "/ws", false, Wire::WebSocket),
            ("WS://Hub.Example.org", "ws://hub.example.org/ws", 80, "/ws", false, Wire::WebSocket),
            ("wss://hub.example.org", "wss://hub.example.org/ws", 443, "/ws", true, Wire::WebSocket),
            ("wss://hub:443/a/ws", "wss://hub/a/ws", 443, "/a/ws", true, Wire::WebSocket),
            ("http://hub", "http://hub/ws", 80, "/ws", false, Wire::WebSocket),
            (
                "https://[::1]:8443/pair/x",
                "https://[::1]:8443/pair/x",
                8443,
                "/pair/x",
                true,
                Wire::WebSocket,
            ),
            ("tcp://hub", "tcp://hub", 9482, "", false, Wire::Own),
            ("tls://hub:443/", "tls://hub:443", 443, "", true, Wire::Own),
        ] {
            let url: ServerUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(
                (url.port(), url.path(), url.tls(), url.wire()),
                (Some(port), path, tls, wire),
                "{text}"
            );
        }
    }

    #[test]
    fn a_unix_socket_has_neither_host_nor_path() {
        for text in ["unix:/run/whub.sock", "unix:///run/whub.sock"] {
            let url: ServerUrl = text.parse().expect(text);
            assert_eq!(url.socket(), Some(Path::new("/run/whub.sock")));
            assert_eq!((url.host(), url.port(), url.path(), url.wire()), (None, None, "", Wire::Own));
            assert_eq!(url.to_string(), "unix:/run/whub.sock");
        }
    }

    #[test]
    fn the_default_is_the_default_listener() {
        assert_eq!("ws://127.0.0.1:9482".parse::<ServerUrl>(), Ok(ServerUrl::default()));
    }

    #[test]
    fn another_path_of_the_same_hub() {
        assert_eq!(ServerUrl::default().with_path("/pair/7").to_string(), "ws://127.0.0.1:9482/pair/7");
    }

    #[test]
    fn mistakes_are_named_and_secrets_kept() {
        let wrong = |text: &str| text.parse::<ServerUrl>().expect_err(text);
        assert_eq!(wrong("hub.example.org"), UrlError::NoScheme);
        assert_eq!(wrong("127.0.0.1:9482"), UrlError::NoScheme);
        assert_eq!(wrong("ws:hub"), UrlError::NoScheme);
        assert_eq!(wrong("ftp://hub"), UrlError::Scheme("ftp".into()));
        assert_eq!(wrong("ws://me:secret@hub"), UrlError::User);
        assert_eq!(wrong("ws://hub?token=secret"), UrlError::Query);
        assert_eq!(wrong("ws://hub/ws#x"), UrlError::Query);
        assert_eq!(wrong("ws://hub/a b"), UrlError::Path);
        assert_eq!(wrong("tcp://hub/ws"), UrlError::NoPathHere("tcp"));
        assert_eq!(wrong("ws://hub:0"), UrlError::PortZero);
        assert_eq!(wrong("ws://"), UrlError::Address(AddressError::NoHost));
        assert_eq!(wrong("ws://::1:80"), UrlError::Address(AddressError::Unbracketed("::1:80".into())));
        assert_eq!(wrong("unix:"), UrlError::Address(AddressError::UnixPath(0)));
    }
}
