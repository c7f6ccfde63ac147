//! What can be wrong with a JSON frame, said so that its author finds the place.

use crate::{Code, TooLarge};

/// Why a text is no frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not one JSON object.
    #[error("not a JSON object: {0}")]
    Syntax(#[source] serde_json::Error),
    /// A field is missing or wrong.
    #[error("{problem}")]
    Field {
        /// Id of the frame, as far as it could be read; 0 otherwise.
        id: u64,
        /// What is wrong, and where.
        problem: Problem,
    },
    /// A kind that this version does not know.
    #[error("unknown kind `{kind}`")]
    UnknownKind {
        /// Id of the frame; 0 if it has none.
        id: u64,
        /// The kind as it was written.
        kind: String,
    },
    /// The frame would be above a limit.
    #[error("{error}")]
    TooLarge {
        /// Id of the frame; 0 if it has none.
        id: u64,
        /// Which limit.
        #[source]
        error: TooLarge,
    },
}

/// A field and what it should have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{path}`: {expected}")]
pub struct Problem {
    /// The field, for example `nodes[1].url`.
    pub path: String,
    /// What is expected there.
    pub expected: &'static str,
}

impl Problem {
    /// A problem of a value whose place the caller adds with [`Problem::within`].
    pub(crate) fn new(expected: &'static str) -> Self {
        Self { path: String::new(), expected }
    }

    /// The same problem, one level further out.
    pub(crate) fn within(mut self, place: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{place}{dot}{}", self.path);
        self
    }

    /// The same problem, in the item of a list.
    pub(crate) fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

impl JsonError {
    /// Id of the frame that the answer goes to; 0 if it has none or it could not be read.
    pub fn id(&self) -> u64 {
        match self {
            Self::Syntax(_) => 0,
            Self::Field { id, .. } | Self::UnknownKind { id, .. } | Self::TooLarge { id, .. } => *id,
        }
    }

    /// The code of the answer.
    pub fn code(&self) -> Code {
        match self {
            Self::Syntax(_) => Code::ProtocolError,
            Self::Field { .. } => Code::BadRequest,
            Self::UnknownKind { .. } => Code::Unsupported,
            Self::TooLarge { .. } => Code::TooLarge,
        }
    }
}
