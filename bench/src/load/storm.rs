//! Ten thousand WebSockets, as fast as the server upgrades them, all kept until the last is open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::dial::{Line, accepted, head_len, upgrade_request};
use crate::fault::Fault;
use crate::meter::Meter;
use crate::net::{Load, Net, Outbox};

/// WebSockets of one storm.
pub(crate) const UPGRADES: u64 = 10_000;
/// Handshakes under way at once.
const AT_ONCE: u64 = 128;
/// Longest time for all of them.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for acceptances; the requests are queued by [`run`].
#[derive(Debug)]
struct Storm {
    begun: Vec<u64>,
    requests: Vec<(usize, Vec<u8>)>,
    meter: Meter,
}

/// Opens all WebSockets; `path(n)` is where the nth asks.
pub(crate) fn run(addr: SocketAddr, path: impl Fn(u64) -> String) -> Result<Meter, Fault> {
    let mut net = Net::new()?;
    let mut storm = Storm { begun: Vec::new(), requests: Vec::new(), meter: Meter::new() };
    let deadline = Instant::now() + LIMIT;
    while storm.meter.done < UPGRADES {
        if Instant::now() > deadline {
            return Err(Fault::Lost(UPGRADES - storm.meter.done));
        }
        while (storm.begun.len() as u64) < UPGRADES && storm.meter.outstanding < AT_ONCE {
            let at_ns = net.now_ns();
            let (stream, early) = Line::tcp(addr)?.into_parts();
            let conn = net.add(stream, early)?;
            storm.requests.push((conn, upgrade_request(addr, &path(conn as u64), None)));
            storm.begun.push(at_ns);
            storm.meter.sent(1);
        }
        net.begin(&mut storm)?;
        let before = storm.meter.done;
        net.turn(&mut storm, Duration::from_millis(100), |storm| storm.meter.done > before)?;
    }
    Ok(storm.meter)
}

impl Load for Storm {
    fn start(&mut self, _now_ns: u64, out: &mut Outbox) {
        for (conn, request) in self.requests.drain(..) {
            out.queue(conn).extend_from_slice(&request);
        }
    }

    fn handle_bytes(
        &mut self,
        conn: usize,
        bytes: &[u8],
        now_ns: u64,
        _out: &mut Outbox,
    ) -> Result<usize, Fault> {
        let Some(len) = head_len(bytes) else { return Ok(0) };
        accepted(&bytes[..len])?;
        self.meter.answered(self.begun[conn], now_ns);
        // What a server may say to a waiting half does not matter here.
        Ok(bytes.len())
    }

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}
