//! `--exec CMD` as a service: calls become runs of the command.

use whub_client::{Code, Reply, Request, ServiceError};

use super::exec::{Asked, Exec, ExecError};
use crate::{output, stream};

/// Answers calls with what a command prints.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    exec: Exec,
    content_type: String,
}

impl Shell {
    pub(crate) fn new(command: &str, at_once: usize, content_type: &str) -> Self {
        Self { exec: Exec::new(command, at_once), content_type: content_type.to_owned() }
    }

    pub(crate) async fn answer(self, request: Request) -> Result<Reply, ServiceError> {
        let path = request.path().to_owned();
        let cancelled = request.cancelled();
        let asked = asked(&request);
        let body = stream::reader(request.into_body());
        // Leaving drops the run, which kills the command.
        let outcome = tokio::select! {
            outcome = self.exec.run(&asked, body) => outcome,
            // Where the caller gave up, nobody hears this; where our clock is the first to see the deadline pass, the
            // caller must hear of the deadline and not of a failure.
            () = cancelled => return Err(ServiceError::new(Code::DeadlineExceeded, "the call's time is up")),
        };
        outcome
            .map(|printed| Reply::bytes(printed).header("content-type", self.content_type))
            .map_err(|error| failed(&path, &error))
    }
}

/// The caller learns only that it failed; why is for those who run the command.
fn failed(path: &str, error: &ExecError) -> ServiceError {
    output::note(&format!("{path}: {error}"));
    ServiceError::internal("the command failed")
}

fn asked(request: &Request) -> Asked {
    let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Asked {
        method: request.method().to_owned(),
        path: request.path().to_owned(),
        query: request.query().to_owned(),
        peer: request.peer().to_owned(),
        headers: headers.collect(),
    }
}
