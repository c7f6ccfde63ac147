//! `--exec CMD` as a service: calls become runs of the command, its exit code the status.

use std::process::ExitStatus;

use bytes::Bytes;
use whub_client::{Code, Reply, Request, ServiceError};

use super::{
    cgi::Asked,
    exec::{Exec, ExecError, Output, PrintedBody},
};
use crate::{output, stream};

/// When a command that is out of what it needs may be asked again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Answers calls with what a command prints.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    exec: Exec,
    content_type: String,
}

impl Shell {
    pub(crate) fn new(command: &str, output: Output, at_once: usize, content_type: &str) -> Self {
        Self { exec: Exec::new(command, output, at_once), content_type: content_type.to_owned() }
    }

    pub(crate) async fn answer(self, request: Request) -> Result<Reply, ServiceError> {
        let path = request.path().to_owned();
        let (cancelled, ending) = (request.cancelled(), request.cancelled());
        let asked = asked(&request);
        let body = stream::reader(request.into_body());
        // Leaving drops the run, which kills the command.
        let outcome = tokio::select! {
            outcome = self.exec.run(&asked, body, ending) => outcome,
            // Where the caller gave up, nobody hears this; where our clock is the first to see the deadline pass, the
            // caller must hear of the deadline and not of a failure.
            () = cancelled => return Err(ServiceError::new(Code::DeadlineExceeded, "the call's time is up")),
        };
        let printed = outcome.map_err(|error| failed(&path, &error))?;
        let mut reply = match printed.body {
            PrintedBody::Whole(bytes) => Reply::bytes(bytes),
            PrintedBody::Running(chunks) => Reply::stream(Told { chunks, path }),
        }
        .with_status(printed.status);
        if !printed.headers.iter().any(|(name, _)| name == "content-type") {
            reply = reply.header("content-type", self.content_type);
        }
        Ok(printed.headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value)))
    }
}

/// What goes on being printed; what breaks it off is told here.
struct Told {
    chunks: stream::Chunks<ExecError>,
    path: String,
}

impl futures_core::Stream for Told {
    type Item = Result<Bytes, Failed>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let next = std::task::ready!(std::pin::Pin::new(&mut self.chunks).poll_next(context));
        std::task::Poll::Ready(next.map(|next| {
            next.map_err(|error| {
                let error = failed(&self.path, &error);
                Failed(error.to_string())
            })
        }))
    }
}

/// Why an answer that has begun does not go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

/// What the exit code tells the caller (`sysexits.h`). With these codes a command speaks to its caller, so the last line
/// of its standard error goes along; with all others it just failed, and why is for those who run it.
fn of_exit(status: ExitStatus) -> Option<Code> {
    Some(match status.code()? {
        64 | 65 => Code::BadRequest,
        66 => Code::NotFound,
        69 | 75 => Code::Unavailable,
        73 => Code::Conflict,
        77 => Code::Forbidden,
        _ => return None,
    })
}

fn failed(path: &str, error: &ExecError) -> ServiceError {
    output::note(&format!("{path}: {error}"));
    let (status, complaint) = match error {
        ExecError::Failed { status, complaint } => (status, complaint),
        // Nothing was done, and another provider may have the means.
        ExecError::Start(_) => {
            return ServiceError::not_taken("the command could not be started").retry_after(RETRY);
        }
        ExecError::Run(_) | ExecError::GivenUp | ExecError::Head(_) | ExecError::EndlessHead => {
            return ServiceError::internal("the command failed");
        }
    };
    match of_exit(*status) {
        Some(Code::Unavailable) => ServiceError::new(Code::Unavailable, complaint).retry_after(RETRY),
        Some(code) => ServiceError::new(code, complaint),
        None => ServiceError::internal("the command failed"),
    }
}

fn asked(request: &Request) -> Asked {
    let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let names = request.pattern().split('/').filter_map(|segment| segment.strip_prefix(':'));
    let params = names.filter_map(|name| Some((name.to_owned(), request.param(name)?)));
    let (script, path) = split(request.path(), request.rest().as_deref());
    Asked {
        method: request.method().to_owned(),
        script: script.to_owned(),
        path: path.to_owned(),
        query: request.query().to_owned(),
        scheme: request.scheme().to_owned(),
        authority: request.authority().to_owned(),
        peer: request.peer().to_owned(),
        user: request.user().to_owned(),
        params: params.collect(),
        headers: headers.collect(),
    }
}

/// The service's own part of a path, and what is behind it; `rest` is what `*rest` took.
fn split<'p>(path: &'p str, rest: Option<&str>) -> (&'p str, &'p str) {
    let Some(rest) = rest else { return ("", path) };
    let script = path.strip_suffix(rest).unwrap_or(path);
    path.split_at(script.strip_suffix('/').unwrap_or(script).len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_path_is_split_before_the_remainder() {
        assert_eq!(split("/app/a/b", Some("a/b")), ("/app", "/a/b"));
        assert_eq!(split("/app/", Some("")), ("/app", "/"));
        assert_eq!(split("/app", Some("")), ("/app", ""));
        assert_eq!(split("/sum/3", None), ("", "/sum/3"));
    }

    #[test]
    fn exit_codes_speak_to_the_caller_or_not_at_all() {
        let of = |code: i32, complaint: &str| {
            let status = ExitStatus::from_raw(code << 8);
            let error = failed("/x", &ExecError::Failed { status, complaint: complaint.to_owned() });
            error.to_string()
        };
        assert_eq!(of(65, "no such column"), "no such column");
        assert_eq!(of(77, "not yours"), "not yours");
        for code in [1, 2, 70, 126, 127, 137] {
            assert_eq!(of(code, "/etc/secret: not found"), "the command failed", "{code}");
        }
        assert_eq!(of_exit(ExitStatus::from_raw(9)), None, "a signal");
        let unstarted = failed("/x", &ExecError::Start(std::io::ErrorKind::OutOfMemory.into()));
        assert_eq!(
            unstarted.to_string(),
            "the command could not be started",
            "and another provider is asked"
        );
    }
}
