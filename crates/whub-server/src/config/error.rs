//! What is wrong with a configuration, and where it was written.

use std::fmt;

use super::{Source, field::Misfit, value::Value};

/// One thing that is wrong, in a sentence for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written, if it is in one place.
    pub source: Option<Source>,
    /// What is wrong and, where there is one, the next step.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { source: None, text: text.into() }
    }

    pub(crate) fn at(source: &Source, text: impl Into<String>) -> Self {
        Self { source: Some(source.clone()), text: text.into() }
    }

    /// A value that does not fit its key. Secrets are described, never repeated.
    pub(crate) fn misfit(source: &Source, key: &str, value: &Value, is_secret: bool, misfit: Misfit) -> Self {
        let text = match misfit {
            Misfit::Says(sentence) => format!("{key}: {sentence}"),
            Misfit::Wants(wanted) if is_secret => format!("{key} is {}, but wants {wanted}", value.kind()),
            Misfit::Wants(wanted) => format!("{key} is {value}, but wants {wanted}"),
        };
        Self::at(source, text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{source}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything that is wrong with a configuration; never empty. Trying again does not help before it is corrected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// One problem per line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}
