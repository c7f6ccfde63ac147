//! Placing a call: the same for callers over the protocol and over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::names::ServicePath;
use whub_proto::{Body, Code, Flags, Headers, Kind, Request, TooLarge, Via};

use crate::call::{Call, CallId, CallKey, Place};
use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::middleware::{Asked, Chain, Door, Watch};
use crate::moving::Refusals;
use crate::packet::Packet;
use crate::services::{Choose, Roster, Service, Withdrawn, hash};

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

/// A call that was accepted.
#[derive(Debug)]
pub struct Placed {
    /// Where it is.
    pub place: Place,
    /// When the hub gives up on it.
    pub deadline: Instant,
}

/// A service, and how it is just now: looked up once for all that a call wants to know.
struct Found {
    service: Arc<Service>,
    roster: Arc<Roster>,
}

impl Found {
    fn new(service: Arc<Service>) -> Self {
        Self { roster: service.roster(), service }
    }
}

impl Hub {
    /// Finds a provider and hands the call over, or has it wait for one. From then on exactly one outcome comes to the
    /// caller's mailbox, unless the caller [abandons](Self::abandon) the call.
    ///
    /// # Errors
    /// `Unauthorized` or `Forbidden` when the service is not for this caller, what a step of the chain refuses,
    /// `NotFound` when nobody provides the path, `Unavailable` when every provider is full and too many calls wait.
    pub fn place_call(&self, now: Now, caller: Caller<'_>, order: &Order<'_>) -> Result<Placed, Fault> {
        if !self.roles.access && !order.path.is_own() && order.door != Door::Local {
            return Err(self.turn_away(now, caller, order, no_access()));
        }
        let found = self.services_for(order.path).find(order.path).map(Found::new);
        if let Some(Err(fault)) = found.as_ref().map(|found| found.roster.access.admit(caller.user)) {
            self.counters.forbidden.one();
            return Err(self.turn_away(now, caller, order, fault));
        }
        match self.chain.for_call(!order.request.headers.is_empty()) {
            None => self.hand_over(now, caller, order, found.as_ref()),
            Some((chain, number)) => {
                let service = found.as_ref().map(|found| &*found.service);
                let asked = Asked::new(number, caller, order, service);
                self.place_through(&chain, now, asked, order, found.as_ref())
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
        let fault = match chain.before(now, &mut asked) {
            Ok(()) => fault,
            Err(refusal) => {
                self.count_refusal(&refusal);
                refusal
            }
        };
        chain.turned_away(now, &asked, &fault);
        fault
    }

    fn place_through(
        &self,
        chain: &Arc<Chain>,
        now: Now,
        mut asked: Asked<'_>,
        order: &Order<'_>,
        found: Option<&Found>,
    ) -> Result<Placed, Fault> {
        if let Err(fault) = chain.before(now, &mut asked) {
            self.count_refusal(&fault);
            chain.turned_away(now, &asked, &fault);
            return Err(fault);
        }
        let watch = (chain.watches() || asked.is_bounded())
            .then(|| Watch::new(Arc::clone(chain), now, &asked, order.id));
        let outcome_to = watch.as_ref().map(Watch::caller);
        let caller = Caller { mailbox: outcome_to.as_ref().unwrap_or(asked.caller.mailbox), ..asked.caller };
        let pairs = asked.headers.changes();
        let placed = match &pairs {
            None => self.hand_over(now, caller, order, found),
            Some(pairs) => {
                let request = Request { headers: Headers::new(pairs), ..*order.request };
                let order = Order { request: &request, envelope: None, ..*order };
                self.hand_over(now, caller, &order, found)
            }
        };
        let Some(watch) = watch else { return placed };
        match placed {
            Ok(placed) if order.flags.contains(Flags::END) => Ok(placed),
            Ok(placed) => Ok(Placed { place: watch.place(placed.place), ..placed }),
            Err(fault) => {
                watch.refused(now, &fault);
                Err(fault)
            }
        }
    }

    fn count_refusal(&self, fault: &Fault) {
        let counters = &self.counters;
        let is_rate = fault.code == Code::TooManyRequests;
        if is_rate { counters.calls_rate_limited.one() } else { counters.calls_refused.one() }
    }

    fn hand_over(
        &self,
        now: Now,
        caller: Caller<'_>,
        order: &Order<'_>,
        found: Option<&Found>,
    ) -> Result<Placed, Fault> {
        let Some(found) = found else {
            self.counters.calls_not_found.one();
            return Err(not_found(order.path));
        };
        let service = &found.service;
        let settings = &found.roster.settings;
        let timeout = match order.timeout_ms {
            0 => settings.call_timeout.unwrap_or(self.limits.call_timeout),
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
        let call = Box::new(Call {
            caller: caller.mailbox.clone(),
            id: order.id,
            since: now.at,
            deadline,
            request: order.packet(flags, &via)?,
            ended: flags.contains(Flags::END),
            credit: if order.credit == 0 { WINDOW } else { order.credit },
            idempotent: is_idempotent(order.request),
            websocket: order.request.method == WEBSOCKET,
            affinity: affinity(settings.choose, caller, order.request.key),
            moved: 0,
            refusals: Refusals::default(),
            hops: 0,
            step: 0,
            seat: None,
            service: Arc::clone(service),
        });
        service.stats.calls.one();
        match self.seat(now.at, &found.roster, call) {
            Ok(place) => {
                self.counters.calls_accepted.one();
                Ok(Placed { place, deadline })
            }
            Err((_, fault)) => {
                self.counters.calls_unavailable.one();
                service.stats.unavailable.one();
                service.stats.errors.count(fault.code);
                Err(fault)
            }
        }
    }

    /// Gives the call to a provider, or to the line of those who wait.
    pub(crate) fn seat(
        &self,
        now: Instant,
        roster: &Roster,
        call: Box<Call>,
    ) -> Result<Place, (Box<Call>, Fault)> {
        let service = Arc::clone(&call.service);
        let mut call = call;
        // Nobody overtakes those who wait.
        if service.waiting() == 0 {
            match service.offer(roster, call) {
                Ok(provider) => return Ok(Place::At(provider)),
                Err(refused) => call = refused.call,
            }
        }
        match service.wait(now, call) {
            Ok(()) => Ok(Place::Waiting(service)),
            Err(call) => Err((call, overloaded(&service))),
        }
    }

    /// The caller no longer waits for the call, which is there as far as it knows. What is known of it elsewhere comes as
    /// [`Letter::Placed`], and is to be abandoned in the same way.
    pub fn abandon(&self, place: &Place, call: CallKey, code: Code) {
        match place {
            Place::At(provider) => {
                // A provider that is gone needs no telling.
                let _ = provider.post(Letter::Abandon { call, code });
            }
            Place::Waiting(service) => match service.withdraw(call) {
                Withdrawn::Back(call) => {
                    self.counters.calls_cancelled.one();
                    call.service.stats.errors.count(code);
                }
                Withdrawn::InHand | Withdrawn::Unknown => {}
            },
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

/// The method that asks for a WebSocket.
pub const WEBSOCKET: &str = "WEBSOCKET";

/// Whether the call may be carried out twice: its caller says so, or its method is safe (RFC 9110 section 9.2.1). The other
/// idempotent methods, PUT and DELETE, are not repeated: what they find the second time is not what they found the first.
fn is_idempotent(request: &Request<'_>) -> bool {
    !request.idempotency.is_empty() || matches!(request.method, "GET" | "HEAD" | "OPTIONS")
}

/// What keeps calls at one provider: their key, or for sticky services their caller. 0 for nothing.
fn affinity(choose: Choose, caller: Caller<'_>, key: &str) -> u64 {
    match choose {
        Choose::RoundRobin | Choose::Random => 0,
        Choose::LeastLoaded | Choose::Local if key.is_empty() => 0,
        Choose::Sticky if key.is_empty() && caller.user.is_empty() => hash(caller.client.as_bytes()),
        Choose::Sticky if key.is_empty() => hash(caller.user.as_bytes()),
        Choose::LeastLoaded | Choose::Local | Choose::Sticky => hash(key.as_bytes()),
    }
}

/// When to come back to a service that is overloaded: about as long as a burst lasts.
const RETRY_MS: u32 = 500;

pub(crate) fn overloaded(service: &Service) -> Fault {
    let reason = format!("every provider of {} is busy; try again a little later", service.pattern);
    Fault::passing(Code::Unavailable, "service.overloaded", RETRY_MS, reason)
}

pub(crate) fn deadline_exceeded() -> Fault {
    let reason = "the service did not answer in time; allow it longer, or ask why it is slow";
    Fault::fatal(Code::DeadlineExceeded, "call.deadline", reason)
}

fn head_too_large(error: TooLarge) -> Fault {
    Fault::fatal(Code::TooLarge, HEAD_TOO_LARGE, error.to_string())
}

fn no_access() -> Fault {
    let reason =
        "this node holds providers and takes no calls (its node.roles lack `access`); call an access node";
    Fault::fatal(Code::Unsupported, "node.no_access", reason)
}

fn not_found(path: &ServicePath<'_>) -> Fault {
    Fault::fatal(
        Code::NotFound,
        "service.not_found",
        format!("can not find service for uri {}", path.as_str()),
    )
}
