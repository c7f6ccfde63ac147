//! `--echo`: what was sent comes back unchanged, as it arrives.

use whub_client::{Reply, Request, ServiceError};

use crate::stream;

pub(crate) async fn answer(request: Request) -> Result<Reply, ServiceError> {
    let content_type = request.headers().get("content-type").map(str::to_owned);
    let format = request.format();
    let reply = Reply::stream(stream::relay(request.into_body())).with_format(format);
    Ok(match content_type {
        Some(content_type) => reply.header("content-type", content_type),
        None => reply,
    })
}
