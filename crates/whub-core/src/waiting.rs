//! The usher's round: calls that wait are led to free providers, and told when they waited too long; seats that nobody
//! came back to are given up.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use whub_proto::Code;
use whub_proto::names::Pattern;

use crate::call::Place;
use crate::call::{Call, CallKey};
use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, SessionId};
use crate::placing::{deadline_exceeded, overloaded};
use crate::services::{Provider, Service, Waiting};

/// Providers that read too slowly tell nobody when they have caught up, so they are asked again this much later.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Hub {
    /// Serves those who wait for a free provider, and gives up seats of pairs whose time is up. `waker` is woken when
    /// there may be more to do; what comes out is when it is due without that. One driver per hub does this, from the
    /// beginning on.
    pub fn handle_waiting(&self, now: Instant, waker: &Waker) -> Option<Instant> {
        let mut due = None;
        for table in [&self.services, &self.own_services] {
            for service in table.attended(waker) {
                let next = self.serve(now, &service);
                due = [due, next].into_iter().flatten().min();
            }
            table.tidy();
        }
        [due, self.give_up_seats(now, waker)].into_iter().flatten().min()
    }

    /// Returns when this line is due again.
    fn serve(&self, now: Instant, service: &Arc<Service>) -> Option<Instant> {
        let line = service.line();
        for waiting in line.expire(now) {
            self.wait_over(now, &waiting.call);
        }
        while let Some(waiting) = line.take() {
            let Waiting { mut call, until } = waiting;
            call.step += 1;
            let (caller, key, step) = (call.caller.clone(), call.key(), call.step);
            let roster = service.roster();
            match service.offer(&roster, call) {
                Ok(provider) => {
                    let place = Place::At(provider);
                    if line.taken() {
                        self.abandon(&place, key, Code::Cancelled);
                    } else {
                        self.tell_place(&caller, key, place, step);
                    }
                }
                Err(refused) if !roster.may_take(&refused.call) => {
                    // A wait for nobody.
                    if line.taken() {
                        self.cancelled(&refused.call);
                    } else {
                        self.wait_over(now, &refused.call);
                    }
                }
                Err(mut refused) => {
                    // Nothing was said of this step. There may be more rounds than there are numbers.
                    refused.call.step -= 1;
                    let congested = refused.congested;
                    match line.put_back(Waiting { call: refused.call, until }) {
                        Ok(()) if congested => return Some(now + LOOK_AGAIN),
                        Ok(()) => return line.first_until(),
                        Err((call, true)) => self.cancelled(&call),
                        Err((call, false)) => self.strand(&call),
                    }
                }
            }
        }
        None
    }

    /// Takes a provider away. Calls that wait when the last one goes are told at once.
    pub fn leave_service(&self, pattern: &Pattern, session: SessionId) -> Option<Arc<Provider>> {
        let left = self.table_of(pattern).unregister(pattern, session);
        for waiting in left.stranded {
            self.strand(&waiting.call);
        }
        left.provider
    }

    /// Tells a caller where its call is. One that is gone has abandoned it.
    pub(crate) fn tell_place(&self, caller: &Mailbox, call: CallKey, place: Place, step: u8) {
        if caller.post(Letter::Placed { id: call.id, place: place.clone(), step }).is_err() {
            self.abandon(&place, call, Code::Cancelled);
        }
    }

    fn wait_over(&self, now: Instant, call: &Call) {
        if call.deadline <= now {
            self.counters.calls_deadline.one();
            end(call, deadline_exceeded());
        } else {
            self.counters.calls_waited_out.one();
            call.service.stats.unavailable.one();
            end(call, overloaded(&call.service));
        }
    }

    /// Nobody is left who could take it.
    fn strand(&self, call: &Call) {
        self.counters.calls_waited_out.one();
        let reason = format!("the last provider of {} has left", call.service.pattern);
        end(call, Fault::passing(Code::Unavailable, "service.gone", RETURN_MS, reason));
    }

    fn cancelled(&self, call: &Call) {
        self.counters.calls_cancelled.one();
        call.service.stats.errors.count(Code::Cancelled);
    }
}

fn end(call: &Call, fault: Fault) {
    call.service.stats.errors.count(fault.code);
    call.fail(fault);
}

/// When to come back to a service whose last provider has left: about as long as a program needs to start again.
const RETURN_MS: u32 = 1000;
