//! What happened so far. One struct of plain atomics, so that the pure floor can count and the server can expose.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// Monotonic counters of a node. Every accepted message and call is found again in exactly one of its fates.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: Counter,)+
        }

        impl Counters {
            /// Name, help text and value of each counter, in the order of declaration.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
                [$((stringify!($name), concat!($($help),+), self.$name.read()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Sessions that said `Hello` and were welcomed, or joined a pair as a plain WebSocket.
    sessions_opened,
    /// Sessions that ended.
    sessions_closed,
    /// Peers turned away for a wrong token or missing rights at the door.
    unauthorized,
    /// Operations refused for missing rights.
    forbidden,
    /// Frames that broke the protocol; each ended its session.
    protocol_errors,
    /// Sessions ended because their peer fell silent.
    dead_peers,
    /// Calls that a provider was asked, or that wait for one.
    calls_accepted,
    /// Calls that ended with an answer of their provider.
    calls_answered,
    /// Calls whose provider was lost before its answer was whole.
    calls_provider_lost,
    /// Calls that met their deadline.
    calls_deadline,
    /// Calls whose caller cancelled or left.
    calls_cancelled,
    /// Calls for a path that nobody provides.
    calls_not_found,
    /// Calls that no provider had room for; they were not accepted.
    calls_unavailable,
    /// Accepted calls that had to wait for a free provider, for as long as they may, in vain.
    calls_waited_out,
    /// Calls that a step of the chain refused because there were too many of them.
    calls_rate_limited,
    /// Calls that a step of the chain refused for another reason.
    calls_refused,
    /// Calls that were moved to another provider, because theirs was lost or did not take them.
    calls_moved,
    /// Calls that a provider said it had not begun. They are moved, or answered with what it said.
    calls_not_taken,
    /// Answers for calls that had ended before; dropped.
    answers_late,
    /// Progress of calls beyond what one call may report; dropped.
    progress_dropped,
    /// Messages that clients published.
    published,
    /// Deliveries: one message for one subscriber or member of a room, handed to its mailbox.
    deliveries_accepted,
    /// Deliveries whose bytes the subscriber's socket took.
    deliveries_delivered,
    /// Deliveries dropped because the subscriber's mailbox was full.
    deliveries_dropped_slow,
    /// Deliveries dropped because the subscriber was gone before its socket took them.
    deliveries_dropped_gone,
    /// Subscribers closed with `SlowConsumer`.
    slow_consumers,
    /// Messages relayed between the halves of a pair.
    pair_messages,
    /// Messages of a half that reached nobody.
    pair_messages_lost,
    /// Pairs that formed.
    pairs_formed,
    /// Connections of clients to endpoints that were opened.
    gateway_opened,
    /// Messages passed between clients and endpoints, either way.
    gateway_messages,
    /// Messages for endpoints that were refused, because theirs was down, full or unknown.
    gateway_refused,
    /// Messages that an endpoint was sent when it was lost, and that it did not confirm before.
    gateway_unconfirmed,
    /// Members that entered rooms.
    room_joins,
    /// Members that were sent away, or whose room was closed.
    room_expulsions,
    /// Messages that members of rooms sent. What becomes of each at each receiver is counted with the deliveries.
    room_messages,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value now.
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
