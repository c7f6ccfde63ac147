//! `from_to`: answers over HTTP name who gave them and for whom, `X-From` and `X-To`, as clients of the seed system know
//! it. Off by default, since it tells every visitor the hub's names of clients.

use crate::hub::Now;
use crate::middleware::{AnswerHead, CallRecord, Door, Interest, Middleware};

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct FromTo;

impl Middleware for FromTo {
    fn name(&self) -> &'static str {
        "from_to"
    }

    fn interest(&self) -> Interest {
        Interest { bare_calls: true, answers: true, ends: false }
    }

    fn answered(&self, _: Now, call: &CallRecord, answer: &mut AnswerHead<'_>) {
        if call.door != Door::Http {
            return;
        }
        match answer.provider.as_deref().map(str::to_owned) {
            Some(provider) => answer.headers.set("x-from", provider),
            None => answer.headers.remove("x-from"),
        }
        answer.headers.set("x-to", String::from(&*call.client));
    }
}
