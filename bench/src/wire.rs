//! The protocols that the generator speaks above WebSocket frames, one file each.

mod joined;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod whub;

use crate::fault::Fault;
use crate::message::Stamp;
use crate::net::Outbox;

/// A protocol that delivers published messages.
pub(crate) trait Broker {
    /// Gives the payload of every whole message in `bytes` to `take` and says how many bytes were used.
    fn deliveries(
        &mut self,
        conn: usize,
        bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
        out: &mut Outbox,
    ) -> Result<usize, Fault>;
}

/// A protocol that carries calls.
pub(crate) trait CallWire {
    /// Appends the `nth` request of `caller`.
    fn request(&self, out: &mut Vec<u8>, caller: usize, nth: u64, stamp: Stamp);

    /// Appends the response to the request that came with `reply`.
    fn response(&self, out: &mut Vec<u8>, reply: u64, stamp: Stamp);

    /// Adds every whole request and response in `bytes` and says how many bytes were used.
    fn arrivals(
        &mut self,
        conn: usize,
        bytes: &[u8],
        message_len: usize,
        found: &mut Vec<Arrival>,
        out: &mut Outbox,
    ) -> Result<usize, Fault>;
}

/// What reached a caller or a provider.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    /// A request; `reply` goes into the response.
    Request {
        /// Id of the call at the provider, or number of the caller.
        reply: u64,
        /// Stamp of the request's body.
        stamp: Stamp,
    },
    /// The response to the caller's call.
    Response {
        /// Stamp of the response's body.
        stamp: Stamp,
    },
}
