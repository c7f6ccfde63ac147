//! Everything between a new connection and the first word of its protocol, in order.
//!
//! ```text
//! room among the young → accept → [PROXY header] → seat of its address → first byte → [TLS → ALPN]
//!                                                                                  → [preface]
//! ```
//!
//! Every step has the same deadline, and every way to fail its counter. A connection that fails is closed
//! without an answer: it has not said a language in which to answer.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::admission::{AddressSeat, Admission, Young};
use crate::counters::{TransportCounters, count};
use crate::listener::{Accepted, Listener};
use crate::network::Networks;
use crate::peer::{LocalAddress, PeerAddress};
use crate::preface::{PrefaceError, read_preface};
use crate::proxy::{ProxyError, ProxySource, read_header};
use crate::sniff::{Opening, sniff};
use crate::stream::Stream;
use crate::tls::{Alpn, HandshakeError, TlsAcceptor};

/// The door of a node, shared by its listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    /// What TLS clients are shown; without it they are turned away.
    pub tls: Option<TlsAcceptor>,
    /// Whose PROXY headers are believed.
    pub proxies: Arc<Networks>,
    /// The deadline of each step, `limits.first_request`.
    pub step_within: Duration,
    /// How many are let in.
    pub admission: Admission,
    /// Where failures are counted.
    pub counters: Arc<TransportCounters>,
}

/// A connection whose protocol is known.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes, from the protocol's first on; for [`Talk::Own`] from the first frame's length on.
    pub stream: Stream,
    /// What it speaks.
    pub talk: Talk,
    /// Who is at the other end, as a proxy in front may have said.
    pub peer: PeerAddress,
    /// The listener it came in by.
    pub local: LocalAddress,
    /// Its place among the unproven; to be dropped at the first complete request or handshake.
    pub young: Young,
    /// Its place in its address's count; to be kept as long as the connection.
    pub seat: AddressSeat,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// HTTP/1.1 or HTTP/2, which the HTTP parser tells apart.
    Http,
    /// The own protocol. Its preface, if any, has been read.
    Own,
}

impl Door {
    /// Waits for room, then for a connection. Cancelling it loses none.
    pub async fn next(&self, listener: &Listener) -> (Accepted, Young) {
        let young = self.admission.young().await;
        (listener.accept().await, young)
    }

    /// Brings a connection to the first word of its protocol. Run it in the connection's own task.
    ///
    /// # Errors
    /// [`Refusal`], already counted; the connection is closed.
    pub async fn open(&self, accepted: Accepted, young: Young) -> Result<Opened, Refusal> {
        let Accepted { mut stream, mut peer, local } = accepted;
        let behind_proxy = self.proxies.contains(&peer);
        // A proxy holds the connections of a whole neighbourhood: its own address is not counted.
        let mut seat = if behind_proxy { AddressSeat::exempt() } else { self.seat(&peer)? };
        let mut opening = self.first_byte(&mut stream, behind_proxy).await;
        if opening == Opening::Proxy {
            if let ProxySource::Client(at) = self.proxy_header(&mut stream).await? {
                peer = PeerAddress::tcp(at);
                seat = self.seat(&peer)?;
            }
            opening = self.first_byte(&mut stream, false).await;
        }
        let (stream, talk) = self.agree(stream, opening).await?;
        Ok(Opened { stream, talk, peer, local, young, seat })
    }

    fn seat(&self, peer: &PeerAddress) -> Result<AddressSeat, Refusal> {
        self.admission.seat(peer).ok_or(Refusal::AddressCap)
    }

    async fn first_byte(&self, stream: &mut Stream, proxy_allowed: bool) -> Opening {
        let opening = sniff(stream, proxy_allowed, self.step_within).await;
        opening.count(&self.counters);
        opening
    }

    async fn proxy_header(&self, stream: &mut Stream) -> Result<ProxySource, ProxyError> {
        let outcome = read_header(stream, self.step_within).await;
        if outcome.is_err() {
            count(&self.counters.proxy_refused);
        }
        outcome
    }

    async fn agree(&self, mut stream: Stream, opening: Opening) -> Result<(Stream, Talk), Refusal> {
        match opening {
            Opening::Http => Ok((stream, Talk::Http)),
            Opening::Own => {
                self.preface(&mut stream).await?;
                Ok((stream, Talk::Own))
            }
            Opening::Tls => self.tls(stream).await,
            dead_end @ (Opening::Proxy
            | Opening::Closed
            | Opening::Silent
            | Opening::Mqtt
            | Opening::Unknown(_)) => Err(Refusal::Opening(dead_end)),
        }
    }

    async fn tls(&self, stream: Stream) -> Result<(Stream, Talk), Refusal> {
        let Some(tls) = &self.tls else {
            count(&self.counters.tls_unconfigured);
            return Err(Refusal::NoTls);
        };
        let (stream, alpn) = tls.accept(stream, self.step_within, &self.counters).await?;
        let talk = match alpn {
            Alpn::Http2 | Alpn::Http1 | Alpn::Absent => Talk::Http,
            Alpn::Own => Talk::Own,
        };
        Ok((stream, talk))
    }

    async fn preface(&self, stream: &mut Stream) -> Result<(), PrefaceError> {
        let outcome = read_preface(stream, self.step_within).await;
        match &outcome {
            Ok(()) => {}
            Err(PrefaceError::Late) => count(&self.counters.preface_timeouts),
            Err(PrefaceError::Foreign(_) | PrefaceError::Version(_) | PrefaceError::Lost(_)) => {
                count(&self.counters.preface_refused);
            }
        }
        outcome
    }
}

/// Why a connection was not let in.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Its address holds as many as it may.
    #[error("its address holds limits.connections_per_address already")]
    AddressCap,
    /// It began with nothing the hub speaks, or not at all.
    #[error("it did not begin with a protocol of the hub: {0:?}")]
    Opening(Opening),
    /// It wants TLS, and there is no certificate.
    #[error("it wants TLS, which this hub has no certificate for")]
    NoTls,
    /// The TLS handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The PROXY header.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The preface of the own protocol.
    #[error(transparent)]
    Preface(#[from] PrefaceError),
}
