//! Processes of endpoints, run by the real hub: kept up while it lives, and gone with it however it ends.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod whub;

use std::{
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use whub::{Hub, Scratch, until};

/// A hub with one endpoint, which is another hub that it runs.
struct Served {
    hub: Hub,
    port: u16,
    scratch: Scratch,
}

impl Served {
    fn start(more: &str) -> Self {
        let scratch = Scratch::new();
        // Free a moment ago; the endpoint's process takes it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let binary = env!("CARGO_BIN_EXE_whub");
        let file = scratch.file(
            "whub.toml",
            &format!(
                "[[endpoints]]\nname = \"echo\"\nurl = \"ws://127.0.0.1:{port}/debug/echo\"\nbackoff_max = \"100ms\"\n\
                 command = \"exec {binary} serve --listen 127.0.0.1:$PORT --set debug.echo=true\"\n{more}\n"
            ),
        );
        let hub = Hub::start(&["--config", &file]);
        Self { hub, port, scratch }
    }

    fn is_up(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// The number of the process, once it runs.
    fn pid(&mut self) -> Pid {
        let line = self.hub.process.wait_for("the process runs");
        let pid = line.rsplit("pid=").next().and_then(|rest| rest.split_whitespace().next());
        pid.and_then(|pid| Pid::from_raw(pid.parse().ok()?)).unwrap_or_else(|| panic!("no pid in {line}"))
    }
}

/// Whether a process is there, and not only as a corpse that nobody has buried.
fn lives(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_process_is_reached_through_the_hub_and_its_output_is_in_the_log() {
    let mut served = Served::start("");
    let line = served.hub.process.wait_for("listening on ws://");
    assert!(line.contains(&format!("127.0.0.1:{}", served.port)) && line.contains("echo"), "{line}");
    until(|| served.hub.http(&["GET /gateway/echo HTTP/1.1"]).0.starts_with("HTTP/1.1 426"));
}

#[test]
fn a_process_that_dies_is_started_again() {
    let mut served = Served::start("");
    let first = served.pid();
    until(|| served.is_up());
    kill_process(first, Signal::KILL).unwrap();
    let line = served.hub.process.wait_for("is started again in");
    assert!(line.contains("it ended with signal: 9"), "{line}");
    assert_ne!(served.pid(), first);
    until(|| served.is_up());
}

#[test]
fn a_process_that_does_not_answer_is_started_again() {
    let more = "health = \"websocket\"\nhealth_interval = \"100ms\"\nconnect_timeout = \"200ms\"\ncommand_stop = \"100ms\"";
    let mut served = Served::start(more);
    let first = served.pid();
    served.hub.process.wait_for("upstream is up");
    // The system goes on accepting connections for it, but nobody answers.
    kill_process(first, Signal::STOP).unwrap();
    let line = served.hub.process.wait_for("is started again in");
    assert!(line.contains("it has not answered for"), "{line}");
    assert_ne!(served.pid(), first);
    served.hub.process.wait_for("upstream is up");
}

#[test]
fn it_ends_in_peace_with_the_hub() {
    let mut served = Served::start("");
    let pid = served.pid();
    until(|| served.is_up());
    served.hub.process.signal(Signal::TERM);
    served.hub.process.wait_for("stopping");
    assert_eq!(served.hub.process.end().0, 0);
    assert!(!lives(pid), "the hub waits for it");
}

#[test]
fn it_ends_with_a_hub_that_is_killed() {
    let mut served = Served::start("");
    let pid = served.pid();
    until(|| served.is_up());
    served.hub.process.signal(Signal::KILL);
    served.hub.process.end();
    until(|| !lives(pid));
}

#[test]
fn it_ends_with_a_hub_that_stops_at_once() {
    let mut served = Served::start("command_stop = \"1h\"");
    let pid = served.pid();
    until(|| served.is_up());
    // It would take an hour to end in peace.
    kill_process(pid, Signal::STOP).unwrap();
    served.hub.process.signal(Signal::TERM);
    served.hub.process.wait_for("a second signal stops at once");
    served.hub.process.signal(Signal::TERM);
    assert_eq!(served.hub.process.end().0, 1);
    until(|| !lives(pid));
}

#[test]
fn a_change_ends_the_old_one_before_the_new_one_begins() {
    let mut served = Served::start("");
    let first = served.pid();
    until(|| served.is_up());
    let file = served.scratch.0.join("whub.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // It has the same port.
    served.scratch.file("whub.toml", &text.replace("debug.echo=true\"", "debug.echo=true --node other\""));
    served.hub.process.signal(Signal::HUP);
    served.hub.process.wait_for("the endpoint echo is somewhere else now");
    let second = served.pid();
    assert!(first != second && !lives(first));
    until(|| served.is_up());

    served.scratch.file("whub.toml", "");
    served.hub.process.signal(Signal::HUP);
    served.hub.process.wait_for("the endpoint echo is gone");
    until(|| !lives(second));
}

#[test]
fn a_config_ini_may_have_a_command_too() {
    let scratch = Scratch::new();
    let pipe = scratch.0.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).stdin(Stdio::null()).status().unwrap();
    assert!(made.success());
    let command = format!("echo $WHUB_ENDPOINT $PORT > {}; exec sleep 1000", pipe.display());
    let file = scratch.file("config.ini", &format!("[Endpoint1]\nPort = 8080\nCommand = {command}\n"));
    let _hub = Hub::start(&["--gateway", &file]);
    assert_eq!(std::fs::read_to_string(&pipe).unwrap(), "Endpoint1 8080\n");
}
