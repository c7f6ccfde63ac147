//! One publisher, many subscribers: the next burst leaves when everybody has the last one.

use super::expect;
use crate::fault::Fault;
use crate::message::{self, Stamp};
use crate::meter::Meter;
use crate::net::{Load, Outbox};
use crate::template::Template;
use crate::wire::Broker;

/// The traffic of a fan-out cell: connections 0 to n-1 subscribe, connection n publishes.
#[derive(Debug)]
pub(crate) struct Fanout<B> {
    broker: B,
    template: Template,
    message_len: usize,
    burst: u64,
    /// Position that each subscriber must get next.
    next: Vec<u64>,
    sent: u64,
    meter: Meter,
}

impl<B: Broker> Fanout<B> {
    /// `template` is the frame that publishes one message of `message_len` bytes.
    pub(crate) fn new(
        broker: B,
        template: Template,
        message_len: usize,
        subscribers: usize,
        burst: u64,
    ) -> Self {
        let next = vec![0; subscribers];
        Self { broker, template, message_len, burst, next, sent: 0, meter: Meter::new() }
    }

    fn publish(&mut self, now_ns: u64, out: &mut Outbox) {
        let publisher = self.next.len();
        for _ in 0..self.burst {
            self.template.append(out.queue(publisher), Stamp::new(now_ns, 0, self.sent));
            self.sent += 1;
            self.meter.sent(self.next.len() as u64);
        }
    }
}

impl<B: Broker> Load for Fanout<B> {
    fn start(&mut self, now_ns: u64, out: &mut Outbox) {
        self.publish(now_ns, out);
    }

    fn handle_bytes(
        &mut self,
        conn: usize,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        let Self { broker, next, meter, message_len, .. } = self;
        let mut take = |body: &[u8]| {
            let Some(next) = next.get_mut(conn) else {
                return Err(Fault::protocol("the publisher was sent a message"));
            };
            let stamp = message::check(body, *message_len)?;
            expect(conn, message::number(0, *next), stamp.number)?;
            *next += 1;
            meter.answered(stamp.at_ns, now_ns);
            Ok(())
        };
        let used = broker.deliveries(conn, bytes, &mut take, out)?;
        if self.meter.outstanding == 0 && self.meter.sending {
            self.publish(now_ns, out);
        }
        Ok(used)
    }

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}
