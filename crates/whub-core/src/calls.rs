//! Placing a call: the same for callers over the protocol and over HTTP.

use std::time::{Duration, Instant};

use whub_proto::names::ServicePath;
use whub_proto::{Code, Flags, Kind, Via};

use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::letter::{Call, CallId};
use crate::mailbox::Mailbox;
use crate::packet::Packet;

/// Bytes of one direction of a stream that may be under way before the receiver sends credit: 256 KiB.
pub const WINDOW: u32 = 256 * 1024;

/// Who calls, as providers are told.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Where the outcome goes.
    pub mailbox: &'a Mailbox,
    /// The hub's name for the client.
    pub client: &'a str,
    /// The token's name, empty for anonymous callers.
    pub user: &'a str,
    /// The caller's address, empty where it has none.
    pub peer: &'a str,
}

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The call, as its caller knows it.
    pub id: CallId,
    /// Where to.
    pub path: &'a ServicePath<'a>,
    /// The `Request` envelope, passed on untouched.
    pub envelope: &'a [u8],
    /// Body, or its beginning.
    pub payload: &'a [u8],
    /// `End` when no more body follows.
    pub flags: Flags,
    /// The caller's deadline in milliseconds; 0 = the hub's default.
    pub timeout_ms: u32,
    /// Bytes of response body that the caller takes before it sends credit; 0 = [`WINDOW`].
    pub credit: u32,
}

/// A call that a provider has taken.
#[derive(Debug)]
pub struct Placed {
    /// Who owes the answer.
    pub provider: Mailbox,
    /// When the provider's session gives up on it.
    pub deadline: Instant,
}

impl Hub {
    /// Finds a provider and hands the call over. From then on the provider's session owes exactly one outcome.
    ///
    /// # Errors
    /// `NotFound` when nobody provides the path, `Unavailable` when every provider is full.
    pub fn place_call(&self, now: Now, caller: Caller<'_>, order: &Order<'_>) -> Result<Placed, Fault> {
        let Some(service) = self.services.find(order.path) else {
            self.counters.calls_not_found.one();
            return Err(not_found(order.path));
        };
        let timeout = match order.timeout_ms {
            0 => self.limits.call_timeout,
            ms => Duration::from_millis(ms.into()),
        };
        let deadline = now.at + timeout;
        let via = Via {
            client: caller.client,
            user: caller.user,
            node: &self.node,
            time_ms: now.unix_ms,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            path: service.pattern.as_str(),
            peer: caller.peer,
            ..Via::default()
        };
        let flags = order.flags.without(Flags::ACK);
        let request = Packet::forward(Kind::Request, flags, Some(&via), order.envelope, order.payload);
        let placed = service.place(|seat| Call {
            caller: caller.mailbox.clone(),
            id: order.id,
            deadline,
            request: request.clone(),
            ended: flags.contains(Flags::END),
            credit: if order.credit == 0 { WINDOW } else { order.credit },
            seat,
        });
        match placed {
            Ok(provider) => {
                self.counters.calls_accepted.one();
                Ok(Placed { provider, deadline })
            }
            Err(fault) => {
                self.counters.calls_unavailable.one();
                Err(fault)
            }
        }
    }
}

fn not_found(path: &ServicePath<'_>) -> Fault {
    Fault::fatal(
        Code::NotFound,
        "service.not_found",
        format!("can not find service for uri {}", path.as_str()),
    )
}
