//! Servers under test: started, pinned, found ready, and ended by their own process id.

mod peers;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::dial::Line;
use crate::fault::Fault;
use crate::proc;

pub(crate) use peers::{
    frp, gateway, haproxy, haproxy_stream, haproxy_ws, mosquitto, nats, nginx, nginx_stream, nginx_ws,
};

/// Name of the application behind `whub expose`, the first segment of its paths.
const EXPOSED: &str = "bench";
/// Longest wait until a server listens.
const READY: Duration = Duration::from_secs(10);
/// Longest wait until a server has ended after SIGTERM.
const END: Duration = Duration::from_secs(3);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// How the table calls it.
    pub(crate) name: String,
    /// Where its clients connect.
    pub(crate) addr: SocketAddr,
    /// Path of its WebSocket echo, for servers that have one.
    pub(crate) echo_path: String,
    /// Its process; unknown for a peer by address on another machine.
    pid: Option<u32>,
    child: Option<Child>,
    folder: Option<PathBuf>,
    /// What a proxy stands in front of; ends after it.
    behind: Option<Box<Self>>,
    /// What works for it and is counted with it.
    helper: Option<Box<Self>>,
}

impl Server {
    /// A WebSocket echo that somebody else started: `ws://HOST:PORT/PATH`.
    pub(crate) fn by_address(name: &str, url: &str) -> Result<Self, Fault> {
        let wrong = || Fault::protocol(format!("a peer is NAME=ws://ADDRESS:PORT/PATH, not {url}"));
        let rest = url.strip_prefix("ws://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let addr: SocketAddr = host.parse().map_err(|_| wrong())?;
        let pid = proc::listener(addr.port());
        let echo_path = format!("/{path}");
        Ok(Self {
            name: name.to_owned(),
            addr,
            echo_path,
            pid,
            child: None,
            folder: None,
            behind: None,
            helper: None,
        })
    }

    /// One of the generator's own reference servers.
    pub(crate) fn reference(name: &str, mode: &str, core: Option<usize>) -> Result<Self, Fault> {
        let own = std::env::current_exe().map_err(Fault::io("own path"))?;
        let mut command = pinned(core, &own.to_string_lossy());
        command.arg(mode);
        Self::announced(name, command)
    }

    /// The hub, with its echo switched on and everything else as it comes.
    pub(crate) fn whub(name: &str, binary: &str, core: Option<usize>) -> Result<Self, Fault> {
        let mut command = pinned(core, binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--set", "debug.echo=true"]);
        let mut server = Self::announced(name, command)?;
        server.echo_path = "/debug/echo".to_owned();
        Ok(server)
    }

    /// The hub with an exposer that brings it the application `stub`.
    pub(crate) fn exposing(binary: &str, stub: Self, core: Option<usize>) -> Result<Self, Fault> {
        let mut hub = Self::whub("whub-expose", binary, core)?;
        let mut command = pinned(core, binary);
        let app = format!("http://{}", stub.addr);
        command.args(["expose", EXPOSED, &app, "--server", &format!("tcp://{}", hub.addr)]);
        let exposer = Self::spawn("exposer", command, hub.addr, None)?;
        let path = format!("/{EXPOSED}/ready");
        let deadline = Instant::now() + READY;
        while !Line::tcp(hub.addr)?.finds(&path)? {
            if Instant::now() > deadline {
                return Err(Fault::Timeout("whub expose offers nothing".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        hub.helper = Some(Box::new(exposer));
        hub.behind = Some(Box::new(stub));
        Ok(hub)
    }

    /// No server at all.
    pub(crate) fn nobody(name: &str) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            name: name.to_owned(),
            addr,
            echo_path: String::new(),
            pid: None,
            child: None,
            folder: None,
            behind: None,
            helper: None,
        }
    }

    /// A place that the generator itself listens at, when it is its turn.
    pub(crate) fn reserved(name: &str) -> Result<Self, Fault> {
        let mut nobody = Self::nobody(name);
        nobody.addr = free_port()?;
        Ok(nobody)
    }

    /// What it stands in front of, if that is somebody.
    pub(crate) fn upstream(&self) -> Option<SocketAddr> {
        self.behind.as_ref().map(|behind| behind.addr)
    }

    /// The hub for the soak, with one more setting.
    pub(crate) fn soaked(binary: &str, setting: &str) -> Result<Self, Fault> {
        let mut command = pinned(None, binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--set", setting]);
        Self::announced("whub", command)
    }

    /// Its process and all below it now; workers may come after the first connection is accepted.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Fault> {
        let mut pids = self.pid.map_or(Ok(Vec::new()), proc::tree)?;
        if let Some(helper) = &self.helper {
            pids.extend(helper.pids()?);
        }
        Ok(pids)
    }

    /// Starts a server that prints `listening on SCHEME://HOST:PORT` on its standard output.
    fn announced(name: &str, command: Command) -> Result<Self, Fault> {
        let (mut server, addr) = Self::telling(name, command, |line| {
            let (_, url) = line.split_once("listening on ")?;
            url.split_once("://")?.1.trim().parse().ok()
        })?;
        server.addr = addr;
        Ok(server)
    }

    /// Starts a program and waits until its standard output has a line that `find` finds something in.
    fn telling<T: Send + 'static>(
        name: &str,
        mut command: Command,
        find: impl Fn(&str) -> Option<T> + Send + 'static,
    ) -> Result<(Self, T), Fault> {
        command.stdout(Stdio::piped());
        let mut server = Self::spawn(name, command, SocketAddr::from(([127, 0, 0, 1], 0)), None)?;
        let output = server.child.as_mut().and_then(|child| child.stdout.take());
        let lines = BufReader::new(output.ok_or_else(|| Fault::protocol("no standard output"))?).lines();
        let (tell, told) = std::sync::mpsc::channel();
        // It reads on afterwards, lest the server blocks on a full pipe.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| {
                if let Some(found) = find(&line) {
                    // Nobody waits for the second one.
                    let _ = tell.send(found);
                }
            });
        });
        let found = told.recv_timeout(READY);
        Ok((server, found.map_err(|_| Fault::protocol(format!("{name} ended, or is not ready in time")))?))
    }

    fn spawn(
        name: &str,
        mut command: Command,
        addr: SocketAddr,
        folder: Option<PathBuf>,
    ) -> Result<Self, Fault> {
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Fault::io(format!("start {name}")))?;
        let echo_path = "/".to_owned();
        let (name, pid) = (name.to_owned(), Some(child.id()));
        Ok(Self { name, addr, echo_path, pid, child: Some(child), folder, behind: None, helper: None })
    }

    /// Waits until the address answers.
    fn ready(mut self) -> Result<Self, Fault> {
        let deadline = Instant::now() + READY;
        while TcpStream::connect(self.addr).is_err() {
            let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            if ended || Instant::now() > deadline {
                return Err(Fault::Timeout(format!("{} does not listen on {}", self.name, self.addr)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
        if let Some(folder) = &self.folder {
            // Left behind at worst in the temporary folder.
            drop(fs::remove_dir_all(folder));
        }
    }
}

/// SIGTERM, so that a master takes its workers along; SIGKILL for one that does not hear.
fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + END;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.kill());
    drop(child.wait());
}

/// A command that stays on `core` and ends with the generator, however that ends.
fn pinned(core: Option<usize>, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.arg(program);
    command
}

/// A loopback port that was free a moment ago.
fn free_port() -> Result<SocketAddr, Fault> {
    let socket = TcpListener::bind("127.0.0.1:0").map_err(Fault::io("find a free port"))?;
    socket.local_addr().map_err(Fault::io("find a free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_by_address_keeps_its_path() {
        let peer = Server::by_address("other", "ws://127.0.0.1:1/some/echo").expect("well formed");
        assert_eq!((peer.addr.port(), peer.echo_path.as_str()), (1, "/some/echo"));
        assert!(Server::by_address("other", "http://127.0.0.1:1/").is_err());
    }
}
