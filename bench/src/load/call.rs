//! Callers with one call in flight each, and the providers that answer them, all in the generator.

use super::expect;
use crate::fault::Fault;
use crate::message::{self, Stamp};
use crate::meter::Meter;
use crate::net::{Load, Outbox};
use crate::wire::{Arrival, CallWire};

/// The traffic of a call cell: connections 0 to n-1 call, those from n on provide.
#[derive(Debug)]
pub(crate) struct Calls<W> {
    wire: W,
    message_len: usize,
    /// Calls that each caller has begun.
    begun: Vec<u64>,
    /// Calls that each provider has answered.
    served: Vec<u64>,
    meter: Meter,
}

impl<W: CallWire> Calls<W> {
    /// Request and response carry `message_len` bytes each.
    pub(crate) fn new(wire: W, message_len: usize, callers: usize, providers: usize) -> Self {
        Self { wire, message_len, begun: vec![0; callers], served: vec![0; providers], meter: Meter::new() }
    }

    /// Fewest and most calls that a provider had.
    pub(crate) fn extremes(&self) -> (u64, u64) {
        let (least, most) = (self.served.iter().min(), self.served.iter().max());
        (least.copied().unwrap_or(0), most.copied().unwrap_or(0))
    }

    fn call(&mut self, caller: usize, now_ns: u64, out: &mut Outbox) {
        let nth = self.begun[caller];
        self.begun[caller] += 1;
        self.wire.request(out.queue(caller), caller, nth, Stamp::new(now_ns, caller, nth));
        self.meter.sent(1);
    }

    fn handle_arrival(
        &mut self,
        conn: usize,
        arrival: &Arrival,
        now_ns: u64,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let provider = self.begun.len();
        match arrival {
            Arrival::Request { reply, stamp } if conn >= provider => {
                self.served[conn - provider] += 1;
                self.wire.response(out.queue(conn), *reply, *stamp);
                Ok(())
            }
            Arrival::Response { stamp } if conn < provider => {
                let last = self.begun[conn].saturating_sub(1);
                expect(conn, message::number(conn, last), stamp.number)?;
                self.meter.answered(stamp.at_ns, now_ns);
                if self.meter.sending {
                    self.call(conn, now_ns, out);
                }
                Ok(())
            }
            Arrival::Request { .. } | Arrival::Response { .. } => {
                Err(Fault::protocol("a request at a caller, or a response at the provider"))
            }
        }
    }
}

impl<W: CallWire> Load for Calls<W> {
    fn start(&mut self, now_ns: u64, out: &mut Outbox) {
        for caller in 0..self.begun.len() {
            self.call(caller, now_ns, out);
        }
    }

    fn handle_bytes(
        &mut self,
        conn: usize,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        let mut arrivals = Vec::new();
        let used = self.wire.arrivals(conn, bytes, self.message_len, &mut arrivals, out)?;
        for arrival in &arrivals {
            self.handle_arrival(conn, arrival, now_ns, out)?;
        }
        Ok(used)
    }

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}
