//! Exit codes and the failures that lead to them: one table, from which `docs/cli.md` is made too.

use std::{fmt, process::ExitCode};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Failed,
    Usage,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Usage];

    /// Code, name and meaning.
    pub(crate) fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Ok => (0, "ok", "Done."),
            Self::Failed => (1, "failed", "Something else went wrong; the message says what."),
            Self::Usage => {
                (2, "usage", "The command line or the configuration is wrong; trying again does not help.")
            }
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

impl From<whub_server::config::Problems> for Failure {
    fn from(problems: whub_server::config::Problems) -> Self {
        Self::new(Exit::Usage, problems.to_string())
    }
}

impl From<whub_server::config::Problem> for Failure {
    fn from(problem: whub_server::config::Problem) -> Self {
        Self::new(Exit::Usage, problem.to_string())
    }
}
