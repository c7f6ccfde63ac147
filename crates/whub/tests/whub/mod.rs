//! Runs the built binary, away from the environment of whoever runs the tests.

#![allow(dead_code)] // Each test file uses its part.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio, id},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test fails rather than hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command, with nothing in its environment but what finds programs and folders.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whub"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs to the end: exit code, standard output, standard error.
pub(crate) fn whub(arguments: &[&str]) -> (i32, String, String) {
    finish(&mut command(arguments))
}

/// A folder of one test, gone when it ends.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("whub-test-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left by a run that was killed, whose process id was ours.
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
            }
        }
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file in it");
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that goes on while the test talks to it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    err: Option<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let out = child.stdout.take().map(BufReader::new);
        let err = child.stderr.take().map(BufReader::new);
        Self { child, out, err }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        let (line, reader) = next_line(self.out.take().expect("standard output is there"));
        self.out = Some(reader);
        line
    }

    /// Reads standard error until a line holds `text`, and gives that line.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let (line, reader) = next_line(self.err.take().expect("standard error is there"));
            self.err = Some(reader);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Writes to standard input.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let input = self.child.stdin.as_mut().expect("standard input is open");
        input.write_all(bytes).and_then(|()| input.flush()).expect("it reads");
    }

    /// Ends standard input.
    pub(crate) fn end_input(&mut self) {
        self.child.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it is there");
    }

    /// Waits for the end: exit code, and what is left of standard output.
    pub(crate) fn end(&mut self) -> (i32, Vec<u8>) {
        let reader = self.out.take().expect("standard output is there");
        self.end_and_read(reader)
    }

    /// Waits for the end: exit code, and what is left of standard error.
    pub(crate) fn end_with_errors(&mut self) -> (i32, String) {
        let reader = self.err.take().expect("standard error is there");
        let (code, rest) = self.end_and_read(reader);
        (code, String::from_utf8_lossy(&rest).into_owned())
    }

    fn end_and_read(&mut self, mut reader: impl Read + Send + 'static) -> (i32, Vec<u8>) {
        self.end_input();
        let rest = thread::spawn(move || {
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map(|_| rest)
        });
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < until, "the command does not end");
            thread::yield_now();
        };
        (status.code().unwrap_or(-1), rest.join().expect("a reader").expect("output"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until it is so, within [`PATIENCE`].
pub(crate) fn until(so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "it does not become so");
    }
}

/// The next line, without its break, within [`PATIENCE`].
fn next_line<R: Read + Send + 'static>(mut reader: BufReader<R>) -> (String, BufReader<R>) {
    let (done, read) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let count = reader.read_line(&mut line);
        let _ = done.send((count, line, reader));
    });
    let (count, line, reader) = read.recv_timeout(PATIENCE).expect("a line in time");
    assert_ne!(count.expect("text"), 0, "the output ended");
    (line.trim_end_matches('\n').to_owned(), reader)
}

/// A hub of one test, on a port of its own.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) process: Running,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Hub {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut process = Running::start(command(&[&["serve", "--listen", "127.0.0.1:0"], flags].concat()));
        let line = process.line();
        let address = line.strip_prefix("listening on ws://").expect("the announcement").to_owned();
        Self { process, address }
    }

    /// Starts it once more, on the port that it had.
    pub(crate) fn start_again(&mut self) {
        self.process = Running::start(command(&["serve", "--listen", &self.address]));
        assert_eq!(self.process.line(), format!("listening on ws://{}", self.address));
    }

    /// A client command that talks to this hub.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("WHUB_SERVER", format!("tcp://{}", self.address));
        command
    }

    /// Starts a client command.
    pub(crate) fn start_client(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Runs a client command to its end: exit code, standard output, standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        finish(&mut self.command(arguments))
    }

    /// Sends one HTTP request, given as its lines, and gives the answer's head and body.
    pub(crate) fn http(&self, lines: &[&str]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("the hub");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let request = format!("{}\r\nhost: localhost\r\nconnection: close\r\n\r\n", lines.join("\r\n"));
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = Vec::new();
        // An answer that breaks off may end in a reset.
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).expect("text"), body)
    }

    /// Calls that the first service's providers have now.
    pub(crate) fn inflight(&self) -> u64 {
        let (_, out, _) = self.run(&["status", "--json"]);
        let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        told["services"][0]["inflight"].as_u64().expect("a number")
    }
}

/// Runs a command to its end: exit code, standard output, standard error.
pub(crate) fn finish(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
