//! How a client ends.

use std::time::{Duration, Instant};

use whub_ws::CloseCode;

use super::{CLOSE_WITHIN, Keeper, Over};
use crate::command::Done;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, State};

/// An end that was asked for.
pub(super) struct Ending {
    /// When it ends whatever is under way.
    pub(super) until: Instant,
    waiting: Vec<Done>,
    /// Not everything could be finished.
    cut: bool,
}

impl Keeper {
    /// No more is taken; what is under way may finish.
    pub(super) fn drain(&mut self, now: Instant, within: Duration, done: Done) {
        let until = now + within;
        match &mut self.ending {
            Some(ending) => ending.waiting.push(done),
            None => {
                self.ending = Some(Ending { until, waiting: vec![done], cut: false });
                self.lines.state.send_replace(State::Draining);
                if let Some(current) = &mut self.current {
                    current.session.drain();
                }
            }
        }
    }

    /// Ends now.
    pub(super) fn close(&mut self, now: Instant, done: Done) -> Over {
        let ending =
            self.ending.get_or_insert_with(|| Ending { until: now, waiting: Vec::new(), cut: false });
        ending.waiting.push(done);
        Over::Wished
    }

    /// Whether a drain is done.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        let quiet = [&self.current, &self.old].into_iter().flatten().all(|it| it.is_quiet());
        let idle = quiet && self.lines.commands.is_empty();
        ending.cut = !idle;
        idle || ending.until <= now
    }

    /// The last bytes leave; everyone who still waits is told.
    pub(super) async fn end(mut self, reason: Option<Error>) {
        self.handle_releases(None);
        self.settle_last();
        let code = match reason.as_ref().map(Error::kind) {
            // 4000 + 605: the hub's table has it.
            Some(ErrorKind::ProtocolError) => CloseCode::new(4605).unwrap_or(CloseCode::PROTOCOL_ERROR),
            Some(_) | None => CloseCode::NORMAL,
        };
        let told = reason.clone().unwrap_or_else(Error::closed);
        let mut outcome = Ok(());
        for conversation in [self.old.take(), self.current.take()].into_iter().flatten() {
            outcome = conversation.close(code, told.clone(), CLOSE_WITHIN).await.and(outcome);
        }
        self.wanted.end(reason.as_ref());
        self.jobs.abort_all();
        self.tell(Event::Closed);
        self.lines.state.send_replace(State::Closed(reason.clone()));
        if let Some(first) = self.first.take() {
            drop(first.send(Err(told)));
        }
        for done in self.ending.map(|ending| ending.outcome(outcome)).into_iter().flatten() {
            drop(done.0.send(done.1));
        }
    }

    fn settle_last(&mut self) {
        while let Ok(release) = self.lines.released.try_recv() {
            self.handle_releases(Some(release));
        }
        for conversation in [&mut self.current, &mut self.old].into_iter().flatten() {
            // Otherwise the hub would keep for us what nobody comes back to.
            conversation.session.leave_seats(&self.wanted);
            conversation.pump();
        }
    }
}

impl Ending {
    fn outcome(self, closed: Result<(), Error>) -> Vec<(Done, Result<(), Error>)> {
        let outcome = if self.cut {
            Err(Error::timeout("something was still under way when the time to finish it was up"))
        } else {
            closed
        };
        self.waiting.into_iter().map(|done| (done, outcome.clone())).collect()
    }
}
