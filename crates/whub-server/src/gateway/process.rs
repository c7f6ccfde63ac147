//! The process of an endpoint: started, kept running, and ended with the hub.
//!
//! ```text
//! Starting ─► Running ─► Waiting ─► Starting …      it ended, or was found ill: a pause that grows, with jitter
//!                └─► GaveUp                         so often that it makes no sense any more
//!    stop: SIGTERM to all of its group, then, when the time is over, SIGKILL ─► Stopped
//! ```
//!
//! A hub can be killed so that it has no moment to end anything. So the process's group has a second member, a shell
//! that reads from a pipe whose other end the hub holds: once that is gone, the shell ends the group.
//!
//! Left to others: when a process is ill. A process that leaves its group is out of the hub's reach.

mod output;
mod pace;

use std::{
    ffi::OsStr,
    future::pending,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::config::Process;
use pace::{Next, Pace};

/// What the group's second member does: it takes no part in SIGTERM, and outlives what it has to end. The command gets
/// neither its pipe nor its input. `$1` is the command, `$2` the seconds between the signals.
const SCRIPT: &str = "\
exec 3<&0 </dev/null
(trap '' TERM INT HUP QUIT; read -r _ <&3; kill -TERM 0; sleep \"$2\"; kill -KILL 0) >/dev/null 2>&1 &
exec sh -c \"$1\" 3<&-";

/// A process that is kept running. Dropping it kills the process without ado, unless it was told to end in peace.
#[derive(Debug)]
pub(crate) struct Supervisor {
    orders: mpsc::Sender<Order>,
    halted: watch::Sender<bool>,
    state: watch::Receiver<ProcessState>,
    task: JoinHandle<()>,
}

/// How a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// It is about to be started.
    Starting,
    /// It runs.
    Running {
        /// Its number, which is that of its group too.
        pid: u32,
        /// Since when.
        since: Instant,
    },
    /// It ended, and will be started again.
    Waiting {
        /// When.
        until: Instant,
        /// Why it ended.
        why: String,
    },
    /// It ended too often.
    GaveUp {
        /// Why it ended the last time.
        why: String,
    },
    /// It was stopped for good.
    Stopped,
}

#[derive(Debug)]
enum Order {
    Restart(String),
    Retry,
}

impl Supervisor {
    /// Starts the process of the endpoint `name`; `port` is the one of its URL. It begins when the one `before` it has
    /// ended, which may have the same port.
    pub(crate) fn start(name: &str, process: Process, port: Option<u16>, before: Option<Arc<Self>>) -> Self {
        let (orders, received) = mpsc::channel(1);
        let (tell, state) = watch::channel(ProcessState::Starting);
        let halted = watch::Sender::new(false);
        let (name, halt) = (name.to_owned(), halted.subscribe());
        let keeper = Keeper { name, process, port, orders: received, halt, tell };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.stopped().await;
            }
            keeper.run().await;
        });
        Self { orders, halted, state, task }
    }

    /// How it is now.
    pub(crate) fn state(&self) -> ProcessState {
        self.state.borrow().clone()
    }

    /// Changes with its state.
    pub(crate) fn watch(&self) -> watch::Receiver<ProcessState> {
        self.state.clone()
    }

    /// Ends a process that runs but does not do its work, and starts it again. It counts as a restart. While one is
    /// under way, or the process does not run, this does nothing.
    pub(crate) fn restart(&self, reason: &str) {
        // Full: somebody has asked already.
        let _ = self.orders.try_send(Order::Restart(reason.to_owned()));
    }

    /// Starts a process again that was given up: somebody may have mended it.
    pub(crate) fn retry(&self) {
        let _ = self.orders.try_send(Order::Retry);
    }

    /// Has the process end in peace, within its time; it is not started again.
    pub(crate) fn halt(&self) {
        self.halted.send_replace(true);
    }

    /// Ends the process now. For a hub that is about to end itself: nobody waits for anything any more.
    pub(crate) fn kill(&self) {
        self.task.abort();
        if let ProcessState::Running { pid, .. } = self.state()
            && let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        {
            // It may have ended by itself in between.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits until it has ended for good.
    pub(crate) async fn stopped(&self) {
        // A keeper that is gone has stopped.
        let _ = self.watch().wait_for(|state| *state == ProcessState::Stopped).await;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !*self.halted.borrow() {
            self.task.abort();
        }
    }
}

/// Why a process does not run any more.
enum End {
    /// By itself, or somebody found it ill; it is to run again.
    Again(String),
    /// It is to stop.
    Stop,
}

/// The task that keeps it running.
struct Keeper {
    name: String,
    process: Process,
    port: Option<u16>,
    orders: mpsc::Receiver<Order>,
    halt: watch::Receiver<bool>,
    tell: watch::Sender<ProcessState>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pace = Pace::new(self.process.restarts_max);
        while !*self.halt.borrow() {
            self.tell.send_replace(ProcessState::Starting);
            let since = Instant::now();
            let End::Again(why) = self.live().await else { break };
            let now = Instant::now();
            let goes_on = match pace.next(now, now - since, fraction()) {
                Next::After(pause) => self.wait(now + pause, why).await,
                Next::GiveUp => {
                    let goes_on = self.give_up(why).await;
                    pace = Pace::new(self.process.restarts_max);
                    goes_on
                }
            };
            if !goes_on {
                break;
            }
        }
        self.tell.send_replace(ProcessState::Stopped);
    }

    /// From the start of the process to its end.
    async fn live(&mut self) -> End {
        let mut running = match Running::start(&self.name, &self.process, self.port) {
            Ok(running) => running,
            Err(error) => return End::Again(format!("it could not be started: {error}")),
        };
        // What was asked for concerned the one before.
        while self.orders.try_recv().is_ok() {}
        let pid = running.pid();
        tracing::info!(endpoint = self.name, pid, "the process runs");
        self.tell.send_replace(ProcessState::Running { pid, since: Instant::now() });
        let end = loop {
            tokio::select! {
                () = halted(&mut self.halt) => break End::Stop,
                status = running.wait() => break End::Again(describe(status)),
                order = order(&mut self.orders) => match order {
                    Order::Restart(why) => break End::Again(why),
                    Order::Retry => {}
                },
            }
        };
        // It may have left others of its group behind, who would be in the way of the next.
        running.stop(self.process.stop_timeout).await;
        end
    }

    /// Waits for the next start; whether there is one.
    async fn wait(&mut self, until: Instant, why: String) -> bool {
        let pause = until.saturating_duration_since(Instant::now());
        tracing::warn!(endpoint = self.name, "the process is started again in {pause:.1?}: {why}");
        self.tell.send_replace(ProcessState::Waiting { until, why });
        tokio::select! {
            () = sleep_until(until) => true,
            () = halted(&mut self.halt) => false,
        }
    }

    /// Waits until somebody wants it to be tried again; whether anybody does.
    async fn give_up(&mut self, why: String) -> bool {
        tracing::error!(
            endpoint = self.name,
            "the process was started again {} times within {} minutes and is given up until the configuration is read \
             again: {why}",
            self.process.restarts_max,
            pace::WINDOW.as_secs() / 60
        );
        self.tell.send_replace(ProcessState::GaveUp { why });
        loop {
            tokio::select! {
                () = halted(&mut self.halt) => return false,
                order = order(&mut self.orders) => match order {
                    Order::Retry => return true,
                    Order::Restart(_) => {}
                },
            }
        }
    }
}

/// Waits until the process is to end in peace. Whoever drops its supervisor aborts this task instead.
async fn halted(halt: &mut watch::Receiver<bool>) {
    if halt.wait_for(|halted| *halted).await.is_err() {
        pending::<()>().await;
    }
}

/// The next order; never one without a supervisor.
async fn order(orders: &mut mpsc::Receiver<Order>) -> Order {
    match orders.recv().await {
        Some(order) => order,
        None => pending().await,
    }
}

/// Without randomness restarts come at their latest.
fn fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it cannot be waited for: {error}"),
    }
}

/// A process with its group, which ends with it.
struct Running {
    child: Child,
    group: Option<Pid>,
    /// Closes with the hub, however that ends.
    lifeline: Option<ChildStdin>,
    output: JoinSet<()>,
}

impl Running {
    fn start(name: &str, process: &Process, port: Option<u16>) -> io::Result<Self> {
        // Whole seconds are all that every `sleep` knows.
        let grace = process.stop_timeout.as_secs() + u64::from(process.stop_timeout.subsec_nanos() > 0);
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh", &process.command]).arg(grace.to_string());
        shell.process_group(0).kill_on_drop(true);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_secret(variable)) {
            shell.env_remove(variable);
        }
        shell.env("WHUB_ENDPOINT", name).envs(port.map(|port| ("PORT", port.to_string())));
        if let Some(folder) = &process.folder {
            shell.current_dir(folder);
        }
        let mut child = shell.spawn().map_err(|error| explain(error, process.folder.as_ref()))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let lifeline = child.stdin.take();
        let mut output = JoinSet::new();
        let (printed, complaints) = (child.stdout.take(), child.stderr.take());
        if let Some(printed) = printed {
            output.spawn(output::log(name.to_owned(), output::Stream::Output, printed));
        }
        if let Some(complaints) = complaints {
            output.spawn(output::log(name.to_owned(), output::Stream::Error, complaints));
        }
        Ok(Self { child, group, lifeline, output })
    }

    /// Its number; 0 once it has ended.
    fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the group to end, waits so long, and then ends it. That all have ended is known by their output's end.
    async fn stop(mut self, within: Duration) {
        self.signal(Signal::TERM);
        let Self { child, output, .. } = &mut self;
        let ended = async {
            // It cannot be waited for: only the time counts.
            if child.wait().await.is_err() {
                pending::<()>().await;
            }
            while output.join_next().await.is_some() {}
        };
        let _ = timeout(within, ended).await;
        self.signal(Signal::KILL);
        // Not waiting would leave it undead; it was killed, so this is short.
        let _ = self.child.wait().await;
        self.group = None;
    }

    /// The group's number is nobody else's: its second member outlives the process and holds it.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may have ended by itself in between.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // After that: its end has the group end in peace.
        drop(self.lifeline.take());
    }
}

/// A folder that is not there is told like a command that is not.
fn explain(error: io::Error, folder: Option<&PathBuf>) -> io::Error {
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => io::Error::new(error.kind(), format!("{} is no folder", folder.display())),
        None => error,
    }
}

/// Whether a variable is a secret of the hub's own.
fn is_secret(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    variable.starts_with("WHUB_TOKEN") || (variable.starts_with("WHUB_") && variable.contains("SECRET"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    /// More than any test waits when all goes well.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A pipe by which processes show that they are there: it ends when the last of them has ended.
    struct Fifo {
        folder: PathBuf,
    }

    impl Fifo {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("whub-process-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            assert!(
                std::process::Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success()
            );
            Self { folder }
        }

        async fn open(&self) -> BufReader<tokio::fs::File> {
            BufReader::new(tokio::fs::File::open(self.folder.join("fifo")).await.unwrap())
        }

        /// A process whose working folder has the pipe.
        fn process(&self, command: &str) -> Process {
            process(command, Some(&self.folder))
        }
    }

    impl Drop for Fifo {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn process(command: &str, folder: Option<&Path>) -> Process {
        Process {
            command: command.to_owned(),
            folder: folder.map(Path::to_owned),
            restarts_max: 10,
            stop_timeout: PATIENCE,
        }
    }

    async fn line(pipe: &mut BufReader<tokio::fs::File>) -> String {
        let mut line = String::new();
        timeout(PATIENCE, pipe.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim_end().to_owned()
    }

    /// What comes next into a pipe that may be, or may not be, without a writer for a moment before it.
    async fn next_line(fifo: &Fifo, pipe: &mut BufReader<tokio::fs::File>) -> String {
        match line(pipe).await {
            nothing if nothing.is_empty() => line(&mut fifo.open().await).await,
            said => said,
        }
    }

    async fn until(supervisor: &Supervisor, is_so: impl FnMut(&ProcessState) -> bool) -> ProcessState {
        let mut watch = supervisor.watch();
        let state = timeout(PATIENCE, watch.wait_for(is_so)).await.expect("it becomes so");
        state.expect("a keeper").clone()
    }

    async fn stop(supervisor: &Supervisor) {
        supervisor.halt();
        timeout(PATIENCE, supervisor.stopped()).await.expect("it stops");
    }

    fn is_running(state: &ProcessState) -> bool {
        matches!(state, ProcessState::Running { .. })
    }

    #[tokio::test]
    async fn a_process_knows_for_whom_it_is() {
        let fifo = Fifo::new("environment");
        let command = "exec > fifo; echo $WHUB_ENDPOINT $PORT; cat; exec sleep 1000";
        let supervisor = Supervisor::start("chat", fifo.process(command), Some(8080), None);
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "chat 8080", "and it has no input that could hold it up");
        until(&supervisor, is_running).await;
        stop(&supervisor).await;
        assert_eq!(line(&mut pipe).await, "", "it has ended");
    }

    #[tokio::test]
    async fn what_ends_is_started_again() {
        let fifo = Fifo::new("again");
        // It ends when the pipe is read from, which is when the test looks.
        let supervisor = Supervisor::start("a", fifo.process("echo $$ > fifo; exit 3"), None, None);
        let mut pids = Vec::new();
        for _ in 0..2 {
            pids.push(line(&mut fifo.open().await).await);
            let ended = until(&supervisor, |state| matches!(state, ProcessState::Waiting { .. })).await;
            let ProcessState::Waiting { why, .. } = ended else { panic!("{ended:?}") };
            assert_eq!(why, "it ended with exit status: 3");
        }
        assert_ne!(pids[0], pids[1]);
        stop(&supervisor).await;
    }

    #[tokio::test]
    async fn what_ends_too_often_is_given_up_until_somebody_wants_it_again() {
        let process = Process { restarts_max: 1, ..process("exit 1", None) };
        let supervisor = Supervisor::start("a", process, None, None);
        let gave_up = ProcessState::GaveUp { why: "it ended with exit status: 1".to_owned() };
        assert_eq!(until(&supervisor, |state| *state == gave_up).await, gave_up);
        supervisor.restart("it is ill");
        let mut watch = supervisor.watch();
        watch.mark_unchanged();
        // The first order has to be taken before there is room for the second.
        while supervisor.orders.capacity() == 0 {
            tokio::task::yield_now().await;
        }
        supervisor.retry();
        timeout(PATIENCE, watch.wait_for(|state| *state != gave_up)).await.unwrap().unwrap();
        assert_eq!(until(&supervisor, |state| *state == gave_up).await, gave_up);
        stop(&supervisor).await;
    }

    #[tokio::test]
    async fn what_is_ill_is_started_again() {
        let fifo = Fifo::new("ill");
        let supervisor =
            Supervisor::start("a", fifo.process("exec > fifo; echo up; exec sleep 1000"), None, None);
        let mut first = fifo.open().await;
        assert_eq!(line(&mut first).await, "up");
        let running = until(&supervisor, is_running).await;
        supervisor.restart("no answer within 5s");
        assert_eq!(next_line(&fifo, &mut first).await, "up");
        let again = until(&supervisor, |state| is_running(state) && *state != running).await;
        assert_ne!(again, running);
        stop(&supervisor).await;
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_told() {
        let supervisor = Supervisor::start("a", process("true", Some(Path::new("/no/folder"))), None, None);
        let state = until(&supervisor, |state| matches!(state, ProcessState::Waiting { .. })).await;
        let ProcessState::Waiting { why, .. } = state else { panic!("{state:?}") };
        assert_eq!(why, "it could not be started: /no/folder is no folder");
        stop(&supervisor).await;
    }

    #[tokio::test]
    async fn a_process_may_end_in_peace_with_all_of_its_group() {
        let fifo = Fifo::new("peace");
        // Short naps, because a long one that begins with the signal would miss it.
        let command = "exec > fifo; trap 'wait; echo outer; exit' TERM; \
                       (trap 'echo inner; exit' TERM; echo up; while :; do sleep 0.1; done) & wait";
        let supervisor = Supervisor::start("a", fifo.process(command), None, None);
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "up");
        stop(&supervisor).await;
        assert_eq!(supervisor.state(), ProcessState::Stopped);
        assert_eq!(line(&mut pipe).await, "inner");
        assert_eq!(line(&mut pipe).await, "outer");
        assert_eq!(line(&mut pipe).await, "", "nobody is left");
    }

    #[tokio::test]
    async fn one_that_comes_after_another_waits_for_its_end() {
        let fifo = Fifo::new("after");
        let last_words = "exec > fifo; trap 'echo gone; exit' TERM; echo up; while :; do sleep 0.1; done";
        let first = Arc::new(Supervisor::start("a", fifo.process(last_words), None, None));
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "up");
        // It keeps the pipe open, which the test may open again only after it has begun.
        let second = fifo.process("exec > fifo; echo next; exec sleep 1000");
        let second = Supervisor::start("a", second, None, Some(Arc::clone(&first)));
        first.halt();
        drop(first);
        assert_eq!(line(&mut pipe).await, "gone", "and not `next`");
        assert_eq!(next_line(&fifo, &mut pipe).await, "next");
        stop(&second).await;
    }

    #[tokio::test]
    async fn a_process_that_does_not_end_is_ended() {
        let fifo = Fifo::new("stubborn");
        let command = "trap '' TERM; exec > fifo; echo up; sleep 1000; sleep 1000";
        let process = Process { stop_timeout: Duration::from_millis(10), ..fifo.process(command) };
        let supervisor = Supervisor::start("a", process, None, None);
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "up");
        stop(&supervisor).await;
        assert_eq!(line(&mut pipe).await, "");
    }

    #[tokio::test]
    async fn a_supervisor_that_is_dropped_leaves_nobody_behind() {
        let fifo = Fifo::new("dropped");
        let command = "trap '' TERM; exec > fifo; sleep 1000 & echo up; wait";
        let supervisor = Supervisor::start("a", fifo.process(command), None, None);
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "up");
        drop(supervisor);
        assert_eq!(line(&mut pipe).await, "");
    }

    #[tokio::test]
    async fn a_process_can_be_ended_at_once() {
        let fifo = Fifo::new("killed");
        let command = "trap '' TERM; exec > fifo; sleep 1000 & echo up; wait";
        let supervisor = Supervisor::start("a", fifo.process(command), None, None);
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "up");
        until(&supervisor, is_running).await;
        supervisor.halt();
        supervisor.kill();
        assert_eq!(line(&mut pipe).await, "");
    }

    #[tokio::test]
    async fn a_hub_that_is_killed_takes_its_processes_with_it() {
        let fifo = Fifo::new("lifeline");
        let command = "trap '' TERM; exec > fifo; sleep 1000 & echo up; wait";
        let process = Process { stop_timeout: Duration::ZERO, ..fifo.process(command) };
        let mut running = Running::start("a", &process, None).unwrap();
        let mut pipe = fifo.open().await;
        assert_eq!(line(&mut pipe).await, "up");
        // This is all that is seen of a hub that was killed.
        running.lifeline = None;
        assert_eq!(line(&mut pipe).await, "");
        timeout(PATIENCE, running.wait()).await.expect("it has ended").unwrap();
        running.group = None;
    }

    #[test]
    fn the_secrets_of_the_hub_stay_with_it() {
        for name in ["WHUB_TOKEN", "WHUB_TOKEN_FILE", "WHUB_A_SECRET"] {
            assert!(is_secret(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "SECRET", "WHUB_SERVER", "TOKEN"] {
            assert!(!is_secret(OsStr::new(name)), "{name}");
        }
    }
}
