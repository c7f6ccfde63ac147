//! Whether an endpoint would be the hub itself, which would call itself without end.

use std::net::{IpAddr, UdpSocket};

use whub_transport::{
    ListenAddress,
    address::{Host, HostPort},
};

use super::{Config, Endpoint, EndpointUrl, Target};

impl EndpointUrl {
    /// Whether this is where a node listens, as far as can be told without asking a name server: the same port, and
    /// the same host, or both on this machine.
    #[must_use]
    pub fn reaches(&self, listener: &ListenAddress) -> bool {
        let (Some(host), Some(port)) = (self.server.host(), self.server.port()) else { return false };
        match listener {
            ListenAddress::Tcp(at) => at.port == port && meets(at, host),
            ListenAddress::Unix(_) => false,
        }
    }
}

fn meets(listener: &HostPort, host: &Host) -> bool {
    if let (Host::Name(own), Host::Name(asked)) = (&listener.host, host)
        && own == asked
    {
        return true;
    }
    let own = listener.host.known_addresses().unwrap_or_default();
    let asked = host.known_addresses().unwrap_or_default();
    asked.iter().map(IpAddr::to_canonical).any(|asked| {
        own.iter()
            .map(IpAddr::to_canonical)
            .any(|own| own == asked || (own.is_unspecified() && is_of_this_machine(asked)))
            || (asked.is_unspecified() && own.iter().any(IpAddr::is_loopback))
    })
}

/// Only an address of this machine can be bound. Nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Where a node of this configuration listens.
pub(super) fn listeners(config: &Config) -> impl Iterator<Item = &ListenAddress> {
    config.listen.iter().chain(&config.relay.listen)
}

/// The first endpoint that leads to the hub itself, in a sentence.
pub(crate) fn flaw(config: &Config) -> Option<String> {
    let listeners: Vec<_> = listeners(config).cloned().collect();
    itself(&config.endpoints, &listeners)
}

/// The first of these endpoints that leads to one of these listeners, in a sentence.
pub(crate) fn itself(endpoints: &[Endpoint], listeners: &[ListenAddress]) -> Option<String> {
    endpoints.iter().find_map(|endpoint| {
        let Target::Upstreams(urls) = &endpoint.target else { return None };
        let reached =
            |url| Some((url, listeners.iter().find(|listener| EndpointUrl::reaches(url, listener))?));
        let (url, listener) = urls.iter().find_map(reached)?;
        Some(sentence(&endpoint.name, url, listener))
    })
}

/// What is wrong with an endpoint that is the hub itself.
pub(super) fn sentence(name: &str, url: &EndpointUrl, listener: &ListenAddress) -> String {
    format!(
        "endpoint {name:?}: {url} is this hub itself, which listens on {listener}; an endpoint is another server"
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_hub_knows_itself_by_all_its_names() {
        for (listener, url, itself) in [
            ("127.0.0.1:9482", "ws://127.0.0.1:9482/gateway", true),
            ("127.0.0.1:9482", "ws://localhost:9482/x", true),
            ("127.0.0.1:9482", "http://[::ffff:127.0.0.1]:9482/", true),
            ("127.0.0.1:9482", "ws://0.0.0.0:9482/", true),
            ("127.0.0.1:9482", "ws://127.0.0.1:9483/", false),
            ("127.0.0.1:9482", "ws://192.0.2.1:9482/", false),
            ("127.0.0.1:9482", "ws://127.0.0.2:9482/", false),
            ("0.0.0.0:9482", "ws://127.0.0.2:9482/", true),
            ("0.0.0.0:9482", "ws://localhost:9482/", true),
            ("0.0.0.0:9482", "ws://192.0.2.1:9482/", false),
            ("[::]:9482", "ws://127.0.0.1:9482/", true),
            ("[::1]:9482", "ws://localhost:9482/", true),
            ("localhost:9482", "ws://[::1]:9482/", true),
            ("hub.example:80", "ws://HUB.example/", true),
            ("hub.example:80", "ws://other.example/", false),
            ("unix:/run/whub.sock", "ws://127.0.0.1/", false),
        ] {
            let url: EndpointUrl = url.parse().expect("a URL");
            let listener = listener.parse().expect("an address");
            assert_eq!(url.reaches(&listener), itself, "{url} {listener}");
        }
    }

    #[test]
    fn who_listens_everywhere_listens_on_every_address_of_the_machine() {
        // Where packets to elsewhere would come from; none is sent. A machine without any network has loopback.
        let probe = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let elsewhere = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
        let own = elsewhere.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
        let url: EndpointUrl = format!("ws://{own}:9482/").parse().expect("a URL");
        assert!(url.reaches(&"0.0.0.0:9482".parse().expect("an address")), "{url}");
        assert!(!url.reaches(&"0.0.0.0:9483".parse().expect("an address")), "{url}");
    }
}
