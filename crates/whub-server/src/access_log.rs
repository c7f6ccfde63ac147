//! `access_log`: one line for each call, when it has ended, in the target `whub::access`.

use whub_core::Now;
use whub_core::middleware::{CallRecord, Door, Interest, Middleware, Outcome};

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AccessLog;

impl Middleware for AccessLog {
    fn name(&self) -> &'static str {
        "access_log"
    }

    fn interest(&self) -> Interest {
        Interest { bare_calls: true, answers: false, ends: true }
    }

    fn ended(&self, _: Now, call: &CallRecord, outcome: &Outcome) {
        // A field that is `None` is left out.
        let known = |text| if str::is_empty(text) { None } else { Some(text) };
        tracing::info!(
            target: "whub::access",
            method = known(&call.method),
            path = &*call.path,
            service = call.service.as_ref().map(|pattern| pattern.as_str()),
            status = outcome.status,
            slug = known(&outcome.slug),
            ms = outcome.duration.as_secs_f64() * 1000.0,
            first_ms = outcome.first.map(|first| first.as_secs_f64() * 1000.0),
            up = outcome.bytes_up,
            down = outcome.bytes_down,
            moved = (outcome.moved > 0).then_some(outcome.moved),
            door = door(call.door),
            client = &*call.client,
            user = known(&call.user),
            peer = known(&call.peer),
            provider = outcome.provider.as_deref(),
            request_id = known(&call.request_id),
            "call"
        );
    }
}

fn door(door: Door) -> &'static str {
    match door {
        Door::Protocol => "whub",
        Door::Http => "http",
        Door::Local => "local",
    }
}
