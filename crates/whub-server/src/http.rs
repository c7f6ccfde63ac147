//! HTTP on the hub's port: WebSocket handshakes, calls to services, and the hub's own pages.
//!
//! ```text
//! connection → visit → request → guard → route ─┬→ upgrade    /ws /pair/<id> /debug/echo: the stream is given away
//!                                               ├→ own        /healthz /readyz /metrics / /dashboard /v1/…
//!                                               ├→ pair       /pair/<id> without a WebSocket
//!                                               ├→ websocket  any other path, as a WebSocket: a service's
//!                                               └→ call       any other path: a service's
//! ```
//!
//! hyper reads and writes HTTP; here is what a request means. Left to others: what is said after an upgrade
//! (`connection`), and who provides what (`whub-core`).
//!
//! Deliberately absent: a task per request, a pending-call table (the provider's session owes the answer to a
//! mailbox of one), and any buffer for a body that does not fit into one frame.

mod body;
mod call;
mod caller;
mod channel;
mod compress;
mod config;
mod cors;
mod counters;
pub(crate) mod credentials;
mod endpoints;
mod event_mailbox;
mod events;
mod exchange;
mod forwarded;
mod gateway;
mod guard;
mod head;
mod inspect;
mod known;
mod live;
mod metered;
mod metrics;
mod page;
mod pair;
mod pair_mailbox;
mod patience;
mod problem;
mod proxy;
mod publish;
mod relay;
mod request_id;
mod rooms;
mod route;
mod status;
mod subscribe;
mod tie;
mod trace;
mod trailers;
mod upgrade;
mod upload;
mod visit;
mod websocket;
mod window;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use whub_transport::{LocalAddress, Opened, PeerAddress, Stream, Talk};

#[cfg(test)]
pub(crate) use caller::CallerMailbox;
pub(crate) use counters::HttpCounters;
pub(crate) use tie::Tie;

use crate::config::Limits;
use crate::node::Node;
use metered::Metered;
use patience::{Patience, Verdict};
use visit::Visit;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum House {
    /// Everything.
    Hub,
    /// Plain halves of pairs, and nothing else.
    Relay,
}

/// Serves one connection until it has ended, or was given away by an upgrade.
pub(crate) async fn serve(node: Arc<Node>, opened: Opened, house: House) {
    let Opened { stream, peer, young, seat, .. } = opened;
    let _present = node.presence();
    let config = node.config();
    let visit = Arc::new(Visit::new(Arc::clone(&node), &peer, stream.is_tls(), young, seat));
    let io = TokioIo::new(Metered::new(stream, Arc::clone(&visit)));
    let service = {
        let visit = Arc::clone(&visit);
        service_fn(move |request| route::respond(visit.welcome(&request), house, request))
    };
    let builder = builder(&config.limits);
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut stopping = node.stopping();
    let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
    let mut patience = Patience::new(config.limits.first_request, 2 * config.limits.ping);
    let mut leaving = false;
    drop(config);
    poll_fn(|cx| {
        loop {
            // 1. The conversation itself. How it failed is the peer's business.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // 2. A node that stops asks its clients to go, after what they are waiting for.
            if !leaving && stop.as_mut().poll(cx).is_ready() {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            // 3. Peers that keep us waiting.
            match patience.poll(cx, || visit.seen()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Verdict::Silent) => {
                    node.http.slow_openers.one();
                    return Poll::Ready(());
                }
                Poll::Ready(Verdict::Dead) => {
                    node.hub.counters.dead_peers.one();
                    return Poll::Ready(());
                }
                Poll::Ready(Verdict::Leave) if leaving => return Poll::Ready(()),
                Poll::Ready(Verdict::Leave) => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    })
    .await;
}

/// A connection of the hub with itself, in memory.
pub(crate) async fn indoors(node: &Arc<Node>) -> Stream {
    let (near, far) = tokio::io::duplex(INDOORS_BYTES);
    let peer = PeerAddress::Memory;
    let young = node.indoors.young().await;
    let Some(seat) = node.indoors.seat(&peer) else { return Stream::boxed(near) };
    let stream = Stream::boxed(far);
    let opened = Opened { stream, talk: Talk::Http, peer, local: LocalAddress::Memory, young, seat };
    tokio::spawn(serve(Arc::clone(node), opened, House::Hub));
    Stream::boxed(near)
}

/// Bytes under way indoors, in each direction.
const INDOORS_BYTES: usize = 64 * 1024;

/// Streams of one HTTP/2 connection that may be open at once.
const STREAMS_MAX: u32 = 128;

/// Bytes that one HTTP/2 stream may have under way, in each direction; a connection may have four times that.
const STREAM_BYTES: u32 = whub_core::WINDOW;

/// Silence after which an HTTP/2 peer is pinged, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// What an HTTP/1 connection may read at once, and gather before it writes, bytes: large enough for two pieces of a long
/// body. hyper refuses heads beyond it by itself, without a word, in HTTP/2 too; [`head::check`] those between it and the
/// limit.
const BUFFER_BYTES: usize = 128 * 1024;

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head_bytes = limits.header_bytes.max(BUFFER_BYTES);
    // No timer of hyper's own: one per request costs more than one per connection, and it cannot see the time
    // before the version is known. `Patience` bounds both.
    // Nor `pipeline_flush`: with it hyper never sends a 101 whose client has sent its first message already.
    builder.http1().max_buf_size(head_bytes);
    if limits.header_fields > head::FIELDS_HYPER {
        builder.http1().max_headers(limits.header_fields);
    }
    builder
        .http2()
        .enable_connect_protocol()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_BYTES)
        .initial_connection_window_size(4 * STREAM_BYTES)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX));
    builder
}
