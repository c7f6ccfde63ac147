//! Addresses of callers, and networks that hold them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where a caller is, as far as the hub knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// Over IP; an IPv4 address mapped into IPv6 counts as IPv4.
    Ip(IpAddr),
    /// Through a Unix socket.
    Unix,
    /// Within the process.
    None,
}

/// One network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All addresses that share the first `prefix` bits with `base`.
    Ip {
        /// An address in it.
        base: IpAddr,
        /// How many bits count: 0 to 32, or to 128 for IPv6.
        prefix: u8,
    },
    /// Every peer of a Unix socket.
    Unix,
}

impl Address {
    /// Reads the address as a [`Caller`](crate::Caller) has it.
    #[must_use]
    pub fn parse(peer: &str) -> Self {
        if let Ok(at) = peer.parse::<SocketAddr>() {
            return Self::Ip(at.ip().to_canonical());
        }
        match peer.parse::<IpAddr>() {
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) if peer == "unix" => Self::Unix,
            Err(_) => Self::None,
        }
    }

    /// What stands for whoever is behind the address: the address itself, of IPv6 the network of 64 bits, because a
    /// single customer has all of that.
    #[must_use]
    pub fn origin(self) -> Option<IpAddr> {
        match self {
            Self::Ip(IpAddr::V6(ip)) => {
                Some(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into())
            }
            Self::Ip(ip) => Some(ip),
            Self::Unix | Self::None => None,
        }
    }

    /// Whether one of the networks holds it.
    #[must_use]
    pub fn is_in(self, networks: &[Network]) -> bool {
        networks.iter().any(|network| network.contains(self))
    }
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: Address) -> bool {
        match (*self, address) {
            (Self::Ip { base: IpAddr::V4(base), prefix }, Address::Ip(IpAddr::V4(ip))) => {
                (base.to_bits() ^ ip.to_bits()).leading_zeros() >= u32::from(prefix)
            }
            (Self::Ip { base: IpAddr::V6(base), prefix }, Address::Ip(IpAddr::V6(ip))) => {
                (base.to_bits() ^ ip.to_bits()).leading_zeros() >= u32::from(prefix)
            }
            (Self::Unix, Address::Unix) => true,
            (Self::Ip { .. } | Self::Unix, Address::Ip(_) | Address::Unix | Address::None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(base: &str, prefix: u8) -> Network {
        Network::Ip { base: base.parse().unwrap(), prefix }
    }

    #[test]
    fn addresses_come_with_or_without_a_port() {
        let ip = |text: &str| Address::Ip(text.parse().unwrap());
        assert_eq!(Address::parse("192.0.2.1:9"), ip("192.0.2.1"));
        assert_eq!(Address::parse("[2001:db8::1]:9"), ip("2001:db8::1"));
        assert_eq!(Address::parse("[::ffff:192.0.2.1]:9"), ip("192.0.2.1"));
        assert_eq!(Address::parse("192.0.2.1"), ip("192.0.2.1"));
        assert_eq!((Address::parse("unix"), Address::parse("")), (Address::Unix, Address::None));
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, is_in) in [
            (network("10.0.0.0", 8), "10.255.0.1:1", true),
            (network("10.0.0.0", 8), "11.0.0.1:1", false),
            (network("0.0.0.0", 0), "8.8.8.8:1", true),
            (network("0.0.0.0", 0), "[::1]:1", false),
            (network("2001:db8::", 32), "[2001:db8:ffff::1]:1", true),
            (network("::1", 128), "[::2]:1", false),
            (network("10.1.2.3", 32), "[::ffff:10.1.2.3]:1", true),
            (Network::Unix, "unix", true),
            (network("::", 0), "unix", false),
        ] {
            assert_eq!(Address::parse(address).is_in(&[network]), is_in, "{network:?} {address}");
        }
    }

    #[test]
    fn a_customer_of_ipv6_has_64_bits() {
        let origin = |text| Address::parse(text).origin();
        assert_eq!(origin("[2001:db8:1:2::3]:1"), origin("[2001:db8:1:2:ffff::9]:2"));
        assert_ne!(origin("[2001:db8:1:2::3]:1"), origin("[2001:db8:1:3::3]:1"));
        assert_ne!(origin("192.0.2.1:1"), origin("192.0.2.2:1"));
    }
}
