//! One call on its way through a handler: run it, send what it answers, stop it when nobody waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use whub_proto::Code;

use super::request::Door;
use super::{Handler, Place, Reply, Request, ServiceError};
use crate::body::Source;
use crate::command::{Answer, Command, Release};
use crate::credit::Credit;
use crate::key::Key;

/// How long a handler may go on after nobody waits for it.
const GRACE: Duration = Duration::from_secs(5);

/// A call and its handler, ready to be run as a task of its own.
pub(crate) struct Job {
    pub(crate) key: Key,
    pub(crate) handler: Handler,
    pub(crate) request: Request,
    /// What the caller accepts of the answer's body.
    pub(crate) download: Arc<Credit>,
    /// Counts this job among those of its service, for as long as it runs.
    pub(crate) place: Place,
}

impl Job {
    pub(crate) async fn run(self, commands: mpsc::Sender<Command>, releases: mpsc::UnboundedSender<Release>) {
        let Self { key, handler, mut request, download, place } = self;
        request.door = Some(Door { key, commands: commands.clone(), download: Arc::clone(&download) });
        let _place = place;
        let mut debt = Debt { key, releases, owed: true };
        let told = request.cancelled();
        let answer = async {
            // Begun in here, so that a handler that panics at once is caught by the debt as well.
            let answer = handler(request).await;
            respond(key, answer, download, &commands).await
        };
        tokio::select! {
            answered = answer => debt.owed = answered.is_none(),
            () = overdue(told) => {}
        }
    }
}

/// Ends some time after nobody waits any more.
async fn overdue(told: impl Future<Output = ()>) {
    told.await;
    tokio::time::sleep(GRACE).await;
}

/// Sends the answer; `None` if the connection's task is gone.
async fn respond(
    key: Key,
    answer: Result<Reply, ServiceError>,
    download: Arc<Credit>,
    commands: &mpsc::Sender<Command>,
) -> Option<()> {
    let reply = match answer {
        Ok(reply) => reply,
        Err(error) => return commands.send(Command::Answer { key, answer: Err(error) }).await.ok(),
    };
    if reply.status < 200 {
        let reason = format!("the service answered with the status {}, which begins no answer", reply.status);
        let answer = Err(ServiceError::internal(reason));
        return commands.send(Command::Answer { key, answer }).await.ok();
    }
    let (payload, rest) = reply.body.split();
    let (payload, rest) = fit(payload, rest, &download);
    let head = Answer {
        status: reply.status,
        format: reply.format,
        text: reply.text,
        headers: reply.headers,
        payload,
        ended: rest.is_none(),
    };
    commands.send(Command::Answer { key, answer: Ok(Box::new(head)) }).await.ok()?;
    let Some(rest) = rest else { return Some(()) };
    if let Err(error) = rest.send(key, download, commands.clone()).await {
        let error = ServiceError::new(Code::Internal, format!("the answer broke off: {error}"));
        commands.send(Command::Answer { key, answer: Err(error) }).await.ok()?;
    }
    Some(())
}

/// What the caller accepts with the first frame; the rest waits for credit.
fn fit(payload: Bytes, rest: Option<Source>, download: &Credit) -> (Bytes, Option<Source>) {
    match rest {
        None if !download.spend_whole(payload.len()) => (Bytes::new(), Some(Source::Bytes(payload))),
        Some(Source::Bytes(more)) if !download.spend_whole(payload.len()) => {
            let whole = [payload, more].concat();
            (Bytes::new(), Some(Source::Bytes(whole.into())))
        }
        rest => (payload, rest),
    }
}

/// An answer is owed for every call; this one pays it if the handler does not.
struct Debt {
    key: Key,
    releases: mpsc::UnboundedSender<Release>,
    owed: bool,
}

impl Drop for Debt {
    fn drop(&mut self) {
        if self.owed {
            // A connection that is gone is owed nothing.
            let _ = self.releases.send(Release::Unanswered(self.key));
        }
    }
}
