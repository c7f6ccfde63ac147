//! The PROXY protocol, version 2: a proxy in front says who the peer really is.
//!
//! Only configured addresses are believed, and only when the connection begins with the header. Configure a
//! proxy here only if it always sends one; otherwise its clients could write their own.
//!
//! ```text
//! 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A    signature
//! 21                                     version 2, command PROXY (20: LOCAL)
//! 11                                     TCP over IPv4 (21: over IPv6, 31: Unix stream, 00: unknown)
//! 00 0C                                  length of what follows, big-endian
//! source, destination, ports             then type-length-value fields, which are skipped
//! ```
//!
//! Absent on purpose: version 1. It is text that begins like an HTTP method.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header of version 2 begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header that is read, in bytes. The largest addresses take 232; the rest is room for fields.
pub const HEADER_BYTES_MAX: usize = 2048;

/// The part that says how long the rest is.
const FIXED: usize = 16;

/// Who a proxy speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxySource {
    /// A client at this address.
    Client(SocketAddr),
    /// The proxy itself, such as a health check, or a client without an IP address: the connection's own
    /// address holds.
    Itself,
}

/// What a first look at the bytes gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The header is incomplete; it cannot be judged before so many bytes in all are there.
    More(usize),
    /// The header is complete.
    Done {
        /// Who it names.
        source: ProxySource,
        /// How many bytes it has.
        length: usize,
    },
}

/// Parses the header that `bytes` begin with.
///
/// # Errors
/// [`ProxyError`] as soon as the bytes can no longer become a header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(ProxyError::Signature);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(Parsed::More(FIXED)) };
    let &[.., command, family, high, low] = fixed;
    let announced = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED + announced;
    if length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong(length));
    }
    let address = Family::of(command, family)?;
    if announced < address.bytes() {
        return Err(ProxyError::TooShort);
    }
    match rest.get(..announced) {
        Some(body) => Ok(Parsed::Done { source: address.read(body)?, length }),
        None => Ok(Parsed::More(length)),
    }
}

/// Reads exactly one header off a stream, within a deadline.
///
/// # Errors
/// [`ProxyError`]; the connection is then to be closed without an answer.
pub async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    within: Duration,
) -> Result<ProxySource, ProxyError> {
    tokio::time::timeout(within, read_all(stream)).await.map_err(|_| ProxyError::Late)?
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxySource, ProxyError> {
    let mut header = Vec::with_capacity(FIXED);
    loop {
        match parse(&header)? {
            Parsed::Done { source, .. } => return Ok(source),
            Parsed::More(wanted) => {
                let have = header.len();
                header.resize(wanted, 0);
                stream.read_exact(&mut header[have..]).await.map_err(ProxyError::Lost)?;
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Family {
    Ignored,
    Tcp4,
    Tcp6,
    UnixStream,
}

impl Family {
    fn of(command: u8, family: u8) -> Result<Self, ProxyError> {
        match (command, family) {
            // A health check of the proxy's own: whatever addresses it carries mean nothing.
            (0x20, _) => Ok(Self::Ignored),
            (0x21, 0x00) => Ok(Self::Ignored),
            (0x21, 0x11) => Ok(Self::Tcp4),
            (0x21, 0x21) => Ok(Self::Tcp6),
            (0x21, 0x31) => Ok(Self::UnixStream),
            (0x21, other) => Err(ProxyError::Family(other)),
            (other, _) => Err(ProxyError::Command(other)),
        }
    }

    /// Source and destination, in bytes.
    fn bytes(self) -> usize {
        match self {
            Self::Ignored => 0,
            Self::Tcp4 => 12,
            Self::Tcp6 => 36,
            Self::UnixStream => 216,
        }
    }

    fn read(self, body: &[u8]) -> Result<ProxySource, ProxyError> {
        match self {
            Self::Ignored | Self::UnixStream => Ok(ProxySource::Itself),
            Self::Tcp4 => {
                let &[a, b, c, d, _, _, _, _, high, low] =
                    body.first_chunk::<10>().ok_or(ProxyError::TooShort)?;
                let port = u16::from_be_bytes([high, low]);
                Ok(ProxySource::Client((Ipv4Addr::new(a, b, c, d), port).into()))
            }
            Self::Tcp6 => {
                let (source, rest) = body.split_first_chunk::<16>().ok_or(ProxyError::TooShort)?;
                let &[.., high, low] = rest.first_chunk::<18>().ok_or(ProxyError::TooShort)?;
                let port = u16::from_be_bytes([high, low]);
                Ok(ProxySource::Client((Ipv6Addr::from(*source), port).into()))
            }
        }
    }
}

/// Why a header is not believed.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The bytes do not begin with the signature.
    #[error("the proxy's header lacks the signature of version 2")]
    Signature,
    /// Neither LOCAL nor PROXY, or another version.
    #[error("the proxy's header has version and command {0:#04x}, neither LOCAL nor PROXY of version 2")]
    Command(u8),
    /// Not a stream over IPv4, IPv6 or Unix.
    #[error("the proxy's header has address family {0:#04x}, which is no stream")]
    Family(u8),
    /// No room for the addresses it announces.
    #[error("the proxy's header is too short for its addresses")]
    TooShort,
    /// Above [`HEADER_BYTES_MAX`].
    #[error("the proxy's header has {0} bytes, the limit is {HEADER_BYTES_MAX}")]
    TooLong(usize),
    /// Not complete in time.
    #[error("the proxy did not finish its header in time")]
    Late,
    /// The connection ended first.
    #[error("the connection ended within the proxy's header: {0}")]
    Lost(#[source] io::Error),
}
