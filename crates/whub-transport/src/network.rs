//! Networks in CIDR notation: whose word about a peer's address is believed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::peer::PeerAddress;

/// One network: `10.0.0.0/8`, `2001:db8::/32`, a single address, or `unix` for peers of Unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// All addresses that share the first `prefix` bits with `base`.
    Ip {
        /// The address of the network; bits after the prefix are zero.
        base: IpAddr,
        /// How many bits count: 0 to 32, or to 128 for IPv6.
        prefix: u8,
    },
    /// Every peer of a Unix socket.
    Unix,
}

impl Network {
    /// Whether the peer belongs to it. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, peer: &PeerAddress) -> bool {
        match (self, peer) {
            (Self::Ip { base, prefix }, PeerAddress::Tcp(at)) => same_prefix(*base, at.ip(), *prefix),
            (Self::Unix, PeerAddress::Unix) => true,
            (Self::Ip { .. }, PeerAddress::Unix | PeerAddress::Memory)
            | (Self::Unix, PeerAddress::Tcp(_) | PeerAddress::Memory) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let wrong = || NetworkError(text.to_owned());
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(widest);
        if prefix > widest {
            return Err(wrong());
        }
        Ok(Self::Ip { base: masked(base, prefix), prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip { base, prefix } => write!(f, "{base}/{prefix}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no network; write 10.0.0.0/8, 2001:db8::/32, a single address, or unix")]
pub struct NetworkError(String);

/// Several networks; none contains nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Network>);

impl Networks {
    /// Whether any of them contains the peer.
    #[must_use]
    pub fn contains(&self, peer: &PeerAddress) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }
}

fn same_prefix(base: IpAddr, ip: IpAddr, prefix: u8) -> bool {
    let ip = ip.to_canonical();
    base.is_ipv4() == ip.is_ipv4() && masked(ip, prefix) == base
}

/// The address with everything after its first `prefix` bits cleared.
pub(crate) fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> PeerAddress {
        PeerAddress::Tcp((ip.parse::<IpAddr>().expect(ip), 1).into())
    }

    #[test]
    fn who_belongs() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/31", "::ffff:10.1.2.2", "10.1.2.4"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = network.parse().expect(network);
            assert!(network.contains(&peer(inside)), "{network} {inside}");
            assert!(!network.contains(&peer(outside)), "{network} {outside}");
            assert!(!network.contains(&PeerAddress::Unix));
        }
        assert!(Network::Unix.contains(&PeerAddress::Unix));
        assert!(!Networks::default().contains(&peer("127.0.0.1")));
    }

    #[test]
    fn text_that_is_no_network() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "host", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_written_without_stray_bits() {
        assert_eq!("10.1.2.3/8".parse::<Network>().expect("network").to_string(), "10.0.0.0/8");
        assert_eq!("unix".parse::<Network>().expect("network").to_string(), "unix");
    }
}
