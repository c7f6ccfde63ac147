//! Addresses to listen on: `HOST:PORT`, `[::1]:PORT`, `unix:PATH`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

/// Bytes a Unix socket path may have on every system we know (`sun_path` of BSD, with its NUL).
const UNIX_PATH_BYTES_MAX: usize = 103;

/// One address to listen on, as configured; names are resolved when the listener is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `HOST:PORT` or `[IPv6]:PORT`; port 0 lets the system choose.
    Tcp {
        /// An address or a name, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this machine can reach the address. A name other than `localhost` counts as public, because what
    /// it resolves to may change.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } if host.eq_ignore_ascii_case("localhost") => true,
            Self::Tcp { host, .. } => {
                host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
            }
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let wrong = |what: &str| format!("{text:?} {what}; write HOST:PORT, [IPv6]:PORT or unix:PATH");
        if text.contains("//") {
            return Err(wrong("has a scheme"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(wrong("has no port"));
        };
        let port = port.parse().map_err(|_| wrong("does not end in a port number (0 to 65535)"))?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(wrong("has no IPv6 address in its brackets")),
            None if host.contains(':') => return Err(wrong("has an IPv6 address without brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("names no host (use 0.0.0.0 or [::] for every interface)"));
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte)) {
            return Err(wrong("is no address"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

fn unix(path: &str) -> Result<ListenAddress, String> {
    if path.is_empty() {
        return Err("\"unix:\" names no path".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "\"unix:{path}\" is longer than the {UNIX_PATH_BYTES_MAX} bytes a socket path may have"
        ));
    }
    Ok(ListenAddress::Unix(path.into()))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in [
            "127.0.0.1:9482",
            "0.0.0.0:0",
            "[::1]:80",
            "localhost:1",
            "hub.example.com:443",
            "unix:/run/w.sock",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn only_loopback_localhost_and_unix_are_local() {
        let local = |text: &str| text.parse::<ListenAddress>().unwrap().is_local();
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "LocalHost:1", "unix:w"]
        {
            assert!(local(text), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "hub.example.com:1", "localhost.example.com:1"] {
            assert!(!local(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| text.parse::<ListenAddress>().unwrap_err();
        let hint = "; write HOST:PORT, [IPv6]:PORT or unix:PATH";
        assert_eq!(error("localhost"), format!("\"localhost\" has no port{hint}"));
        assert_eq!(error("h:70000"), format!("\"h:70000\" does not end in a port number (0 to 65535){hint}"));
        assert_eq!(error("::1:80"), format!("\"::1:80\" has an IPv6 address without brackets{hint}"));
        assert_eq!(error("[x]:80"), format!("\"[x]:80\" has no IPv6 address in its brackets{hint}"));
        assert_eq!(error("ws://h:80"), format!("\"ws://h:80\" has a scheme{hint}"));
        assert_eq!(error("unix:"), "\"unix:\" names no path");
    }
}
