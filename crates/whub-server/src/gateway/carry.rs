//! Carrying a client's route: dial the endpoint, converse with it, and when it is lost dial again, for as long as the
//! client is there. The client's own connection never notices more than words.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use tokio::sync::watch;
use whub_core::{Fault, Mailbox, Parcel, Sent};
use whub_ws::{Opcode, encode_frame};

use crate::config::Target;
use crate::connection::{Credential, Place};
use crate::gateway::converse::{Converse, End};
use crate::gateway::leg::Leg;
use crate::gateway::open::{self, Asked, Opened, Outcome};
use crate::gateway::route::Route;
use crate::gateway::{unknown, words::Spelling};
use crate::http;
use crate::node::Node;

/// The first pause between attempts at an endpoint that is there and does not want us; the longest is its `backoff_max`.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// A conversation that lasted so long was none that failed.
const LASTED: Duration = Duration::from_secs(1);

/// Clients do not all come back to an endpoint at the same instant.
const SPREAD: Duration = Duration::from_millis(20);

/// On whose behalf a route is carried, and how that client is spoken to.
#[derive(Debug)]
pub(crate) struct Voice {
    pub(crate) node: Arc<Node>,
    /// The route, in the hub's spelling.
    pub(crate) route: Box<str>,
    /// In the client's.
    pub(crate) name: Box<str>,
    pub(crate) spelling: Spelling,
    pub(crate) client: Mailbox,
    /// What the client came with.
    pub(crate) token: Option<Box<str>>,
    /// What endpoints learn of the client's way.
    pub(crate) headers: HeaderMap,
}

impl Voice {
    /// Tells the client something.
    pub(super) fn say(&self, text: &str) {
        let mut frame = Vec::with_capacity(text.len() + 4);
        encode_frame(&mut frame, Opcode::Text, text.as_bytes());
        // A client that has gone needs no telling, and words are few.
        let (Sent::Room | Sent::Wait | Sent::Gone) =
            self.client.send(Parcel::Framed { bytes: &frame, messages: 0 });
    }

    pub(super) fn news(&self, what: &str) {
        self.say(&self.spelling.news(&format!("route {what} {}", self.name)));
    }

    /// Tells the client of an endpoint that is lost, and how many of the messages that are going to be refused may have
    /// arrived all the same.
    fn tell_lost(&self, unconfirmed: usize) {
        self.news("down");
        if unconfirmed > 0 {
            self.node.hub.counters.gateway_unconfirmed.add(unconfirmed as u64);
            self.news(&format!("unconfirmed {unconfirmed}"));
        }
    }

    /// Tells the client that so many of its messages did not arrive, as far as is known. They can be very many, where an
    /// endpoint answers no pings; so the client gets them as fast as it reads, which one that has gone does at once.
    async fn refuse(&self, messages: usize) {
        self.node.hub.counters.gateway_refused.add(messages as u64);
        for _ in 0..messages {
            poll_fn(|cx| if self.client.poll_room(cx.waker()) { Poll::Ready(()) } else { Poll::Pending })
                .await;
            self.say(&self.spelling.error(&format!("route down {}", self.name)));
        }
    }
}

/// Carries until the client has gone.
pub(crate) async fn carry(voice: Voice, leg: Arc<Leg>) {
    // A node that stops waits until what its clients said has been passed on.
    let _present = voice.node.presence();
    let mut failures: u32 = 0;
    let mut is_down = false;
    loop {
        let mut edition = voice.node.routes.edition();
        let attempt = attempt(&voice, &leg).await;
        match attempt {
            Ok((place, opened)) => {
                if std::mem::replace(&mut is_down, false) {
                    voice.news("up");
                }
                leg.rise();
                let began = Instant::now();
                let end = Converse::new(&voice, &leg, place, opened).await;
                let unconfirmed = match end {
                    End::Done => return,
                    End::Lost { unconfirmed } => unconfirmed,
                };
                failures = if began.elapsed() < LASTED { failures.saturating_add(1) } else { 0 };
                is_down = true;
                voice.tell_lost(unconfirmed);
                let given_up = leg.fall();
                voice.refuse(unconfirmed + given_up).await;
            }
            Err(fault) => {
                tracing::debug!(endpoint = &*voice.route, "{fault}");
                failures = failures.saturating_add(1);
                if !std::mem::replace(&mut is_down, true) {
                    voice.news("down");
                }
                voice.refuse(leg.fall()).await;
            }
        }
        if leg.is_closed() {
            return;
        }
        wait(&voice, &leg, &mut edition, failures).await;
    }
}

/// A connection to the endpoint, if it is there and the client may still use it.
async fn attempt(voice: &Voice, leg: &Leg) -> Result<(Place, Opened), Fault> {
    let node = &voice.node;
    let route = node.routes.find(&voice.route).ok_or_else(|| unknown(&voice.route))?;
    route.admit(&node.authenticate(voice.token.as_deref())?)?;
    leg.rule(route.endpoint.window_bytes, route.endpoint.when_down);
    let place = Place::take(node, &voice.route, Credential::Token(voice.token.clone()))?;
    let opened = dial(voice, &route).await?;
    Ok((place, opened))
}

async fn dial(voice: &Voice, route: &Route) -> Result<Opened, Fault> {
    let mut asked = Asked::own(&route.endpoint);
    asked.headers.clone_from(&voice.headers);
    let outcome = match &route.endpoint.target {
        Target::Upstreams(_) => open::open(route, &asked).await?,
        // What the hub itself answers is asked of the hub itself, as any client would.
        Target::Service(_) | Target::Channel(_) | Target::Pair(_) => {
            let stream = http::indoors(&voice.node).await;
            open::open_indoors(&route.endpoint, stream, asked, voice.token.as_deref()).await?
        }
    };
    match outcome {
        Outcome::Opened(opened) => Ok(*opened),
        Outcome::Answered(answer) => Err(route.is_down(Some(format!("it answers {}", answer.status())))),
    }
}

/// Waits until another attempt is worth it: a pause has passed, the endpoint is known to be up again, or there are
/// other endpoints now. Meanwhile messages that have been held for too long are given up.
async fn wait(voice: &Voice, leg: &Leg, edition: &mut watch::Receiver<u64>, failures: u32) {
    let route = voice.node.routes.find(&voice.route);
    let mut news = route.as_ref().map(|route| route.news());
    // An endpoint that is known to be down is looked after; one that is up but does not want us is not.
    let pause = match route {
        Some(route) if route.is_up() => open::backoff(failures, (BACKOFF_MIN, route.endpoint.backoff_max)),
        Some(_) | None => Duration::from_secs(3600),
    };
    let until = Instant::now() + pause;
    loop {
        let (expired, next) = leg.expire(Instant::now());
        voice.refuse(expired).await;
        let wake = next.map_or(until, |next| next.min(until));
        tokio::select! {
            is_over = poll_fn(|cx| leg.poll_stirred(cx)) => {
                if is_over {
                    return;
                }
            }
            _ = edition.changed() => return,
            () = risen(&mut news) => {
                tokio::time::sleep(open::jitter(SPREAD)).await;
                return;
            }
            () = tokio::time::sleep_until(wake.into()) => {
                if Instant::now() >= until {
                    return;
                }
            }
        }
    }
}

/// Pending until the endpoint goes from down to up.
async fn risen(news: &mut Option<watch::Receiver<bool>>) {
    let Some(news) = news else { return std::future::pending().await };
    loop {
        // Its end is that of the endpoint, whose successor is another edition.
        if news.changed().await.is_err() {
            return std::future::pending().await;
        }
        if *news.borrow_and_update() {
            return;
        }
    }
}
