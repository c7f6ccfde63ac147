//! `--exec CMD`: each call runs `sh -c CMD`, in the manner of CGI.
//!
//! The request's body is the command's standard input, its standard output the body of the answer. What else the
//! request says is in the environment: `REQUEST_METHOD`, `PATH_INFO` (the raw path), `QUERY_STRING`, `REMOTE_ADDR`,
//! `CONTENT_TYPE`, `CONTENT_LENGTH`, and `HTTP_NAME` for each other header. Exit code 0 is status 200; with any other the caller gets
//! a plain 500, and the last line of standard error is logged here, because it may tell what is not for strangers.

use std::{ffi::OsString, io, process::Stdio, sync::Arc};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, Command},
    sync::Semaphore,
};

/// What a command may print; one that prints more is stopped. Its exit code decides about the status, so all of it
/// waits in memory until then.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// How much of standard error is kept.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;

/// Variables of the hub's own that a command must not see.
const SECRETS: [&str; 2] = ["WHUB_TOKEN", "WHUB_TOKEN_FILE"];

/// A command to run for each call, a few at a time.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    command: Arc<str>,
    slots: Arc<Semaphore>,
}

/// What a call says, as far as a command is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Address of the caller, as far as the hub trusts it.
    pub(crate) peer: String,
    /// Names in lower case; a name may come several times.
    pub(crate) headers: Vec<(String, String)>,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// `sh` could not be started, or its pipes broke.
    #[error("cannot run the command: {0}")]
    Run(#[from] io::Error),
    /// More than [`OUTPUT_BYTES_MAX`].
    #[error("the command printed more than {} MiB", OUTPUT_BYTES_MAX >> 20)]
    TooLong,
    /// It said no.
    #[error("the command ended with {status}: {complaint}")]
    Failed {
        /// Exit code or signal.
        status: std::process::ExitStatus,
        /// The last line of its standard error.
        complaint: String,
    },
}

impl Exec {
    /// Runs `command` for each call, at most `at_once` of them; further calls wait until their deadline.
    pub(crate) fn new(command: &str, at_once: usize) -> Self {
        Self { command: command.into(), slots: Arc::new(Semaphore::new(at_once)) }
    }

    /// Runs the command with `body` as its input. Dropping the future kills the command and all that it started.
    pub(crate) async fn run<B: AsyncRead + Unpin>(
        &self,
        asked: &Asked,
        body: B,
    ) -> Result<Vec<u8>, ExecError> {
        // The semaphore is never closed; without a permit there would simply be no bound.
        let _slot = self.slots.acquire().await;
        let mut running = Running::start(&self.command, asked)?;
        let (input, output, complaint) = running.pipes()?;
        let mut printed = Vec::new();
        let ended = async {
            let read = read_all(output.take(OUTPUT_BYTES_MAX + 1), &mut printed);
            let (read, complaint) = tokio::join!(read, last_line(complaint));
            read.map(|_| complaint)
        };
        // A command may end without its input, so the caller's body is never waited for.
        let complaint = tokio::select! {
            ended = ended => ended?,
            broken = feed(input, body) => return Err(broken.into()),
        };
        if printed.len() as u64 > OUTPUT_BYTES_MAX {
            return Err(ExecError::TooLong);
        }
        let status = running.wait().await?;
        if !status.success() {
            return Err(ExecError::Failed { status, complaint });
        }
        Ok(printed)
    }
}

/// A command with its process group, which ends with it.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn start(command: &str, asked: &Asked) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).envs(environment(asked)).process_group(0).kill_on_drop(true);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for secret in SECRETS {
            shell.env_remove(secret);
        }
        let child = shell.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
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
    async fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
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
async fn feed<B: AsyncRead + Unpin>(mut input: ChildStdin, mut body: B) -> io::Error {
    let copied = tokio::io::copy(&mut body, &mut input).await;
    match copied {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => error,
        Ok(_) | Err(_) => {
            drop(input);
            std::future::pending().await
        }
    }
}

/// Reads to the end, then closes the pipe: a command that goes on printing after the limit is ended by that.
async fn read_all(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) -> io::Result<usize> {
    from.read_to_end(into).await
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

fn environment(asked: &Asked) -> Vec<(String, OsString)> {
    let mut variables: Vec<(String, OsString)> = vec![
        ("GATEWAY_INTERFACE".to_owned(), "CGI/1.1".into()),
        ("REQUEST_METHOD".to_owned(), asked.method.clone().into()),
        ("PATH_INFO".to_owned(), asked.path.clone().into()),
        ("QUERY_STRING".to_owned(), asked.query.clone().into()),
        ("REMOTE_ADDR".to_owned(), asked.peer.clone().into()),
    ];
    for (name, value) in &asked.headers {
        let Some(variable) = variable(name) else { continue };
        if value.contains('\0') {
            continue;
        }
        // Of a repeated header all values count, as in a list (RFC 9110, section 5.2).
        match variables.iter_mut().find(|(known, _)| *known == variable) {
            Some((_, known)) => {
                known.push(", ");
                known.push(value);
            }
            None => variables.push((variable, value.into())),
        }
    }
    variables
}

/// The variable of a header. `Proxy` has none, because `HTTP_PROXY` steers many a program; nor has a name with `_`,
/// which could not be told from one with `-`.
fn variable(header: &str) -> Option<String> {
    if header.eq_ignore_ascii_case("proxy")
        || !header.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return None;
    }
    let name = header.to_ascii_uppercase().replace('-', "_");
    Some(if matches!(name.as_str(), "CONTENT_TYPE" | "CONTENT_LENGTH") {
        name
    } else {
        format!("HTTP_{name}")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn asked() -> Asked {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Asked {
            method: "POST".to_owned(),
            path: "/shell/a%2Fb".to_owned(),
            query: "x=1&y".to_owned(),
            peer: "192.0.2.1:4711".to_owned(),
            headers: vec![
                header("content-type", "text/plain"),
                header("x-tag", "one"),
                header("x-tag", "$(two)"),
                header("proxy", "http://evil"),
                header("x_tag", "three"),
            ],
        }
    }

    async fn run(command: &str, body: &[u8]) -> Result<String, ExecError> {
        let output = Exec::new(command, 4).run(&asked(), body).await?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[tokio::test]
    async fn the_body_goes_in_and_the_output_comes_out() {
        assert_eq!(run("tr a-z A-Z", b"hello").await.unwrap(), "HELLO");
        let large = vec![b'x'; 1 << 20];
        assert_eq!(run("cat", &large).await.unwrap().len(), large.len());
        assert_eq!(run("echo done", &large).await.unwrap(), "done\n", "input that nobody reads");
    }

    #[tokio::test]
    async fn the_environment_tells_of_the_request() {
        let command =
            "echo \"$REQUEST_METHOD $PATH_INFO?$QUERY_STRING $CONTENT_TYPE $HTTP_X_TAG [$HTTP_PROXY]\"";
        let expected = "POST /shell/a%2Fb?x=1&y text/plain one, $(two) []\n";
        assert_eq!(run(command, b"").await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why_only_here() {
        let error = run("echo first >&2; echo 'disk full' >&2; exit 3", b"").await.unwrap_err();
        assert_eq!(error.to_string(), "the command ended with exit status: 3: disk full");
        let error = run("exit 1", b"").await.unwrap_err();
        assert_eq!(error.to_string(), "the command ended with exit status: 1: (it said nothing)");
    }

    #[tokio::test]
    async fn endless_output_is_stopped() {
        assert!(matches!(run("yes", b"").await, Err(ExecError::TooLong)));
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_takes_its_processes_with_it() {
        // The inner process would keep the fifo open; its end is seen when the reader gets end of file.
        let folder = std::env::temp_dir().join(format!("whub-exec-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let fifo = folder.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let exec = Exec::new(&format!("(echo up; exec sleep 1000) > {} & wait", fifo.display()), 1);
        let task =
            tokio::spawn(async move { exec.run(&Asked::default(), tokio::io::empty()).await.map(drop) });
        let mut reader = tokio::fs::File::open(&fifo).await.unwrap();
        let mut up = [0; 3];
        reader.read_exact(&mut up).await.unwrap();
        task.abort();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), reader.read_to_end(&mut rest)).await;
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(ended.expect("the process was killed").unwrap(), 0);
    }

    #[tokio::test]
    async fn only_so_many_run_at_once() {
        let exec = Exec::new("cat", 1);
        let (mut write, held) = tokio::io::duplex(64);
        let first = tokio::spawn({
            let exec = exec.clone();
            async move { exec.run(&Asked::default(), held).await }
        });
        write.write_all(b"x").await.unwrap();
        while exec.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let asked = Asked::default();
        let mut second = Box::pin(exec.run(&asked, tokio::io::empty()));
        let waiting = std::future::poll_fn(|context| {
            std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
        });
        assert!(waiting.await);
        drop(write);
        assert_eq!(first.await.unwrap().unwrap(), b"x");
        assert_eq!(second.await.unwrap(), b"");
    }
}
