//! Pairs of which one half sends and the other sends back.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use whub_client::{Client, Pair, PairEvent};

use super::{Bench, Tally, age, gather, stamp};
use crate::exit::{Exit, Failure};

/// How long the last messages may take.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn measure(bench: &Bench) -> Result<Tally, Failure> {
    let name = bench.unique();
    let here = bench.connect(bench.clients).await?;
    let there = bench.connect(bench.clients).await?;
    let mut pairs = Vec::new();
    let mut mirrors = JoinSet::new();
    for (index, (here, there)) in here.iter().zip(&there).enumerate() {
        let (near, far) = meet(here, there, &format!("{name}/{index}")).await?;
        pairs.push(near);
        mirrors.spawn(mirror(far));
    }
    let until = Instant::now() + bench.duration;
    let mut halves = JoinSet::new();
    for pair in pairs {
        halves.spawn(exchange(pair, bench.payload(), bench.inflight, until));
    }
    gather(halves).await
}

async fn meet(here: &Client, there: &Client, id: &str) -> Result<(Pair, Pair), Failure> {
    let (near, far) = tokio::join!(here.pair(id).timeout(GRACE), there.pair(id).timeout(GRACE));
    Ok((near?, far?))
}

/// Sends back what comes, until nothing does.
async fn mirror(mut pair: Pair) {
    while let Some(event) = pair.next().await {
        if let PairEvent::Message(message) = event
            && pair.send_bytes(message.into_bytes()).await.is_err()
        {
            return;
        }
    }
}

async fn exchange(
    mut pair: Pair,
    mut payload: Vec<u8>,
    inflight: u32,
    until: Instant,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut under_way = 0;
    while under_way < inflight {
        stamp(&mut payload, began);
        pair.send_bytes(payload.clone()).await?;
        under_way += 1;
    }
    while under_way > 0 {
        let event = tokio::time::timeout_at((until + GRACE).into(), pair.next()).await;
        let event = event.map_err(|_| {
            Failure::new(Exit::Timeout, format!("messages did not come back within {GRACE:?}"))
        })?;
        let Some(PairEvent::Message(message)) = event else {
            return Err(Failure::new(Exit::Failed, "a pair ended early"));
        };
        under_way -= 1;
        if let Some(took) = age(message.bytes(), began) {
            tally.took.add(took);
        }
        if Instant::now() < until {
            stamp(&mut payload, began);
            pair.send_bytes(payload.clone()).await?;
            under_way += 1;
        }
    }
    Ok(tally)
}
