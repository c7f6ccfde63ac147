//! One publisher, many subscribers.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use whub_client::{Client, Subscription};

use super::{Bench, Tally, age, gather, stamp};
use crate::exit::{Exit, Failure};

/// The message after the last, too short to be one.
const END: &[u8] = b"end";

/// How long the last messages may take.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn measure(bench: &Bench) -> Result<Tally, Failure> {
    let channel = bench.unique();
    let began = Instant::now();
    let clients = bench.connect(bench.clients).await?;
    let mut subscriptions = Vec::new();
    for client in &clients {
        subscriptions.push(client.subscribe(&channel).capacity(64 << 10).await?);
    }
    let publisher = bench.hub.connect().await?;
    let until = Instant::now() + bench.duration;
    let mut subscribers = JoinSet::new();
    for subscription in subscriptions {
        subscribers.spawn(receive(subscription, began, until + GRACE));
    }
    let mut lanes = JoinSet::new();
    for _ in 0..bench.inflight {
        lanes.spawn(publish(publisher.clone(), channel.clone(), bench.payload(), began, until));
    }
    let published = gather(lanes).await?;
    publisher.publish(&channel).bytes(END).ack().await?;
    let mut received = gather(subscribers).await?;
    received.failed += published.failed;
    Ok(received)
}

async fn publish(
    client: Client,
    channel: String,
    mut payload: Vec<u8>,
    began: Instant,
    until: Instant,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    while Instant::now() < until {
        stamp(&mut payload, began);
        if client.publish(&channel).bytes(payload.clone()).ack().await.is_err() {
            tally.failed += 1;
        }
    }
    Ok(tally)
}

/// Receives up to the end; what was dropped on the way counts as failed.
async fn receive(mut messages: Subscription, began: Instant, until: Instant) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    loop {
        let next = tokio::time::timeout_at(until.into(), messages.next()).await;
        let Ok(next) = next else {
            return Err(Failure::new(Exit::Timeout, format!("messages did not arrive within {GRACE:?}")));
        };
        let Some(message) = next else {
            return messages.error().map_or(Ok(tally), |error| Err(error.into()));
        };
        if message.bytes().as_ref() == END {
            tally.failed += messages.lagged();
            return Ok(tally);
        }
        if let Some(took) = age(message.bytes(), began) {
            tally.took.add(took);
        }
    }
}
