//! What happens to every call before a provider is chosen and when its answer comes: an ordered chain of steps, the
//! same for callers over the protocol, over HTTP and within the process.
//!
//! ```text
//! place_call ── before ── before ── choose a provider ──→ provider
//!                  │ refused                                 │ answer, loss, deadline
//!                  ▼                                         ▼
//!                ended  ◄──────────────────────────  Watch: answered, ended
//! ```
//!
//! A step is a [`Middleware`]: pure and synchronous, on the thread of whoever calls or answers. Steps are built from
//! the configuration by `whub-server`; programs that embed the hub add their own. What concerns HTTP alone (CORS,
//! compression) is not here.
//!
//! Every outcome of a call goes to its caller's mailbox. So the one place where none can be missed is that mailbox:
//! the [`Watch`](watch::Watch) stands before it. A chain that watches nothing makes none, and a call that no step is
//! interested in costs one comparison.

mod address;
mod asked;
mod authentication;
mod block_list;
mod bucket;
mod chain;
mod fields;
mod from_to;
mod headers;
mod names;
mod per_service;
mod rate_limit;
mod record;
mod request_id;
mod size_limit;
mod watch;

use std::fmt;

pub use address::{Address, Network};
pub use asked::{Asked, Door};
pub use authentication::Authentication;
pub use block_list::{BlockList, Blocking, Throttle};
pub use bucket::{BUCKETS_MAX, Buckets, Rate};
pub use chain::{Chain, ChainSlot, Clock};
pub use fields::Fields;
pub use from_to::FromTo;
pub use headers::{HeaderRules, HeaderStep, is_about_the_way, is_hop_by_hop, is_hubs_own, is_kept_back};
pub use names::{HeaderName, HeaderNameError, HeaderNames};
pub use per_service::PerService;
pub use rate_limit::{RateLimit, RateLimits, Rates};
pub use record::{AnswerHead, CallRecord, Outcome};
pub use request_id::{RequestId, is_sane};
pub use size_limit::{SizeLimit, Sizes};
pub(crate) use watch::Watch;

use crate::fault::Fault;
use crate::hub::Now;

/// One step of the chain.
///
/// Steps are called for many calls at once, so what they remember they guard themselves. They must not block, nor
/// call the hub: a call may end while one of its tables is locked.
///
/// ```
/// use whub_core::middleware::{Asked, Interest, Middleware};
/// use whub_core::{Fault, Now};
/// use whub_proto::Code;
///
/// /// Nobody calls on Sundays.
/// #[derive(Debug)]
/// struct ClosedOnSundays;
///
/// impl Middleware for ClosedOnSundays {
///     fn name(&self) -> &'static str {
///         "closed_on_sundays"
///     }
///
///     fn interest(&self) -> Interest {
///         Interest::CALLS
///     }
///
///     fn before(&self, now: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
///         // The first of January 1970 was a Thursday.
///         if (now.unix_ms / 86_400_000 + 4) % 7 == 0 {
///             return Err(Fault::fatal(Code::Unavailable, "shop.closed", "come back on Monday"));
///         }
///         call.headers.set("x-open", "yes");
///         Ok(())
///     }
/// }
/// ```
pub trait Middleware: fmt::Debug + Send + Sync {
    /// Its name in `middleware.order`: lower case, with underscores.
    fn name(&self) -> &'static str;

    /// What it wants to see. Asked once, when the chain is built.
    fn interest(&self) -> Interest {
        Interest::ALL
    }

    /// Before a provider is chosen. May change the request's headers, bound its sizes, or refuse it.
    ///
    /// # Errors
    /// The fault that the caller is told; later steps do not see the call, [`ended`](Self::ended) comes for all.
    fn before(&self, _now: Now, _call: &mut Asked<'_>) -> Result<(), Fault> {
        Ok(())
    }

    /// The head of the answer, in the reverse order of the chain. May change its headers. Errors that a service
    /// answers with, and progress before the answer, do not come here.
    fn answered(&self, _now: Now, _call: &CallRecord, _answer: &mut AnswerHead<'_>) {}

    /// The call is over, however it ended; once for every call, those refused or not found included.
    fn ended(&self, _now: Now, _call: &CallRecord, _outcome: &Outcome) {}
}

/// What a step wants to see. What nobody wants costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// [`Middleware::before`] of calls without any header too; otherwise only of those that have some.
    pub bare_calls: bool,
    /// [`Middleware::answered`].
    pub answers: bool,
    /// [`Middleware::ended`].
    pub ends: bool,
}

impl Interest {
    /// Everything.
    pub const ALL: Self = Self { bare_calls: true, answers: true, ends: true };
    /// Every call before it is made, and nothing after.
    pub const CALLS: Self = Self { bare_calls: true, answers: false, ends: false };
    /// The headers of requests alone.
    pub const REQUEST_HEADERS: Self = Self { bare_calls: false, answers: false, ends: false };

    /// What either wants.
    #[must_use]
    const fn or(self, other: Self) -> Self {
        Self {
            bare_calls: self.bare_calls || other.bare_calls,
            answers: self.answers || other.answers,
            ends: self.ends || other.ends,
        }
    }
}
