//! `--exec CMD`: each call runs `sh -c CMD`, in the manner of CGI.
//!
//! The request's body is the command's standard input and goes in as it comes; its standard output is the body of the
//! answer. What else the request says is in the environment ([`super::cgi`]). A status is sent before a body, and the
//! exit code comes after it, so somebody has to wait: see [`Output`]. Whoever drops the output ends the command, with
//! its whole process group.

use std::{
    future::Future,
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, Command},
    sync::{Semaphore, mpsc},
};

use super::cgi::{self, Asked, Head, HeadError};
use crate::stream::{CHUNK_BYTES, Chunks};

/// Output that waits for the exit code at most, bytes; also the longest header block.
const HELD_BYTES_MAX: usize = 64 << 10;

/// How much of standard error is kept, bytes.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;

/// Variables of the hub's own that a command must not see.
const SECRETS: [&str; 2] = ["WHUB_TOKEN", "WHUB_TOKEN_FILE"];

/// When the answer begins, and what the output begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// With the end of the command, so that its exit code is the status; at 64 KiB of output at the latest.
    Held,
    /// With the first byte.
    Streamed,
    /// With the empty line behind a header block, which may name the status.
    Cgi,
}

/// A command to run for each call, a few at a time.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    command: Arc<str>,
    output: Output,
    slots: Arc<Semaphore>,
}

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: PrintedBody,
}

/// The body, as far as it is there.
#[derive(Debug)]
pub(crate) enum PrintedBody {
    /// All of it; the command has ended well.
    Whole(Bytes),
    /// It goes on; a failure of the command is an error in it.
    Running(Chunks<ExecError>),
}

/// Why there is no output, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// `sh` could not be started.
    #[error("cannot start the command: {0}")]
    Start(#[source] io::Error),
    /// Its pipes broke.
    #[error("cannot run the command: {0}")]
    Run(#[from] io::Error),
    /// It said no.
    #[error("the command ended with {status}: {complaint}")]
    Failed {
        /// Exit code or signal.
        status: ExitStatus,
        /// The last line of its standard error.
        complaint: String,
    },
    /// The caller gave up.
    #[error("the call was given up")]
    GivenUp,
    /// It began with something else than headers, although these were promised.
    #[error("the command's header block is no such: {0}")]
    Head(#[from] HeadError),
    /// It ended, or went on for too long, without the empty line that ends the headers.
    #[error("the command's header block does not end within {} KiB", HELD_BYTES_MAX >> 10)]
    EndlessHead,
}

impl Exec {
    /// Runs `command` for each call, at most `at_once` of them; further calls wait until their deadline.
    pub(crate) fn new(command: &str, output: Output, at_once: usize) -> Self {
        Self { command: command.into(), output, slots: Arc::new(Semaphore::new(at_once)) }
    }

    /// Runs the command with `body` as its input, until `cancelled` at the latest. Dropping the future, or the body
    /// that it gives, kills the command and all that it started.
    pub(crate) async fn run<B>(
        &self,
        asked: &Asked,
        body: B,
        cancelled: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Printed, ExecError>
    where
        B: AsyncRead + Send + Unpin + 'static,
    {
        // The semaphore is never closed; without a permit there would simply be no bound.
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let running = Running::start(&self.command, asked).map_err(ExecError::Start)?;
        let (sender, chunks) = mpsc::channel(1);
        tokio::spawn(async move {
            let _slot = slot;
            running.converse(body, &sender, cancelled).await;
        });
        printed(self.output, chunks).await
    }
}

type Sender = mpsc::Sender<Result<Bytes, ExecError>>;

/// Waits for as much of the output as decides about the status.
async fn printed(
    output: Output,
    mut chunks: mpsc::Receiver<Result<Bytes, ExecError>>,
) -> Result<Printed, ExecError> {
    let mut held = BytesMut::new();
    loop {
        let Some(chunk) = chunks.recv().await else { return whole(output, held) };
        held.extend_from_slice(&chunk?);
        let head = match output {
            Output::Cgi => cgi::head(&held)?,
            Output::Streamed => Some(plain()),
            Output::Held => (held.len() > HELD_BYTES_MAX).then(plain),
        };
        if let Some(head) = head {
            let body = PrintedBody::Running(Chunks::after(held.split_off(head.bytes).freeze(), chunks));
            return Ok(Printed { status: head.status, headers: head.headers, body });
        }
        if held.len() > HELD_BYTES_MAX {
            return Err(ExecError::EndlessHead);
        }
    }
}

/// The head of an output that says nothing about itself.
fn plain() -> Head {
    Head { status: 200, headers: Vec::new(), bytes: 0 }
}

fn whole(output: Output, mut held: BytesMut) -> Result<Printed, ExecError> {
    let head = match output {
        Output::Cgi => cgi::head(&held)?.ok_or(ExecError::EndlessHead)?,
        Output::Held | Output::Streamed => plain(),
    };
    let body = PrintedBody::Whole(held.split_off(head.bytes).freeze());
    Ok(Printed { status: head.status, headers: head.headers, body })
}

/// A command with its process group, which ends with it.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn start(command: &str, asked: &Asked) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).envs(cgi::environment(asked)).process_group(0).kill_on_drop(true);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for secret in SECRETS {
            shell.env_remove(secret);
        }
        let child = shell.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
    }

    /// Feeds it and passes its output on, until it has ended or nobody wants more of it.
    async fn converse(
        mut self,
        body: impl AsyncRead + Unpin,
        output: &Sender,
        cancelled: impl Future<Output = ()>,
    ) {
        let ended = tokio::select! {
            ended = self.output_and_end(body, output) => ended,
            () = output.closed() => return,
            () = cancelled => Err(ExecError::GivenUp),
        };
        // What is left of the group ends before anybody is told.
        drop(self);
        if let Err(error) = ended {
            // Who no longer listens need not hear it.
            let _ = output.send(Err(error)).await;
        }
    }

    async fn output_and_end(
        &mut self,
        body: impl AsyncRead + Unpin,
        output: &Sender,
    ) -> Result<(), ExecError> {
        let (input, printed, complaint) = self.pipes()?;
        let ended = async {
            let (passed, complaint) = tokio::join!(pass_on(printed, output), last_line(complaint));
            passed.map(|()| complaint)
        };
        // A command may end without its input, so the caller's body is never waited for.
        let complaint = tokio::select! {
            ended = ended => ended?,
            broken = feed(input, body) => return Err(broken.into()),
        };
        let status = self.wait().await?;
        if status.success() { Ok(()) } else { Err(ExecError::Failed { status, complaint }) }
    }

    fn pipes(&mut self) -> io::Result<(ChildStdin, impl AsyncRead + Unpin, impl AsyncRead + Unpin)> {
        let child = &mut self.child;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(complaint)) = pipes else {
            return Err(io::Error::other("the command has no pipes"));
        };
        Ok((input, output, complaint))
    }

    /// Waits for the end. Once the shell is gone, its group's number may be given to others, so it is forgotten.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have ended by itself in between.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Passes the body on, and comes back only when the body breaks off. A command that does not read its input to the end
/// is within its rights.
async fn feed(mut input: ChildStdin, mut body: impl AsyncRead + Unpin) -> io::Error {
    let copied = tokio::io::copy(&mut body, &mut input).await;
    match copied {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => error,
        Ok(_) | Err(_) => {
            drop(input);
            std::future::pending().await
        }
    }
}

/// Passes on what is printed, as it is printed, and as fast as it is taken.
async fn pass_on(mut printed: impl AsyncRead + Unpin, output: &Sender) -> io::Result<()> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        if printed.read_buf(&mut chunk).await? == 0 || output.send(Ok(chunk.freeze())).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads to the end and keeps the last line that says something.
async fn last_line(mut from: impl AsyncRead + Unpin) -> String {
    let mut tail = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        tail.extend_from_slice(&piece[..count]);
        let surplus = tail.len().saturating_sub(COMPLAINT_BYTES_MAX);
        tail.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&tail);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("(it said nothing)").to_owned()
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::Pin, time::Duration};

    use futures_core::Stream;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// More than any test waits when all goes well.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn next(chunks: &mut Chunks<ExecError>) -> Option<Result<Bytes, ExecError>> {
        let next = std::future::poll_fn(|cx| Pin::new(&mut *chunks).poll_next(cx));
        tokio::time::timeout(PATIENCE, next).await.expect("a chunk in time")
    }

    async fn all(body: PrintedBody) -> Result<String, ExecError> {
        let mut chunks = match body {
            PrintedBody::Whole(bytes) => return Ok(String::from_utf8(bytes.to_vec()).unwrap()),
            PrintedBody::Running(chunks) => chunks,
        };
        let mut all = Vec::new();
        while let Some(chunk) = next(&mut chunks).await {
            all.extend_from_slice(&chunk?);
        }
        Ok(String::from_utf8(all).unwrap())
    }

    async fn start(command: &str, output: Output, body: &[u8]) -> Result<Printed, ExecError> {
        let exec = Exec::new(command, output, 4);
        exec.run(&Asked::default(), io::Cursor::new(body.to_vec()), pending()).await
    }

    async fn run(command: &str, body: &[u8]) -> Result<String, ExecError> {
        all(start(command, Output::Held, body).await?.body).await
    }

    #[tokio::test]
    async fn the_body_goes_in_and_the_output_comes_out() {
        assert_eq!(run("tr a-z A-Z", b"hello").await.unwrap(), "HELLO");
        let large = vec![b'x'; 1 << 20];
        assert_eq!(run("cat", &large).await.unwrap().len(), large.len());
        assert_eq!(run("echo done", &large).await.unwrap(), "done\n", "input that nobody reads");
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        let error = run("echo first >&2; echo 'disk full' >&2; exit 3", b"").await.unwrap_err();
        assert_eq!(error.to_string(), "the command ended with exit status: 3: disk full");
        let error = run("exit 1", b"").await.unwrap_err();
        assert_eq!(error.to_string(), "the command ended with exit status: 1: (it said nothing)");
    }

    #[tokio::test]
    async fn what_is_printed_before_a_failure_is_held_back_as_long_as_it_is_short() {
        assert!(matches!(run("echo half; exit 3", b"").await, Err(ExecError::Failed { .. })));
        let long = start("head -c 100000 /dev/zero; exit 3", Output::Held, b"").await.unwrap();
        assert!(matches!(all(long.body).await, Err(ExecError::Failed { .. })));
        let streamed = start("echo half; exit 3", Output::Streamed, b"").await.unwrap();
        assert!(matches!(all(streamed.body).await, Err(ExecError::Failed { .. })));
    }

    #[tokio::test]
    async fn output_is_streamed_while_the_command_runs() {
        let (mut write, body) = tokio::io::duplex(64);
        let exec = Exec::new("exec cat", Output::Streamed, 1);
        write.write_all(b"one").await.unwrap();
        let printed = exec.run(&Asked::default(), body, pending()).await.unwrap();
        let PrintedBody::Running(mut chunks) = printed.body else { panic!("it has not ended") };
        assert_eq!(next(&mut chunks).await.unwrap().unwrap(), "one");
        write.write_all(b"two").await.unwrap();
        assert_eq!(next(&mut chunks).await.unwrap().unwrap(), "two");
        drop(write);
        assert!(next(&mut chunks).await.is_none());
    }

    #[tokio::test]
    async fn a_header_block_opens_the_output() {
        let said = "printf 'Status: 404 No\\nX-A: b\\n\\nnothing here'";
        let printed = start(said, Output::Cgi, b"").await.unwrap();
        assert_eq!((printed.status, printed.headers[0].1.as_str()), (404, "b"));
        assert_eq!(all(printed.body).await.unwrap(), "nothing here");
        assert!(matches!(start("echo hello", Output::Cgi, b"").await, Err(ExecError::Head(_))));
        assert!(matches!(start("true", Output::Cgi, b"").await, Err(ExecError::EndlessHead)));
        assert!(matches!(start("yes a:b", Output::Cgi, b"").await, Err(ExecError::EndlessHead)));
        let failed = start("exit 3", Output::Cgi, b"").await;
        assert!(
            matches!(failed, Err(ExecError::Failed { .. })),
            "a failure counts for more than a missing head"
        );
    }

    /// A command whose inner process holds a pipe open; that the pipe ends shows that the process has.
    struct Held {
        folder: std::path::PathBuf,
        command: String,
    }

    impl Held {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("whub-exec-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let fifo = folder.join("fifo");
            assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let command = format!("(echo up; exec sleep 1000) > {} & echo begun; wait", fifo.display());
            Self { folder, command }
        }

        /// Opens the pipe once the process is there.
        async fn pipe(&self) -> tokio::fs::File {
            let mut reader = tokio::fs::File::open(self.folder.join("fifo")).await.unwrap();
            let mut up = [0; 3];
            reader.read_exact(&mut up).await.unwrap();
            reader
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    async fn ends(mut pipe: tokio::fs::File) {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, pipe.read_to_end(&mut rest)).await;
        assert_eq!(ended.expect("the process was killed").unwrap(), 0);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_takes_its_processes_with_it() {
        let held = Held::new("dropped");
        let exec = Exec::new(&held.command, Output::Held, 1);
        let task = tokio::spawn(async move {
            exec.run(&Asked::default(), tokio::io::empty(), pending()).await.map(drop)
        });
        let pipe = held.pipe().await;
        task.abort();
        ends(pipe).await;
    }

    #[tokio::test]
    async fn so_does_one_whose_answer_has_begun() {
        let held = Held::new("begun");
        let exec = Exec::new(&held.command, Output::Streamed, 1);
        let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
        let cancelled = async move { _ = cancelled.await };
        let printed = exec.run(&Asked::default(), tokio::io::empty(), cancelled).await.unwrap();
        let pipe = held.pipe().await;
        drop(cancel);
        ends(pipe).await;
        assert!(
            matches!(all(printed.body).await, Err(ExecError::GivenUp)),
            "half an answer is not taken for a whole"
        );

        let endless = start("yes", Output::Held, b"").await.unwrap();
        assert!(matches!(endless.body, PrintedBody::Running(_)));
    }

    #[tokio::test]
    async fn only_so_many_run_at_once() {
        let exec = Exec::new("cat", Output::Held, 1);
        let (mut write, held) = tokio::io::duplex(64);
        let first = tokio::spawn({
            let exec = exec.clone();
            async move { exec.run(&Asked::default(), held, pending()).await }
        });
        write.write_all(b"x").await.unwrap();
        while exec.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let asked = Asked::default();
        let mut second = Box::pin(exec.run(&asked, tokio::io::empty(), pending()));
        let waiting = std::future::poll_fn(|context| {
            std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
        });
        assert!(waiting.await);
        drop(write);
        assert_eq!(all(first.await.unwrap().unwrap().body).await.unwrap(), "x");
        assert_eq!(all(second.await.unwrap().body).await.unwrap(), "");
    }
}
