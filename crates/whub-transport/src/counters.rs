//! What happened at the door, as plain numbers for whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counts since the start, one field per event, shared by `Arc`. All but `accepted` are reasons why a
        /// connection ended before it could say anything.
        #[derive(Debug, Default)]
        pub struct TransportCounters {
            $($(#[$doc])* pub $name: AtomicU64,)+
        }

        impl TransportCounters {
            /// Every counter with its name, for an exporter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed)),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted by a listener.
    accepted,
    /// Failed accepts, most often for want of descriptors.
    accept_errors,
    /// Connections that had to wait because `limits.young_connections` had not yet proved themselves.
    young_waits,
    /// Connections refused because their address had `limits.connections_per_address` open.
    refused_address_cap,
    /// Connections that said nothing within the deadline.
    opening_timeouts,
    /// Connections closed by the peer before their first byte.
    opening_closed,
    /// First bytes that begin no protocol of the hub.
    unknown_opening,
    /// First bytes of MQTT, which is reserved but not spoken.
    reserved_opening,
    /// TLS where no certificate is configured.
    tls_unconfigured,
    /// TLS handshakes that failed.
    tls_failures,
    /// TLS handshakes that took longer than the deadline.
    tls_timeouts,
    /// PROXY headers that were malformed, too long or late.
    proxy_refused,
    /// Prefaces of the own protocol that were wrong or of another version.
    preface_refused,
    /// Prefaces that were not complete within the deadline.
    preface_timeouts,
}

/// Adds one; relaxed, because counters order nothing.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_exported_by_name() {
        let counters = TransportCounters::default();
        count(&counters.unknown_opening);
        let shown: Vec<_> = counters.iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(shown, [("unknown_opening", 1)]);
    }
}
