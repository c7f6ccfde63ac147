//! `authentication`: paths that only callers with a token may use, whatever their providers say.

use whub_proto::Code;
use whub_proto::names::Pattern;

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{Asked, Interest, Middleware};

/// The step.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// Patterns of the paths that need a token.
    pub required: Vec<Pattern>,
}

impl Middleware for Authentication {
    fn name(&self) -> &'static str {
        "authentication"
    }

    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        if !call.caller.user.is_empty() || !self.required.iter().any(|pattern| pattern.matches(call.path)) {
            return Ok(());
        }
        let reason = format!(
            "{} needs a token; set WHUB_TOKEN, or send `Authorization: Bearer <token>`",
            call.path.as_str()
        );
        Err(Fault::fatal(Code::Unauthorized, "auth.required", reason))
    }
}
