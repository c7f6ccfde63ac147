//! Exit codes and the failures that lead to them: one table, from which help and `docs/cli.md` are made too.

use std::{fmt, process::ExitCode};

use whub_client::{Error, ErrorKind};
use whub_server::config::{Problem, Problems, show_duration};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Failed,
    Usage,
    Unreachable,
    Denied,
    NotFound,
    Timeout,
    Unavailable,
    ProviderLost,
    ErrorStatus,
    Interrupted,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 11] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::Denied,
        Self::NotFound,
        Self::Timeout,
        Self::Unavailable,
        Self::ProviderLost,
        Self::ErrorStatus,
        Self::Interrupted,
    ];

    /// Code, name and meaning.
    pub(crate) fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Ok => (0, "ok", "Done."),
            Self::Failed => (1, "failed", "Something else went wrong; the message says what."),
            Self::Usage => (2, "usage", "The command line or the configuration is wrong."),
            Self::Unreachable => (3, "unreachable", "The hub cannot be reached, or the connection broke."),
            Self::Denied => (4, "denied", "The token is missing or wrong, or does not permit this."),
            Self::NotFound => (5, "not_found", "Nobody provides the service, or there is no such thing."),
            Self::Timeout => (6, "timeout", "No answer in time."),
            Self::Unavailable => {
                (7, "unavailable", "Too busy or stopping; nothing was begun, so try again later.")
            }
            Self::ProviderLost => {
                (8, "provider_lost", "The provider was lost; the call may have been begun.")
            }
            Self::ErrorStatus => (9, "error_status", "The service answered with a status of 400 or more."),
            Self::Interrupted => (130, "interrupted", "Ended by Ctrl-C before it was done."),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.row().0)
    }
}

/// Why a command did not do what it was asked: what failed, and what to try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) advice: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None }
    }

    /// Adds the next step.
    pub(crate) fn try_this(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::new(Exit::Usage, problems.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(Exit::Usage, problem.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(exit_of(error.kind()), error.reason());
        match advice(&error) {
            Some(advice) => failure.try_this(advice),
            None => failure,
        }
    }
}

fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Timeout => Exit::Timeout,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Unauthorized | ErrorKind::Forbidden => Exit::Denied,
        ErrorKind::ConnectionLost => Exit::Unreachable,
        ErrorKind::ProviderLost => Exit::ProviderLost,
        ErrorKind::BufferFull | ErrorKind::Unavailable => Exit::Unavailable,
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::Cancelled | ErrorKind::Conflict | ErrorKind::TooLarge | ErrorKind::RemoteError => {
            Exit::Failed
        }
        ErrorKind::ProtocolError | ErrorKind::Closed => Exit::Failed,
        // Kinds are open; the message tells what the code does not.
        _ => Exit::Failed,
    }
}

fn advice(error: &Error) -> Option<String> {
    if error.kind() == ErrorKind::Unauthorized {
        return Some("set WHUB_TOKEN, or name a file with --token-file".to_owned());
    }
    if error.kind() == ErrorKind::ConnectionLost {
        return Some("--server or WHUB_SERVER names another hub".to_owned());
    }
    let pause = error.retry_after().filter(|pause| !pause.is_zero())?;
    Some(format!("try again in {}", show_duration(pause)))
}
