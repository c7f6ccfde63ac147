//! Callers of one service.

use std::time::Instant;

use bytes::Bytes;
use tokio::task::JoinSet;
use whub_client::{Client, Error, Reply, Request, ServiceError};

use super::{Bench, Tally, gather};
use crate::exit::Failure;

pub(super) async fn measure(bench: &Bench) -> Result<Tally, Failure> {
    let own = format!("/{}", bench.unique());
    let path = bench.path.clone().unwrap_or_else(|| own.clone());
    // Both are kept until the end.
    let provider = bench.hub.connect().await?;
    let _service = match bench.path {
        Some(_) => None,
        None => Some(
            provider.provide(own, echo).max_inflight(bench.clients.saturating_mul(bench.inflight)).await?,
        ),
    };
    let clients = bench.connect(bench.clients).await?;
    let payload = Bytes::from(bench.payload());
    // A service that is absent or forbidden shall be an error rather than a number.
    call(&clients[0], &path, &payload).await?;
    let until = Instant::now() + bench.duration;
    let mut lanes = JoinSet::new();
    for client in &clients {
        for _ in 0..bench.inflight {
            lanes.spawn(lane(client.clone(), path.clone(), payload.clone(), until));
        }
    }
    gather(lanes).await
}

async fn echo(mut request: Request) -> Result<Reply, ServiceError> {
    Ok(Reply::bytes(request.bytes().await?))
}

async fn lane(client: Client, path: String, payload: Bytes, until: Instant) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    while Instant::now() < until {
        let began = Instant::now();
        match call(&client, &path, &payload).await {
            Ok(()) => tally.took.add(began.elapsed()),
            Err(_) => tally.failed += 1,
        }
    }
    Ok(tally)
}

async fn call(client: &Client, path: &str, payload: &Bytes) -> Result<(), Error> {
    client.call(path).body(payload.clone()).await?.bytes().await.map(drop)
}
