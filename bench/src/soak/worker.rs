//! A caller or a provider: a process of its own, which the conductor stops, continues, kills and gives orders to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fault::Fault;

/// What a worker is told, one word a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Say that nothing more comes, listen to the end, and connect again.
    HalfClose,
    /// Begin nothing new, finish what is under way, report and end.
    Finish,
}

/// The orders of this process, from its standard input, whose end is an order to finish.
#[derive(Debug)]
pub(super) struct Orders(Receiver<Order>);

impl Orders {
    pub(super) fn listen() -> Self {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                let order = if line == "half-close" { Order::HalfClose } else { Order::Finish };
                if tell.send(order).is_err() {
                    return;
                }
            }
        });
        Self(told)
    }

    pub(super) fn next(&self) -> Option<Order> {
        match self.0.try_recv() {
            Ok(order) => Some(order),
            Err(TryRecvError::Disconnected) => Some(Order::Finish),
            Err(TryRecvError::Empty) => None,
        }
    }
}

/// A worker, as the conductor holds it.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
}

impl Worker {
    /// Starts this very program in the role of `mode`.
    pub(super) fn start(mode: &str, hub: SocketAddr, seed: u64) -> Result<Self, Fault> {
        let own = std::env::current_exe().map_err(Fault::io("own path"))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(own)
            .args([mode, &hub.to_string(), &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Fault::io(format!("start {mode}")))?;
        Ok(Self { child })
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself, which shows when its report is missing.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it at once.
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn order(&mut self, order: Order) -> Result<(), Fault> {
        let word = match order {
            Order::HalfClose => "half-close\n",
            Order::Finish => "finish\n",
        };
        let input = self.child.stdin.as_mut().ok_or(Fault::Nothing)?;
        input.write_all(word.as_bytes()).map_err(Fault::io("a worker's orders"))
    }

    /// Waits for its end and takes its report.
    pub(super) fn report(mut self) -> Result<Value, Fault> {
        let mut text = String::new();
        if let Some(output) = self.child.stdout.take() {
            BufReader::new(output).read_to_string(&mut text).map_err(Fault::io("a worker's report"))?;
        }
        let status = self.child.wait().map_err(Fault::io("a worker's end"))?;
        if !status.success() {
            return Err(Fault::protocol(format!("a worker ended with {status}")));
        }
        serde_json::from_str(&text).map_err(|error| Fault::protocol(format!("a worker's report: {error}")))
    }
}
