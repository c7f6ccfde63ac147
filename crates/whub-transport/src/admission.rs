//! Who may come in while others are still proving themselves.
//!
//! Two bounds: how many connections may be *young*, that is open without a complete request or handshake,
//! and how many one address may hold at all. Beyond the first the listener waits, so that a storm of honest
//! clients queues in the kernel instead of being turned away; beyond the second a connection is refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::{TransportCounters, count};
use crate::network::masked;
use crate::peer::PeerAddress;

/// How many connections are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections that have not proved themselves, `limits.young_connections`; 0 for no limit.
    pub young_connections: usize,
    /// Connections of one address, `limits.connections_per_address`; 0 for no limit.
    pub connections_per_address: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { young_connections: 4096, connections_per_address: 1024 }
    }
}

/// The two bounds, shared by all listeners of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    young: Arc<Semaphore>,
    limits: AdmissionLimits,
    counters: Arc<TransportCounters>,
    // Held for one lookup per connection opened or closed.
    seats: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    /// Nobody is in yet.
    #[must_use]
    pub fn new(limits: AdmissionLimits, counters: Arc<TransportCounters>) -> Self {
        let permits = match limits.young_connections {
            0 => Semaphore::MAX_PERMITS,
            limit => limit.min(Semaphore::MAX_PERMITS),
        };
        let young = Arc::new(Semaphore::new(permits));
        Self(Arc::new(Shared { young, limits, counters, seats: Mutex::default() }))
    }

    /// Waits for a place among the young. Take it *before* accepting: that is what makes the listener wait.
    pub async fn young(&self) -> Young {
        if let Ok(permit) = self.0.young.clone().try_acquire_owned() {
            return Young(Some(permit));
        }
        count(&self.0.counters.young_waits);
        // The semaphore is never closed; were it, an unbounded door would still be better than a shut one.
        Young(self.0.young.clone().acquire_owned().await.ok())
    }

    /// A seat for the peer's address, or `None` when it has as many as it may; that is counted.
    ///
    /// Peers on this machine are exempt. An IPv6 peer owns a whole /64, so its addresses share one count.
    #[must_use]
    pub fn seat(&self, peer: &PeerAddress) -> Option<AddressSeat> {
        let limit = self.0.limits.connections_per_address;
        let Some(ip) = peer.ip().filter(|_| limit > 0 && !peer.is_local()) else {
            return Some(AddressSeat::exempt());
        };
        let household = household(ip);
        let mut seats = self.0.seats();
        let taken = seats.entry(household).or_insert(0);
        if *taken >= limit {
            count(&self.0.counters.refused_address_cap);
            return None;
        }
        *taken += 1;
        Some(AddressSeat(Some((self.clone(), household))))
    }

    /// How many addresses hold seats.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.0.seats().len()
    }
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, household: IpAddr) {
        let mut seats = self.seats();
        if let Some(taken) = seats.get_mut(&household) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&household);
            }
        }
    }
}

fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        ip @ IpAddr::V6(_) => masked(ip, 64),
    }
}

/// A place among the unproven. Drop it, or say [`proved`](Self::proved), at the first complete request or
/// handshake.
#[derive(Debug)]
#[must_use = "a place that is dropped at once bounds nothing"]
pub struct Young(Option<OwnedSemaphorePermit>);

impl Young {
    /// The connection has shown that it means something.
    pub fn proved(self) {
        drop(self.0);
    }
}

/// A connection's place in the count of its address. Keep it as long as the connection.
#[derive(Debug)]
#[must_use = "a seat that is dropped at once counts nothing"]
pub struct AddressSeat(Option<(Admission, IpAddr)>);

impl AddressSeat {
    /// A seat that counts for nobody.
    pub(crate) fn exempt() -> Self {
        Self(None)
    }
}

impl Drop for AddressSeat {
    fn drop(&mut self) {
        if let Some((admission, household)) = self.0.take() {
            admission.0.leave(household);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::time::{Duration, timeout};

    use super::*;

    fn admission(young_connections: usize, connections_per_address: usize) -> Admission {
        let limits = AdmissionLimits { young_connections, connections_per_address };
        Admission::new(limits, Arc::default())
    }

    fn peer(ip: &str) -> PeerAddress {
        PeerAddress::tcp((ip.parse::<IpAddr>().expect(ip), 1).into())
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_young_the_listener_waits() {
        let admission = admission(2, 0);
        let first = admission.young().await;
        let _second = admission.young().await;
        let third = admission.young();
        let mut third = std::pin::pin!(third);
        assert!(timeout(Duration::from_secs(60), third.as_mut()).await.is_err(), "no room");
        first.proved();
        timeout(Duration::from_secs(1), third).await.expect("room again").proved();
        assert_eq!(admission.0.counters.young_waits.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn one_address_has_so_many_seats_and_others_have_theirs() {
        let admission = admission(0, 2);
        let first = admission.seat(&peer("192.0.2.1")).expect("a seat");
        let _second = admission.seat(&peer("::ffff:192.0.2.1")).expect("a seat");
        assert!(admission.seat(&peer("192.0.2.1")).is_none(), "a third is refused");
        assert_eq!(admission.0.counters.refused_address_cap.load(Ordering::Relaxed), 1);
        let _other = admission.seat(&peer("192.0.2.2")).expect("someone else is untouched");
        drop(first);
        let _third = admission.seat(&peer("192.0.2.1")).expect("a seat is free again");
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_peer() {
        let admission = admission(0, 1);
        let _one = admission.seat(&peer("2001:db8::1")).expect("a seat");
        assert!(admission.seat(&peer("2001:db8::2:3")).is_none(), "the same /64");
        let _neighbour = admission.seat(&peer("2001:db8:0:1::1")).expect("another /64");
    }

    #[test]
    fn this_machine_is_exempt_and_zero_is_no_limit() {
        let capped = admission(0, 1);
        let open = admission(0, 0);
        let mut held = Vec::new();
        for _ in 0..10 {
            for local in [peer("127.0.0.1"), peer("::1"), PeerAddress::Unix, PeerAddress::Memory] {
                held.push(capped.seat(&local).expect("exempt"));
            }
            held.push(open.seat(&peer("192.0.2.1")).expect("no limit"));
        }
        assert_eq!((capped.addresses(), open.addresses()), (0, 0), "nothing is remembered of them");
    }

    #[test]
    fn an_address_that_left_is_forgotten() {
        let admission = admission(0, 5);
        let seats: Vec<_> = (0..5).map(|_| admission.seat(&peer("192.0.2.1")).expect("a seat")).collect();
        assert_eq!(admission.addresses(), 1);
        drop(seats);
        assert_eq!(admission.addresses(), 0);
    }
}
