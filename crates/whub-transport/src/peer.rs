//! Who is at the other end, as far as the transport knows.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// A TCP peer; an IPv4 address that came in through an IPv6 socket is shown as IPv4.
    Tcp(SocketAddr),
    /// A process on this machine, through a Unix socket.
    Unix,
    /// The other end of an in-memory pipe.
    Memory,
}

impl PeerAddress {
    /// The address of a TCP peer.
    #[must_use]
    pub fn tcp(at: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(at.ip().to_canonical(), at.port()))
    }

    /// The IP address, for those who have one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(at) => Some(at.ip()),
            Self::Unix | Self::Memory => None,
        }
    }

    /// Whether the peer is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(f, "{at}"),
            Self::Unix => f.write_str("unix"),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// The bound address of a listener. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalAddress {
    /// A TCP address with its real port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
    /// An in-memory pipe.
    Memory,
}

impl LocalAddress {
    /// The URL a client could use: `ws://127.0.0.1:9482`, `wss://…` with TLS, `unix:PATH`.
    #[must_use]
    pub fn url(&self, tls: bool) -> String {
        match self {
            Self::Tcp(at) if tls => format!("wss://{at}"),
            Self::Tcp(at) => format!("ws://{at}"),
            Self::Unix(_) | Self::Memory => self.to_string(),
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(f, "{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Memory => f.write_str("memory"),
        }
    }
}
