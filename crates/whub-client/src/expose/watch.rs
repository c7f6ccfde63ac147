//! Keeps an application registered while it works, and away from the hub while it does not.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Health;
use super::app::App;
use super::mount::Mount;
use super::pool::IDLE_FOR;
use super::trouble::Trouble;
use super::upload::Upload;
use crate::client::Client;
use crate::error::Error;
use crate::serve::{Provide, Registration};

/// How long the answer to a check may take.
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two checks of an application that is down, or was just found to be.
const RECHECK: Duration = Duration::from_secs(1);
/// Longest pause between two tries to register again.
const REGISTER_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What to check, and how often.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    /// Asked with GET; any status below 400 is good. `None`: only whether it takes connections, after a request failed.
    pub(super) path: Option<String>,
    pub(super) every: Duration,
}

/// The task of one exposed application.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) app: Arc<App>,
    pub(super) mounts: Vec<Arc<Mount>>,
    pub(super) checks: Checks,
    pub(super) health: watch::Sender<Health>,
    /// Sets what the hub is told beside the pattern.
    pub(super) dress: Box<dyn Fn(Provide) -> Provide + Send + Sync>,
}

impl Watch {
    /// Runs until `stop`; the sender in it is told when the hub has agreed.
    pub(super) async fn run(
        self,
        first: oneshot::Sender<Result<(), Error>>,
        stop: oneshot::Receiver<oneshot::Sender<()>>,
    ) {
        let mut first = Some(first);
        let mut stop = stop;
        let mut registered = Vec::new();
        let ended = tokio::select! {
            () = self.live(&mut first, &mut registered) => None,
            ended = &mut stop => ended.ok(),
        };
        for registration in registered {
            // A connection that is lost has ended it too.
            let _: Result<(), Error> = registration.unregister().await;
        }
        if let Some(ended) = ended {
            let _ = ended.send(());
        }
    }

    /// Ends only if the first registration fails.
    async fn live(
        &self,
        first: &mut Option<oneshot::Sender<Result<(), Error>>>,
        registered: &mut Vec<Registration>,
    ) {
        let mut pause = RECHECK;
        loop {
            self.wait_until_up(first).await;
            match self.register(registered).await {
                Ok(()) => {
                    pause = RECHECK;
                    self.tell(Health::Up);
                    tell(first, Ok(()));
                }
                Err(error) if first.is_some() => return tell(first, Err(error)),
                Err(error) => {
                    self.tell(Health::Down(format!("the hub does not take it: {}", error.reason())));
                    registered.clear();
                    sleep(pause).await;
                    pause = (pause * 2).min(REGISTER_PAUSE_MAX);
                    continue;
                }
            }
            let trouble = self.wait_until_down().await;
            self.app.pool.clear();
            self.tell(Health::Down(trouble.to_string()));
            // Dropped: the hub places no more calls here, and those that were begun are finished.
            registered.clear();
        }
    }

    async fn register(&self, registered: &mut Vec<Registration>) -> Result<(), Error> {
        for mount in &self.mounts {
            let (app, mount) = (Arc::clone(&self.app), Arc::clone(mount));
            let pattern = mount.pattern.clone();
            let provide = self
                .client
                .provide(pattern, move |request| Arc::clone(&app).serve(Arc::clone(&mount), request));
            registered.push((self.dress)(provide).await?);
        }
        Ok(())
    }

    async fn wait_until_up(&self, first: &mut Option<oneshot::Sender<Result<(), Error>>>) {
        while let Err(trouble) = self.check().await {
            self.tell(Health::Down(trouble.to_string()));
            tell(first, Ok(()));
            sleep(RECHECK).await;
        }
    }

    async fn wait_until_down(&self) -> Trouble {
        let mut next = Instant::now() + self.checks.every;
        loop {
            self.app.pool.sweep();
            let is_due = tokio::time::sleep_until(next);
            let mut failed = tokio::select! {
                () = is_due, if self.checks.path.is_some() => self.check().await.err(),
                // One request that did not get through may be chance; nobody listening is not.
                () = self.app.unreached.notified() => self.check().await.err(),
                () = sleep(IDLE_FOR) => continue,
            };
            if failed.as_ref().is_some_and(|trouble| !trouble.is_down()) {
                sleep(RECHECK).await;
                failed = self.check().await.err();
            }
            if let Some(trouble) = failed {
                return trouble;
            }
            next = Instant::now() + self.checks.every;
        }
    }

    /// Only a change is news, and another reason is none.
    fn tell(&self, now: Health) {
        self.health.send_if_modified(|health| {
            let news = matches!(health, Health::Up) != matches!(now, Health::Up);
            *health = now;
            news
        });
    }

    async fn check(&self) -> Result<(), Trouble> {
        match timeout(CHECK_WITHIN, self.check_in_time()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Trouble::Broken(format!("no answer to a check within {CHECK_WITHIN:?}"))),
        }
    }

    async fn check_in_time(&self) -> Result<(), Trouble> {
        let Some(path) = &self.checks.path else { return self.app.pool.dial().await.map(drop) };
        let mut sender = self.app.pool.connect().await?;
        let broken = |why: String| Trouble::Broken(why);
        let mut request = hyper::Request::new(Upload::nothing());
        let target = format!("{}{path}", self.app.url.base());
        *request.uri_mut() = target.parse().map_err(|_| broken(format!("`{target}` is no path to check")))?;
        let host =
            HeaderValue::from_str(&self.app.url.authority()).map_err(|error| broken(error.to_string()))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(crate::AGENT));
        let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        if response.status().as_u16() < 400 {
            return Ok(());
        }
        Err(broken(format!("it answered {} to the check of {path}", response.status())))
    }
}

fn tell(first: &mut Option<oneshot::Sender<Result<(), Error>>>, outcome: Result<(), Error>) {
    if let Some(first) = first.take() {
        // Whoever asked may have gone.
        let _ = first.send(outcome);
    }
}
