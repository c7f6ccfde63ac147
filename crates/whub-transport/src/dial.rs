//! The client's side: from a server's URL to a stream.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError as Invalid, ClientConfig};
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::address::Host;
use crate::pacing;
use crate::stream::Stream;
use crate::tls::{Alpn, CertificateError};
use crate::url::{ServerUrl, Wire};

pub use crate::tls::Trust;

/// How long an address has for itself before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialOptions {
    /// The deadline of everything together: name, connection, TLS. 10 s by default.
    pub connect_within: Duration,
    /// Whose certificates are believed. The system's authorities by default.
    pub trust: Trust,
    /// What to offer in TLS. By default what the URL means: `http/1.1` for a WebSocket, else `whub/1`.
    pub alpn: Option<Alpn>,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self { connect_within: Duration::from_secs(10), trust: Trust::default(), alpn: None }
    }
}

/// Dials one server, again and again: what is costly to prepare is prepared once.
#[derive(Debug)]
pub struct Dialer {
    url: ServerUrl,
    options: DialOptions,
    // Held to copy the handle or to put another in its place.
    tls: Mutex<Arc<OnceCell<Arc<ClientConfig>>>>,
}

/// Dials once. Who reconnects keeps a [`Dialer`].
///
/// # Errors
/// [`DialError`].
pub async fn connect(url: &ServerUrl, options: &DialOptions) -> Result<Stream, DialError> {
    Dialer::new(url.clone(), options.clone()).connect().await
}

impl Dialer {
    /// Nothing is dialled yet.
    #[must_use]
    pub fn new(url: ServerUrl, options: DialOptions) -> Self {
        Self { url, options, tls: Mutex::default() }
    }

    /// The server.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Has the authorities read again for the next connection.
    pub fn forget_trust(&self) {
        // In a place of its own, so that a dial that is reading the old ones now leaves nothing behind.
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// A new connection, TLS agreed where the URL asks for it. Nothing of the protocol inside has been said:
    /// on `tcp` and `unix` the preface comes next, on `tls` the first frame.
    ///
    /// # Errors
    /// [`DialError`] names the server and says whether trying again may help.
    pub async fn connect(&self) -> Result<Stream, DialError> {
        let within = self.options.connect_within;
        match timeout(within, self.connect_in_time()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DialError::Late { server: self.url.to_string(), within }),
        }
    }

    async fn connect_in_time(&self) -> Result<Stream, DialError> {
        let unreachable = |source| DialError::Unreachable { server: self.url.to_string(), source };
        if let Some(path) = self.url.socket() {
            return UnixStream::connect(path).await.map(Stream::Unix).map_err(unreachable);
        }
        let (Some(host), Some(port)) = (self.url.host(), self.url.port()) else {
            return Err(unreachable(io::ErrorKind::AddrNotAvailable.into()));
        };
        let addresses = host.resolve(port).await;
        let addresses = addresses.map_err(|source| DialError::Unknown { host: host.to_string(), source })?;
        let socket = race(interleaved(addresses)).await.map_err(unreachable)?;
        // Fails only when the server has already gone, which the first read will tell.
        let _ = socket.set_nodelay(true);
        if self.url.tls() { self.agree(socket, host).await } else { Ok(Stream::Tcp(socket)) }
    }

    async fn agree(&self, socket: TcpStream, host: &Host) -> Result<Stream, DialError> {
        let cell = Arc::clone(&self.tls.lock().unwrap_or_else(PoisonError::into_inner));
        let config = cell.get_or_try_init(|| self.client_config()).await?.clone();
        let failed = |source| DialError::Tls { server: self.url.to_string(), source };
        let name = server_name(host).map_err(failed)?;
        let tls = TlsConnector::from(config).connect(name, Stream::Tcp(socket)).await.map_err(failed)?;
        let agreed = Alpn::agreed(tls.get_ref().1.alpn_protocol());
        // HTTP is what is spoken when nothing is said; the own protocol has to be agreed on.
        if self.alpn() == Alpn::Own && agreed != Alpn::Own {
            return Err(DialError::NotAHub { server: self.url.to_string() });
        }
        Ok(Stream::Tls(Box::new(TlsStream::Client(tls))))
    }

    async fn client_config(&self) -> Result<Arc<ClientConfig>, DialError> {
        let (trust, alpn) = (self.options.trust.clone(), self.alpn());
        let read = tokio::task::spawn_blocking(move || trust.client_config(alpn)).await;
        let config = read.map_err(|panic| DialError::Trust(CertificateError::Lost(panic.to_string())))?;
        config.map(Arc::new).map_err(DialError::Trust)
    }

    fn alpn(&self) -> Alpn {
        self.options.alpn.unwrap_or_else(|| match self.url.wire() {
            Wire::WebSocket => Alpn::Http1,
            Wire::Own => Alpn::Own,
        })
    }
}

fn server_name(host: &Host) -> io::Result<ServerName<'static>> {
    match host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

/// The resolver's order, with the two families taking turns (RFC 8305, section 4), so that a broken one costs
/// one head start and not many.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut mixed = Vec::new();
    for address in preferred {
        mixed.push(address);
        mixed.extend(other.next());
    }
    mixed.extend(other);
    mixed
}

async fn reach(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    pacing::spare(&socket, address.ip());
    socket.connect(address).await
}

/// The first address that answers wins. Each gets a head start; one that fails passes on its turn at once.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut running = JoinSet::new();
    let mut first_failure = None;
    loop {
        if let Some(address) = waiting.next() {
            running.spawn(reach(address));
        }
        let finished = if waiting.len() == 0 {
            running.join_next().await
        } else {
            match timeout(HEAD_START, running.join_next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        };
        match finished {
            Some(Ok(Ok(socket))) => return Ok(socket),
            Some(Ok(Err(error))) => first_failure = first_failure.or(Some(error)),
            Some(Err(lost)) => first_failure = first_failure.or_else(|| Some(io::Error::other(lost))),
            None => return Err(first_failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

/// Why a server was not reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// The deadline passed.
    #[error("{server} did not answer within {within:?}")]
    Late {
        /// The URL.
        server: String,
        /// The deadline.
        within: Duration,
    },
    /// The name has no address.
    #[error("the host {host} cannot be found: {source}")]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody listens, or no way leads there.
    #[error("{server} cannot be reached: {source}; is the hub running?")]
    Unreachable {
        /// The URL.
        server: String,
        /// What the system said; of several addresses, about the first.
        source: io::Error,
    },
    /// No agreement on TLS, or no trust.
    #[error("no TLS with {server}: {source}")]
    Tls {
        /// The URL.
        server: String,
        /// What rustls said.
        source: io::Error,
    },
    /// TLS, but not with a hub.
    #[error("{server} speaks TLS but not the whub protocol; try https or wss")]
    NotAHub {
        /// The URL.
        server: String,
    },
    /// The trusted certificates cannot be used.
    #[error(transparent)]
    Trust(CertificateError),
}

/// What is wrong with a certificate, as far as it matters for what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody who is believed has signed it.
    Authority,
    /// It is for another name than the one that was dialled.
    Name,
    /// Its time is over or has not come, or it is no good otherwise.
    Other,
}

impl DialError {
    /// Whether the deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Late { .. })
    }

    /// Whether the server's certificate is not trusted. A person has to decide: pin it, or name its authority.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        self.distrust().is_some()
    }

    /// What is wrong with the server's certificate, if that is what is wrong.
    #[must_use]
    pub fn distrust(&self) -> Option<Distrust> {
        let Some(rustls::Error::InvalidCertificate(why)) = self.of_rustls() else { return None };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "what a person does about it is the same for the others"
        )]
        Some(match why {
            // One that was made anew under its old name is found, but has signed nothing.
            Invalid::UnknownIssuer | Invalid::BadSignature => Distrust::Authority,
            Invalid::NotValidForName | Invalid::NotValidForNameContext { .. } => Distrust::Name,
            _ => Distrust::Other,
        })
    }

    /// Whether the server answers as those do that speak no TLS: with something else, or by hanging up.
    #[must_use]
    pub fn may_not_be_tls(&self) -> bool {
        let Self::Tls { source, .. } = self else { return false };
        let has_left = matches!(source.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof);
        has_left || matches!(self.of_rustls(), Some(rustls::Error::InvalidMessage(_)))
    }

    fn of_rustls(&self) -> Option<&rustls::Error> {
        let Self::Tls { source, .. } = self else { return None };
        source.get_ref().and_then(|error| error.downcast_ref())
    }

    /// Whether trying again later may help without anyone changing a thing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Late { .. } | Self::Unknown { .. } | Self::Unreachable { .. } => true,
            Self::Tls { .. } => !self.is_untrusted(),
            Self::NotAHub { .. } | Self::Trust(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().expect("an address")).collect()
        };
        let resolved = parse(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]);
        let tried = parse(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
        assert_eq!(interleaved(resolved), tried);
        let resolved = parse(&["192.0.2.1:1", "[2001:db8::1]:1", "[2001:db8::2]:1"]);
        assert_eq!(interleaved(resolved.clone()), resolved);
        assert_eq!(interleaved(Vec::new()), []);
    }
}
