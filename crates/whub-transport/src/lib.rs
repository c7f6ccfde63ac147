//! Where bytes come from: listeners, TLS, PROXY protocol, dialling, the in-memory pipe.
//!
//! A transport is a stream and a sink, nothing more. This crate turns an address into a [`Stream`] in both
//! directions: [`Listener`] waits for peers, [`Dialer`] goes to them. In between stand the things that must
//! happen before anyone speaks a protocol: one byte says who parses the rest ([`mod@sniff`]), a proxy in front
//! may say who the peer really is ([`proxy`]), TLS may have to be agreed ([`TlsAcceptor`]), and nobody may
//! occupy more than a share of the house while doing so ([`Admission`]). [`Door`] is all of that in order.
//!
//! Left to others: frames, HTTP, WebSocket, sessions, and every decision about what a peer is allowed to do.
//!
//! Absent on purpose: a rewind buffer around bare sockets. The first byte is only peeked at, so that a TCP
//! stream stays a TCP stream and can be written to directly from any thread.

pub mod address;
pub mod admission;
pub mod counters;
pub mod descriptors;
pub mod dial;
pub mod door;
pub mod listener;
pub mod network;
mod pacing;
pub mod peer;
pub mod pipe;
pub mod preface;
pub mod prompt;
pub mod proxy;
pub mod sniff;
pub mod stream;
pub mod tls;
pub mod url;

pub use address::{AddressError, ListenAddress};
pub use admission::{AddressSeat, Admission, AdmissionLimits, Young};
pub use counters::TransportCounters;
pub use dial::{DialError, DialOptions, Dialer, Distrust, Trust};
pub use door::{Door, Opened, Refusal, Talk};
pub use listener::{Accepted, BindError, Listener};
pub use network::{Network, Networks};
pub use peer::{LocalAddress, PeerAddress};
pub use prompt::Prompt;
pub use sniff::{Opening, sniff};
pub use stream::{DirectWriter, Duplex, QueuedWriter, ReadHalf, Stream, WriteHalf};
pub use tls::{Alpn, Fingerprint, TlsAcceptor};
pub use url::{ServerUrl, UrlError, Wire};
