//! The runtime of a command, and the signals that end it.

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::exit::{Exit, Failure};

/// Runs a client command. Two threads, because writing to standard output blocks, and the connection must go on.
pub(crate) fn run_client(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run(Builder::new_multi_thread().worker_threads(2), command)
}

/// Runs a hub, on all cores.
pub(crate) fn run_hub(hub: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    keep_freed_memory();
    run(&mut Builder::new_multi_thread(), hub)
}

/// glibc gives memory back to the system as soon as 128 KiB at the end of a heap are free, which is after every few
/// pieces of a long body, and the next ones pay for each page again, up to a fifth of what an upload costs. Once it has
/// freed a large block, it lets twice its size lie. Other allocators do not mind.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
}

/// The large block, which is never written to, so that it costs no memory.
const LARGE_BYTES: usize = 1 << 20;

fn run(builder: &mut Builder, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime: Runtime = builder.enable_all().build().map_err(cannot)?;
    let outcome = runtime.block_on(command);
    // A read from standard input may never return, so it is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Resolves when the process is asked to stop (SIGINT or SIGTERM). It listens from the call on, not from when it is
/// first awaited: who has read what a command announces may send signals.
pub(crate) fn stop() -> impl Future<Output = ()> {
    let signals = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    async move {
        match signals {
            (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            },
            // Without handlers the signals do what they do by default: they end the process.
            (Err(_), _) | (_, Err(_)) => std::future::pending().await,
        }
    }
}

/// The same for SIGINT alone.
pub(crate) fn interrupt() -> impl Future<Output = ()> {
    let interrupt = listen(SignalKind::interrupt());
    async move {
        match interrupt {
            Ok(mut interrupt) => drop(interrupt.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Listens for a signal from now on.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(cannot)
}

fn cannot(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot start: {error}"))
}
