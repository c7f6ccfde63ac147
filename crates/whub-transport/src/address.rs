//! Where a hub listens: `HOST:PORT`, `[::1]:PORT` or `unix:PATH`, parsed once.
//!
//! Parsing asks no name server; [`crate::Listener::bind`] does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP port of a host. Port 0 lets the system choose.
    Tcp(HostPort),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether peers of other machines could reach it.
    ///
    /// Only loopback addresses, the name `localhost` and Unix sockets are private; any other name counts as
    /// public, because what it resolves to may change.
    #[must_use]
    pub fn is_public(&self) -> bool {
        match self {
            Self::Tcp(at) => !at.host.is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(unix_path(path)?));
        }
        if text.contains("://") {
            return Err(AddressError::Url(text.to_owned()));
        }
        text.parse().map(Self::Tcp)
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(at: SocketAddr) -> Self {
        Self::Tcp(HostPort { host: Host::Ip(at.ip()), port: at.port() })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(f, "{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A host and a port, as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// An address or a name.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Splits `HOST[:PORT]`. An IPv6 address stands in brackets.
    ///
    /// # Errors
    /// When the host is missing, the port is not a number, or an IPv6 address lacks its brackets.
    pub fn split(text: &str) -> Result<(Host, Option<u16>), AddressError> {
        if let Some(rest) = text.strip_prefix('[') {
            let Some((inside, after)) = rest.split_once(']') else {
                return Err(AddressError::Bracket(text.to_owned()));
            };
            let ip: Ipv6Addr = inside.parse().map_err(|_| AddressError::Host(inside.to_owned()))?;
            return Ok((Host::Ip(IpAddr::V6(ip)), port_after(after, text)?));
        }
        if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 {
            return Err(AddressError::Unbracketed(text.to_owned()));
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port, text)?)),
            None => (text, None),
        };
        Ok((host.parse()?, port))
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = Self::split(text)?;
        let Some(port) = port else { return Err(AddressError::NoPort(text.to_owned())) };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An address or a name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A name still to be resolved.
    Name(String),
}

impl Host {
    /// Whether it can only mean this machine. `localhost` and its subdomains do (RFC 6761, section 6.3).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.to_canonical().is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// The addresses it means, without asking anyone: its own, or loopback for `localhost`.
    ///
    /// `localhost` is never looked up, so that nobody's name server decides whether a hub is public.
    #[must_use]
    pub fn known_addresses(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::Ip(ip) => Some(vec![*ip]),
            Self::Name(_) if self.is_loopback() => {
                Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
            }
            Self::Name(_) => None,
        }
    }

    /// The addresses it means; a name is looked up.
    ///
    /// # Errors
    /// What the resolver said, or `NotFound` when it knew no address.
    pub(crate) async fn resolve(&self, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        if let Some(known) = self.known_addresses() {
            return Ok(known.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        }
        let Self::Name(name) = self else { return Ok(Vec::new()) };
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), port)).await?.collect();
        if found.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::NoHost);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        // `256.1.1.1` is a mistyped address and must not become a question to a name server.
        if numeric || text.len() > 253 || !text.bytes().all(legal) {
            return Err(AddressError::Host(text.to_owned()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What is wrong with an address, for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing before the colon.
    #[error("the host is missing; write 127.0.0.1:PORT for this machine only or [::]:PORT for every address")]
    NoHost,
    /// Nothing after the host.
    #[error("`{0}` has no port; write HOST:PORT, for example 127.0.0.1:9482 (port 0 lets the system choose)")]
    NoPort(String),
    /// The port is not a number from 0 to 65535.
    #[error("`{0}` has no valid port: a port is a number from 0 to 65535")]
    Port(String),
    /// Neither an address nor a name.
    #[error("`{0}` is neither an IP address nor a host name")]
    Host(String),
    /// `[` without `]`, or something else than a port after it.
    #[error("`{0}` has a bracket in the wrong place; write [::1]:PORT")]
    Bracket(String),
    /// An IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets: write [ADDRESS]:PORT instead of `{0}`")]
    Unbracketed(String),
    /// A URL where an address is wanted.
    #[error("`{0}` is a URL; an address to listen on is HOST:PORT or unix:PATH")]
    Url(String),
    /// `unix:` with nothing behind it, or more than the system takes.
    #[error("a Unix socket's path has 1 to 107 bytes, this one has {0}")]
    UnixPath(usize),
}

/// The path after `unix:`. `unix:/run/hub.sock`, `unix:hub.sock` and the URL form `unix:///run/hub.sock`.
pub(crate) fn unix_path(text: &str) -> Result<PathBuf, AddressError> {
    let path = text.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(text);
    // The field of `sockaddr_un` has 108 bytes, the last of which is a zero.
    if path.is_empty() || path.len() > 107 {
        return Err(AddressError::UnixPath(path.len()));
    }
    Ok(PathBuf::from(path))
}

fn port_after(after: &str, whole: &str) -> Result<Option<u16>, AddressError> {
    if after.is_empty() {
        return Ok(None);
    }
    let Some(port) = after.strip_prefix(':') else { return Err(AddressError::Bracket(whole.to_owned())) };
    parse_port(port, whole).map(Some)
}

fn parse_port(port: &str, whole: &str) -> Result<u16, AddressError> {
    let wrong = || AddressError::Port(whole.to_owned());
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    port.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_people_write() {
        for (text, shown, public) in [
            ("127.0.0.1:9482", "127.0.0.1:9482", false),
            (" 127.8.0.1:0 ", "127.8.0.1:0", false),
            ("0.0.0.0:9482", "0.0.0.0:9482", true),
            ("[::1]:9482", "[::1]:9482", false),
            ("[::]:9482", "[::]:9482", true),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", false),
            ("localhost:80", "localhost:80", false),
            ("LocalHost:80", "localhost:80", false),
            ("hub.example.org:443", "hub.example.org:443", true),
            ("localhost.example.org:443", "localhost.example.org:443", true),
            ("192.168.1.4:9482", "192.168.1.4:9482", true),
            ("unix:/run/whub.sock", "unix:/run/whub.sock", false),
            ("unix:///run/whub.sock", "unix:/run/whub.sock", false),
            ("unix:whub.sock", "unix:whub.sock", false),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_public(), public, "{text}");
            assert_eq!(shown.parse::<ListenAddress>().as_ref(), Ok(&address), "what is shown can be typed");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| text.parse::<ListenAddress>().expect_err(text);
        assert_eq!(wrong(":9482"), AddressError::NoHost);
        assert_eq!(wrong(""), AddressError::NoHost);
        assert_eq!(wrong("127.0.0.1"), AddressError::NoPort("127.0.0.1".into()));
        assert_eq!(wrong("[::1]"), AddressError::NoPort("[::1]".into()));
        assert_eq!(wrong("127.0.0.1:70000"), AddressError::Port("127.0.0.1:70000".into()));
        assert_eq!(wrong("host:+80"), AddressError::Port("host:+80".into()));
        assert_eq!(wrong("host:"), AddressError::Port("host:".into()));
        assert_eq!(wrong("256.1.1.1:80"), AddressError::Host("256.1.1.1".into()));
        assert_eq!(wrong("a b:80"), AddressError::Host("a b".into()));
        assert_eq!(wrong("::1:9482"), AddressError::Unbracketed("::1:9482".into()));
        assert_eq!(wrong("[::1:9482"), AddressError::Bracket("[::1:9482".into()));
        assert_eq!(wrong("[::1]9482"), AddressError::Bracket("[::1]9482".into()));
        assert_eq!(wrong("[v]:9482"), AddressError::Host("v".into()));
        assert_eq!(wrong("ws://127.0.0.1:1"), AddressError::Url("ws://127.0.0.1:1".into()));
        assert_eq!(wrong("unix:"), AddressError::UnixPath(0));
        assert_eq!(wrong(&format!("unix:{}", "x".repeat(108))), AddressError::UnixPath(108));
    }
}
