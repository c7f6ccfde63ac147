//! Connections within the machine are not paced.
//!
//! BBR lets segments go at the pace that it has measured, with a timer for each. Between two programs of one machine there
//! is no link to be gentle with, and the timers were a quarter of what a long body cost the hub. CUBIC, the system's usual
//! choice, has none. What an operator chose for other connections, or chose that does not pace, stays.

use std::net::IpAddr;

/// Has what is said on a socket that is bound to this machine, or will be connected to it, go without timers, where the
/// system can be told to. It has to be told before there is a connection: one that was paced stays so.
#[cfg(target_os = "linux")]
pub(crate) fn spare(socket: &impl std::os::fd::AsFd, address: IpAddr) {
    use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};

    if address.to_canonical().is_loopback()
        && tcp_congestion(socket).is_ok_and(|name| name.starts_with("bbr"))
    {
        // A system without it goes on as it was.
        let _ = set_tcp_congestion(socket, "cubic");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn spare<T>(_: &T, _: IpAddr) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn only_connections_within_the_machine_are_spared() {
        let socket = TcpSocket::new_v4().unwrap();
        let may_pace = set_tcp_congestion(&socket, "bbr").is_ok();
        let before = tcp_congestion(&socket).unwrap();
        spare(&socket, "192.0.2.1".parse().unwrap());
        assert_eq!(tcp_congestion(&socket).unwrap(), before);
        spare(&socket, "::ffff:127.0.0.1".parse().unwrap());
        let after = tcp_congestion(&socket).unwrap();
        if may_pace {
            assert!(!after.starts_with("bbr") || set_tcp_congestion(&socket, "cubic").is_err(), "{after}");
        } else {
            assert_eq!(after, before);
        }
    }
}
