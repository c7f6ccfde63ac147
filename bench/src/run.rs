//! One run of one load on one server: warm up, measure, wait for the rest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::net::{Load, Net};
use crate::proc;

/// Longest wait for the answers that are still missing at the end.
const REST: Duration = Duration::from_secs(3);

/// Measured values by name; `README.md` says what each means.
pub(crate) type Sample = BTreeMap<&'static str, f64>;

/// Lets `load` run for `span` after a warm-up of a quarter of it.
///
/// CPU and messages are read at the same two moments, while the load is on. `server` names the processes to read;
/// it is asked after the warm-up, when late workers are there too. Fails if anything is missing at the end.
pub(crate) fn measure<L: Load>(
    net: &mut Net,
    load: &mut L,
    server: impl FnOnce() -> Result<Vec<u32>, Fault>,
    span: Duration,
) -> Result<Sample, Fault> {
    measure_until(net, load, server, (span / 4, span), |_| false)
}

/// The same, with a warm-up of its own length, and for `span` or until there is enough.
pub(crate) fn measure_until<L: Load>(
    net: &mut Net,
    load: &mut L,
    server: impl FnOnce() -> Result<Vec<u32>, Fault>,
    (warm_up, span): (Duration, Duration),
    enough: impl Fn(&mut L) -> bool,
) -> Result<Sample, Fault> {
    let own = [std::process::id()];
    net.begin(load)?;
    net.turn(load, warm_up, |_| false)?;
    load.meter().reset();
    let server = server()?;
    let (began, cpu, own_cpu) = (Instant::now(), proc::run_time(&server)?, proc::run_time(&own)?);
    net.turn(load, span, enough)?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = proc::run_time(&server)?.saturating_sub(cpu);
    let own_cpu = proc::run_time(&own)?.saturating_sub(own_cpu);
    let sample = sample(load, seconds, cpu, own_cpu, !server.is_empty());
    finish(net, load)?;
    sample
}

fn sample<L: Load>(
    load: &mut L,
    seconds: f64,
    cpu: Duration,
    own_cpu: Duration,
    cpu_known: bool,
) -> Result<Sample, Fault> {
    let meter = load.meter();
    if meter.done == 0 {
        return Err(Fault::Nothing);
    }
    let done = meter.done as f64;
    let mut sample = Sample::from([
        ("per_s", done / seconds),
        ("p50_us", meter.latency_us(0.5)),
        ("p99_us", meter.latency_us(0.99)),
        ("p999_us", meter.latency_us(0.999)),
        ("generator_load", own_cpu.as_secs_f64() / seconds),
    ]);
    if cpu_known {
        sample.insert("cpu_us", cpu.as_secs_f64() * 1e6 / done);
        sample.insert("per_cpu_s", done / cpu.as_secs_f64());
        sample.insert("server_load", cpu.as_secs_f64() / seconds);
    }
    Ok(sample)
}

/// Sends nothing more and waits for what is missing.
pub(crate) fn finish<L: Load>(net: &mut Net, load: &mut L) -> Result<(), Fault> {
    load.meter().sending = false;
    net.turn(load, REST, |load| load.meter().outstanding == 0)?;
    match load.meter().outstanding {
        0 => Ok(()),
        missing => Err(Fault::Lost(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::Line;
    use crate::load::lanes::{Framing, Lanes};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    /// Long enough for a busy machine to do something in it.
    const SPAN: Duration = Duration::from_secs(1);

    /// Answers the first connection's reads with what `alter` makes of them.
    fn server(mut alter: impl FnMut(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut buffer = vec![0; 65536];
            while let Ok(got @ 1..) = stream.read(&mut buffer) {
                let mut answer = buffer[..got].to_vec();
                alter(&mut answer);
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        });
        addr
    }

    fn echo(addr: SocketAddr, lanes: Lanes) -> Result<Sample, Fault> {
        let mut net = Net::new()?;
        let mut lanes = lanes;
        let (stream, early) = Line::tcp(addr)?.into_parts();
        net.add(stream, early)?;
        lanes.add_echo();
        measure(&mut net, &mut lanes, || Ok(vec![std::process::id()]), SPAN)
    }

    #[test]
    fn an_echo_is_measured_in_closed_and_in_open_loop() {
        let closed = echo(server(|_| {}), Lanes::new(Framing::Raw, 128, 4)).expect("a true echo");
        assert!(closed["per_s"] > 0.0 && closed["cpu_us"] > 0.0, "{closed:?}");
        let open = Lanes::new(Framing::Raw, 128, 0).at_rate(1_000);
        let began = Instant::now();
        let open = echo(server(|_| {}), open).expect("a true echo");
        // What was due and no more, however late it was sent; a closed loop would send many times that.
        let (done, due) = (open["per_s"] * SPAN.as_secs_f64(), began.elapsed().as_secs_f64() * 1_000.0 + 1.0);
        assert!(done > 0.0 && done <= due, "{done} of {due}: {open:?}");
    }

    #[test]
    fn an_altered_message_voids_the_run() {
        let mut count = 0;
        let server = server(move |bytes| {
            count += 1;
            if count == 5 {
                bytes[127] ^= 1;
            }
        });
        assert!(matches!(echo(server, Lanes::new(Framing::Raw, 128, 1)), Err(Fault::Altered)));
    }

    #[test]
    fn a_message_out_of_order_voids_the_run() {
        let mut last = None;
        let server = server(move |bytes| {
            if let Some(last) = last.replace(bytes.clone()) {
                *bytes = last;
            }
        });
        let fault = echo(server, Lanes::new(Framing::Raw, 128, 1));
        assert!(matches!(fault, Err(Fault::Order { expected: 1, got: 0, .. })), "{fault:?}");
    }
}
