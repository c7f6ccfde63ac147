//! Services of this process: an async function that answers calls as any provider would.
//!
//! To the hub a local service is one more mailbox among the providers of a pattern, so that callers over HTTP, over the
//! protocol and of this process find it by the same lookup, and everything that holds for providers holds for it:
//! credit in both directions, the deadline, exactly one outcome. A call that is abandoned drops its handler.
//!
//! ```text
//! Letter::Call ─► mailbox ─► running (a task per call) ─► handler(request) ─► answer ─► Letter::Answer
//!               Upload ─► body                                           writer ◄─ Refill
//! ```

mod answer;
mod body;
mod call;
mod mailbox;
mod request;
mod running;

use std::fmt;
use std::sync::Arc;

use whub_proto::names::{NameError, Pattern};

pub use answer::{LocalAnswer, LocalWriter};
pub use body::LocalBody;
pub use request::{LocalCaller, LocalRequest};

pub(crate) use mailbox::LocalMailbox;

/// Calls that a local service answers at once, unless it says otherwise.
const CONCURRENCY: usize = 256;

/// Calls that wait for one of them to end, unless it says otherwise.
const QUEUE: usize = 1024;

/// A service of this process, for [`Setup::service`](crate::Setup::service).
pub struct LocalService {
    pub(crate) pattern: Pattern,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
    pub(crate) description: Box<str>,
    pub(crate) pass_headers: Box<[Box<str>]>,
    handler: Arc<dyn Handler>,
}

impl LocalService {
    /// A service for the paths of `pattern`. The handler is called once for each call and may take any time up to the
    /// caller's deadline; when the caller no longer waits, its future is dropped.
    ///
    /// It returns a [`LocalAnswer`], or what becomes one: bytes, a string, a JSON value, or a `Result` of those with a
    /// [`Fault`](whub_core::Fault).
    ///
    /// # Errors
    /// When the pattern is none. The hub's own modules may provide under `/auth`, `/clients`, `/message`, `/services`
    /// and `/status` too.
    pub fn new<F, Fut, A>(pattern: &str, handler: F) -> Result<Self, NameError>
    where
        F: Fn(LocalRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
        A: Into<LocalAnswer>,
    {
        let pattern = Pattern::parse_own(pattern)?;
        let handler = move |request| {
            let answer = handler(request);
            Box::pin(async move { answer.await.into() }) as Answering
        };
        Ok(Self {
            pattern,
            concurrency: CONCURRENCY,
            queue: QUEUE,
            description: Box::default(),
            pass_headers: Box::default(),
            handler: Arc::new(handler),
        })
    }

    /// Calls that are answered at once. Default 256.
    #[must_use]
    pub fn concurrency(self, calls: usize) -> Self {
        Self { concurrency: calls.max(1), ..self }
    }

    /// One sentence for people who list services.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        Self { description: text.into(), ..self }
    }

    /// Request headers, in lower case, that the service wants although they are kept back by default.
    #[must_use]
    pub fn pass_headers(self, names: &[&str]) -> Self {
        Self { pass_headers: names.iter().map(|name| (*name).into()).collect(), ..self }
    }

    /// Calls beyond those that wait, within their deadline, for one to end. Default 1,024; past it the next provider is
    /// asked, or the caller told that the service is overloaded.
    #[must_use]
    pub fn queue(self, calls: usize) -> Self {
        Self { queue: calls, ..self }
    }
}

impl fmt::Debug for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalService({})", self.pattern)
    }
}

/// An answer under way.
type Answering = std::pin::Pin<Box<dyn Future<Output = LocalAnswer> + Send>>;

/// What answers the calls of a service.
trait Handler: Send + Sync {
    fn answer(&self, request: LocalRequest) -> Answering;
}

impl<F: Fn(LocalRequest) -> Answering + Send + Sync> Handler for F {
    fn answer(&self, request: LocalRequest) -> Answering {
        self(request)
    }
}
