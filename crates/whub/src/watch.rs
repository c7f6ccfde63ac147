//! News of the hub, followed until Ctrl-C: a hub that stops or cannot be reached is waited for.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    exit::{Exit, Failure},
    http::{Event, Events, HttpHub},
    hub::json,
    output,
};

/// How long to wait before the first try to connect again. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What comes from one path of the hub.
pub(crate) struct Watch {
    hub: HttpHub,
    path: String,
    events: Events,
    since: Instant,
    /// The wait before the next try.
    wait: Duration,
}

impl Watch {
    /// Begins to listen. The hub has to be there.
    pub(crate) async fn begin(hub: HttpHub, path: String) -> Result<Self, Failure> {
        let events = hub.events(&path).await?;
        Ok(Self { hub, path, events, since: Instant::now(), wait: FIRST_WAIT })
    }

    /// Name and data of the next event. After a lost connection they begin with the state as it is then, as at first.
    pub(crate) async fn next(&mut self) -> Result<(String, Value), Failure> {
        loop {
            let why = match self.events.next().await {
                Ok(Some(Event { name, data })) => {
                    let data = json(data.as_bytes())?;
                    match name.as_str() {
                        "drain" => reason(&data),
                        "error" => return Err(Failure::new(Exit::Unavailable, reason(&data))),
                        _ => return Ok((name, data)),
                    }
                }
                Ok(None) => "the hub ended it".to_owned(),
                Err(failure) => failure.message,
            };
            self.connect_again(why).await?;
        }
    }

    async fn connect_again(&mut self, mut why: String) -> Result<(), Failure> {
        // Something in front of the hub may take connections, and lose them at once.
        if self.since.elapsed() > LONGEST_WAIT {
            self.wait = FIRST_WAIT;
        }
        loop {
            output::note(&format!("connection lost ({why}); next try in {} ms", self.wait.as_millis()));
            tokio::time::sleep(self.wait).await;
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
            match self.hub.events(&self.path).await {
                Ok(events) => {
                    output::note("connected again");
                    (self.events, self.since) = (events, Instant::now());
                    return Ok(());
                }
                Err(failure) if is_passing(failure.exit) => why = failure.message,
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// Whether it may be otherwise in a moment. What answers in place of a hub that was there is a proxy in front of it; a
/// service is there again when its provider has found back, too.
fn is_passing(exit: Exit) -> bool {
    match exit {
        Exit::Unreachable | Exit::Timeout | Exit::Unavailable | Exit::NotFound | Exit::Failed => true,
        Exit::Ok
        | Exit::Usage
        | Exit::Denied
        | Exit::ProviderLost
        | Exit::ErrorStatus
        | Exit::Interrupted => false,
    }
}

fn reason(data: &Value) -> String {
    data["reason"].as_str().unwrap_or("the hub ended the news").to_owned()
}
