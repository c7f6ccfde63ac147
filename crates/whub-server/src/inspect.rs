//! The inspector: recent calls with their headers, sizes and times, for those who administer the node.
//!
//! Nothing is recorded until somebody looks, or the configuration names a service: then the inspector joins the chain
//! of every call as its last step, where it sees what the provider sees. It leaves again some time after the last look.
//! What it remembers is bounded in calls and in bytes, and is gone with the process.
//!
//! What it keeps are headers as they are, because a replay needs them; what it shows is [redacted](redact). Bodies are
//! not shown at all; a request's body is kept if it is short, to be sent again.

mod joining;
mod recorded;
pub(crate) mod redact;
mod shelf;
mod watches;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::broadcast;
use whub_core::middleware::{AnswerHead, Asked, CallRecord, Interest, Middleware, Outcome};
use whub_core::{Fault, Now};
use whub_proto::names::ServicePath;

pub(crate) use recorded::Recorded;
pub(crate) use redact::Redactor;
pub(crate) use shelf::Shelf;
pub(crate) use watches::{Scope, Watches};

use crate::config::Inspect;

/// News that may wait for one who watches; who is slower than that is told how much was left out.
const NEWS: usize = 256;

/// Remembers calls. See the module.
#[derive(Debug)]
pub(crate) struct Inspector {
    // Held for a look or a note; calls that nobody watches leave it at once.
    state: Mutex<State>,
    news: broadcast::Sender<Arc<News>>,
    // Held while the inspector joins the chain or leaves it.
    seat: Mutex<joining::Seat>,
}

/// A call that has ended, as it is shown.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) path: Box<str>,
    pub(crate) call: Value,
}

#[derive(Debug)]
struct State {
    watches: Watches,
    shelf: Shelf,
    redactor: Redactor,
    body_bytes_max: usize,
}

impl Inspector {
    pub(crate) fn new(config: &Inspect) -> Self {
        let state = State {
            watches: Watches::new(config.services.clone()),
            shelf: Shelf::new(config.calls, config.bytes),
            redactor: Redactor::new(&config.redact),
            body_bytes_max: config.body_bytes,
        };
        Self { state: Mutex::new(state), news: broadcast::Sender::new(NEWS), seat: Mutex::default() }
    }

    /// Takes over what can change while the node runs.
    pub(crate) fn reload(&self, config: &Inspect) {
        let mut state = self.lock();
        state.watches.configure(config.services.clone());
        state.shelf.resize(config.calls, config.bytes);
        state.redactor = Redactor::new(&config.redact);
        state.body_bytes_max = config.body_bytes;
    }

    /// Records the calls of a scope until then.
    ///
    /// # Errors
    /// `TooManyRequests` when too many scopes are watched already.
    pub(crate) fn watch(&self, scope: &Scope, until: Instant) -> Result<(), Fault> {
        self.lock().watches.add(scope.clone(), until)
    }

    /// Until when somebody watches; `None` when nobody does. What the configuration names is watched for ever.
    pub(crate) fn watched(&self, now: Instant) -> Watched {
        self.lock().watches.watched(now)
    }

    /// Forgets all calls, and stops recording what the configuration does not name.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.watches.clear();
        state.shelf.clear();
    }

    /// The calls of a scope, the latest first.
    pub(crate) fn list(&self, scope: &Scope, most: usize) -> Vec<Value> {
        let state = self.lock();
        let wanted = state.shelf.latest().filter(|call| scope.covers(&call.path));
        wanted.take(most).map(|call| call.show(&state.redactor, false)).collect()
    }

    /// One call with its headers.
    pub(crate) fn show(&self, number: u64) -> Option<Value> {
        let state = self.lock();
        state.shelf.find(number).map(|call| call.show(&state.redactor, true))
    }

    /// One call as it is, to be made again.
    pub(crate) fn find(&self, number: u64) -> Option<Recorded> {
        self.lock().shelf.find(number).cloned()
    }

    /// Headers as they may be shown.
    pub(crate) fn redacted(&self, headers: &[(Box<str>, Box<str>)]) -> Value {
        self.lock().redactor.headers(headers)
    }

    /// Calls that end from now on.
    pub(crate) fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }

    /// Calls that made room for later ones.
    pub(crate) fn forgotten(&self) -> u64 {
        self.lock().shelf.forgotten()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long recording goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Nobody looks.
    Not,
    /// Somebody looked, and this is when that no longer counts.
    Until(Instant),
    /// The configuration wants it.
    Always,
}

impl Middleware for Inspector {
    fn name(&self) -> &'static str {
        "inspector"
    }

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn before(&self, now: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        let mut state = self.lock();
        if state.watches.wants(now.at, call.path) {
            let recorded = Recorded::of(now, call, state.body_bytes_max);
            state.shelf.put(recorded);
        }
        Ok(())
    }

    fn answered(&self, _now: Now, call: &CallRecord, answer: &mut AnswerHead<'_>) {
        self.lock().shelf.change(call.number, |recorded| recorded.answered(answer));
    }

    fn ended(&self, now: Now, call: &CallRecord, outcome: &Outcome) {
        let mut state = self.lock();
        let known = state.shelf.change(call.number, |recorded| recorded.end(outcome));
        if !known {
            // A step before this one turned the call away, or it was asked before anybody watched.
            let Ok(path) = ServicePath::parse(&call.path) else { return };
            if !outcome.refused || !state.watches.wants(now.at, &path) {
                return;
            }
            state.shelf.put(Recorded::refused(call, outcome));
        }
        if self.news.receiver_count() > 0
            && let Some(recorded) = state.shelf.find(call.number)
        {
            let news = News { path: recorded.path.clone(), call: recorded.show(&state.redactor, false) };
            // Nobody is left to hear it, then.
            let _ = self.news.send(Arc::new(news));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whub_core::middleware::{Chain, Door};
    use whub_core::{CallId, Caller, Hub, Mailbox, Order, SessionLimits};
    use whub_proto::{Flags, Headers, Request};

    use super::*;
    use crate::http::CallerMailbox;

    fn config() -> Inspect {
        crate::config::Config::default().inspect
    }

    /// A hub whose every call is inspected, and nobody to answer.
    struct Scene {
        hub: Hub,
        inspector: Arc<Inspector>,
    }

    impl Scene {
        fn new(config: &Inspect) -> Self {
            let hub = Hub::new("n", "whub", SessionLimits::default());
            let inspector = Arc::new(Inspector::new(config));
            let steps: Vec<Arc<dyn Middleware>> = vec![inspector.clone()];
            hub.chain.replace(Chain::new(steps, Arc::new(crate::connection::now)));
            Self { hub, inspector }
        }

        fn call(&self, path: &str, headers: &[(&str, &str)], payload: &[u8]) {
            let mailbox = Mailbox::new(Arc::new(CallerMailbox::new(self.hub.next_session())));
            let caller = Caller { mailbox: &mailbox, client: "c-1", user: "ann", peer: "192.0.2.1:1" };
            let path = ServicePath::parse(path).unwrap();
            let request = Request {
                path: path.as_str(),
                method: "POST",
                query: "q=1&token=s3cret",
                headers: Headers::new(headers),
                ..Request::default()
            };
            let order = Order {
                id: CallId { id: 1, serial: 1 },
                path: &path,
                request: &request,
                envelope: None,
                door: Door::Local,
                payload,
                flags: Flags::END,
                timeout_ms: 0,
                credit: 0,
            };
            let placed = self.hub.place_call(crate::connection::now(), caller, &order);
            assert!(placed.is_err(), "nobody provides anything here");
        }

        fn all(&self) -> Vec<Value> {
            self.inspector.list(&Scope::all(), 100)
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[test]
    fn only_what_is_watched_is_recorded() {
        let scene = Scene::new(&config());
        scene.call("/a/b", &[], b"");
        assert!(scene.all().is_empty());
        scene.inspector.watch(&Scope::parse("/a").unwrap(), soon()).unwrap();
        scene.call("/a/b", &[], b"");
        scene.call("/ab", &[], b"");
        let all = scene.all();
        assert_eq!((all.len(), &all[0]["path"], &all[0]["status"]), (1, &"/a/b".into(), &404.into()));
        assert_eq!(scene.inspector.watched(Instant::now()), scene.inspector.watched(Instant::now()));
        scene.inspector.clear();
        scene.call("/a/b", &[], b"");
        assert!(scene.all().is_empty());
        assert_eq!(scene.inspector.watched(Instant::now()), Watched::Not);
    }

    #[test]
    fn what_the_configuration_names_is_always_recorded() {
        let services = vec![whub_proto::names::Pattern::parse("/a/*rest").unwrap()];
        let scene = Scene::new(&Inspect { services, ..config() });
        scene.call("/a/b", &[], b"");
        scene.call("/b", &[], b"");
        assert_eq!(scene.all().len(), 1);
        assert_eq!(scene.inspector.watched(Instant::now()), Watched::Always);
        scene.inspector.clear();
        assert_eq!(scene.inspector.watched(Instant::now()), Watched::Always);
    }

    #[test]
    fn secrets_are_kept_and_not_shown() {
        let scene = Scene::new(&config());
        scene.inspector.watch(&Scope::all(), soon()).unwrap();
        let headers = [("authorization", "Bearer s3cret"), ("x-tag", "t"), ("cookie", "s=s3cret")];
        scene.call("/a", &headers, b"{\"body\":\"s3cret\"}");
        let shown = scene.inspector.show(1).unwrap();
        let text = shown.to_string();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(shown["request"]["headers"]["x-tag"], "t");
        assert_eq!((&shown["bytes_up"], &shown["replayable"]), (&17.into(), &true.into()));
        let kept = scene.inspector.find(1).unwrap();
        assert_eq!(kept.headers[0].1.as_ref(), "Bearer s3cret");
        assert_eq!(kept.body.unwrap(), "{\"body\":\"s3cret\"}");
    }

    #[test]
    fn a_long_body_is_not_kept() {
        let scene = Scene::new(&Inspect { body_bytes: 4, ..config() });
        scene.inspector.watch(&Scope::all(), soon()).unwrap();
        scene.call("/a", &[], b"12345");
        assert_eq!(scene.inspector.show(1).unwrap()["replayable"], false);
        assert!(scene.inspector.find(1).unwrap().body.is_none());
    }

    #[test]
    fn the_oldest_make_room() {
        let scene = Scene::new(&Inspect { calls: 2, ..config() });
        scene.inspector.watch(&Scope::all(), soon()).unwrap();
        for path in ["/a", "/b", "/c"] {
            scene.call(path, &[], b"");
        }
        let paths: Vec<Value> = scene.all().iter().map(|call| call["path"].clone()).collect();
        assert_eq!(paths, ["/c", "/b"]);
        assert!(scene.inspector.find(1).is_none());
    }

    #[test]
    fn who_watches_hears_of_each_end() {
        let scene = Scene::new(&config());
        let mut news = scene.inspector.news();
        scene.inspector.watch(&Scope::all(), soon()).unwrap();
        scene.call("/a", &[], b"");
        let told = news.try_recv().unwrap();
        assert_eq!((&*told.path, &told.call["status"]), ("/a", &404.into()));
        assert!(news.try_recv().is_err());
    }
}
