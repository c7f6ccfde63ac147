//! When descriptors run out the listener waits, counts and recovers. A file of its own: the limit is the
//! whole process's.

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{PATIENCE, connect, listen_counted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;
use whub_transport::descriptors;

fn allow(current: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).expect("below the hard limit");
}

#[tokio::test]
async fn running_out_of_descriptors_is_neither_a_spin_nor_an_end() {
    let (listener, counters) = listen_counted("127.0.0.1:0").await;
    let _client = connect(&listener).await;
    let begun = Instant::now();
    allow(3);
    let failures = || counters.accept_errors.load(Ordering::Relaxed);
    let mut accepting = std::pin::pin!(listener.accept());
    let failing = async {
        while failures() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        accepted = accepting.as_mut() => panic!("accepted without a descriptor: {accepted:?}"),
        outcome = timeout(PATIENCE, failing) => outcome.expect("accept fails, again and again"),
    }
    let pauses = u64::try_from(begun.elapsed().as_millis()).expect("short") / 50;
    assert!(failures() <= pauses + 1, "{} failures in {pauses} pauses", failures());

    let raised = descriptors::raise_limit().expect("to the hard limit");
    assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
    timeout(PATIENCE, accepting).await.expect("accepted as soon as there are descriptors again");
    assert!(begun.elapsed() >= Duration::from_millis(100), "there was a pause after each failure");
}
