//! Placing a call: the same for callers over the protocol and over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::names::ServicePath;
use whub_proto::{Body, Code, Flags, Headers, Kind, Request, TooLarge, Via};

use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::letter::{Call, CallId};
use crate::mailbox::Mailbox;
use crate::middleware::{Asked, Chain, Door, Watch};
use crate::packet::Packet;
use crate::services::Service;

/// Bytes of one direction of a stream that may be under way before the receiver sends credit: 256 KiB.
pub const WINDOW: u32 = 256 * 1024;

/// The slug of a request whose headers do not fit a frame.
pub const HEAD_TOO_LARGE: &str = "http.head_too_large";

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
    /// What is asked.
    pub request: &'a Request<'a>,
    /// The envelope that the request came in, passed on untouched unless a step of the chain changes a header;
    /// `None` where it came in no frame.
    pub envelope: Option<&'a [u8]>,
    /// How it came in.
    pub door: Door,
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
    /// What a step of the chain refuses, `NotFound` when nobody provides the path, `Unavailable` when every provider
    /// is full.
    pub fn place_call(&self, now: Now, caller: Caller<'_>, order: &Order<'_>) -> Result<Placed, Fault> {
        let service = self.services_for(order.path).find(order.path);
        let service = service.as_deref();
        match self.chain.for_call(!order.request.headers.is_empty()) {
            None => self.hand_over(now, caller, order, service),
            Some((chain, number)) => {
                let asked = Asked::new(number, caller, order, service);
                self.place_through(&chain, now, asked, order)
            }
        }
    }

    /// A call that was refused before it could be placed: the chain hears of it. Returns what the caller is told, the
    /// chain's own refusal if it has one.
    pub fn turn_away(&self, now: Now, caller: Caller<'_>, order: &Order<'_>, fault: Fault) -> Fault {
        let Some((chain, number)) = self.chain.for_call(!order.request.headers.is_empty()) else {
            return fault;
        };
        let service = self.services_for(order.path).find(order.path);
        let mut asked = Asked::new(number, caller, order, service.as_deref());
        let fault = chain.before(now, &mut asked).err().unwrap_or(fault);
        chain.turned_away(now, &asked, &fault);
        fault
    }

    fn place_through(
        &self,
        chain: &Arc<Chain>,
        now: Now,
        mut asked: Asked<'_>,
        order: &Order<'_>,
    ) -> Result<Placed, Fault> {
        if let Err(fault) = chain.before(now, &mut asked) {
            chain.turned_away(now, &asked, &fault);
            return Err(fault);
        }
        let watch = (chain.watches() || asked.is_bounded())
            .then(|| Watch::new(Arc::clone(chain), now, &asked, order.id));
        let outcome_to = watch.as_ref().map(Watch::caller);
        let caller = Caller { mailbox: outcome_to.as_ref().unwrap_or(asked.caller.mailbox), ..asked.caller };
        let pairs = asked.headers.changes();
        let placed = match &pairs {
            None => self.hand_over(now, caller, order, asked.service),
            Some(pairs) => {
                let request = Request { headers: Headers::new(pairs), ..*order.request };
                let order = Order { request: &request, envelope: None, ..*order };
                self.hand_over(now, caller, &order, asked.service)
            }
        };
        let Some(watch) = watch else { return placed };
        match placed {
            Ok(placed) if order.flags.contains(Flags::END) => Ok(placed),
            Ok(placed) => Ok(Placed { provider: watch.provider(placed.provider), ..placed }),
            Err(fault) => {
                watch.refused(now, &fault);
                Err(fault)
            }
        }
    }

    fn hand_over(
        &self,
        now: Now,
        caller: Caller<'_>,
        order: &Order<'_>,
        service: Option<&Service>,
    ) -> Result<Placed, Fault> {
        let Some(service) = service else {
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
        let request = order.packet(flags, &via)?;
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

impl Order<'_> {
    /// The frame for the provider.
    fn packet(&self, flags: Flags, via: &Via<'_>) -> Result<Packet, Fault> {
        if let Some(envelope) = self.envelope {
            return Ok(Packet::forward(Kind::Request, flags, Some(via), envelope, self.payload));
        }
        let body = Body::Request(*self.request);
        Packet::try_build(&body, flags, Some(via), self.payload).map_err(head_too_large)
    }
}

fn head_too_large(error: TooLarge) -> Fault {
    Fault::fatal(Code::TooLarge, HEAD_TOO_LARGE, error.to_string())
}

fn not_found(path: &ServicePath<'_>) -> Fault {
    Fault::fatal(
        Code::NotFound,
        "service.not_found",
        format!("can not find service for uri {}", path.as_str()),
    )
}
