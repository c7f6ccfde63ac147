//! `whub pair` where something goes wrong: connections that break, halves that vanish, secrets that differ.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod whub;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;
use whub::{Hub, Running, Scratch};

/// Bytes that do not repeat.
fn noise(count: u32) -> Vec<u8> {
    (0..count).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A way to the hub that breaks every connection but the last after so many bytes, in either direction.
fn breaking_way(hub: &Hub, breaks: usize, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (way, hub) = (listener.local_addr().unwrap(), hub.address.clone());
    thread::spawn(move || {
        for (index, near) in listener.incoming().enumerate() {
            let (near, far) = (near.unwrap(), TcpStream::connect(&hub).unwrap());
            let left = if index < breaks { after } else { usize::MAX };
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || carry(from, to, left));
            }
        }
    });
    format!("tcp://{way}")
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if count > left || to.write_all(&bytes[..count]).is_err() {
            break;
        }
        left -= count;
    }
    // Whichever way it ended, both directions do.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn pair_by(hub: &Hub, way: &str, arguments: &[&str]) -> Running {
    let mut command = hub.command(&[&["pair", "p"], arguments].concat());
    command.env("WHUB_SERVER", way);
    Running::start(command)
}

#[test]
fn a_transfer_outlives_the_connections_that_it_goes_over() {
    let hub = Hub::start(&[]);
    let mut sender = pair_by(&hub, &breaking_way(&hub, 4, 1_500_000), &[]);
    sender.wait_for("waiting for the other half");
    let mut receiver = pair_by(&hub, &breaking_way(&hub, 3, 2_000_000), &[]);
    receiver.wait_for("paired");
    let bytes = noise(10_000_000);
    let said = bytes.clone();
    let sending = thread::spawn(move || {
        sender.say(&said);
        sender.end()
    });
    let (code, came) = receiver.end();
    assert!(came == bytes, "{} of {} bytes came", came.len(), bytes.len());
    assert_eq!((code, sending.join().unwrap().0), (0, 0));
}

#[test]
fn a_receiver_whose_sender_vanishes_fails_though_its_own_input_has_ended() {
    let hub = Hub::start(&[]);
    for grace in ["0s", "200ms"] {
        let mut sender = hub.start_client(&["pair", "p", "--grace", grace]);
        let mut receiver = hub.start_client(&["pair", "p"]);
        receiver.end_input();
        sender.wait_for("paired");
        receiver.wait_for("paired");
        sender.say(b"the beginning\n");
        assert_eq!(receiver.line(), "the beginning");
        sender.signal(Signal::KILL);
        receiver.wait_for("the other half left before the end of what it sent");
        assert_eq!(receiver.end().0, 1, "{grace}");
    }
}

#[test]
fn a_sender_whose_receiver_vanishes_fails_though_that_had_nothing_to_say() {
    let hub = Hub::start(&[]);
    let mut receiver = hub.start_client(&["pair", "p", "--grace", "0s"]);
    let mut sender = hub.start_client(&["pair", "p"]);
    receiver.end_input();
    sender.wait_for("paired");
    sender.say(b"the beginning\n");
    assert_eq!(receiver.line(), "the beginning");
    receiver.signal(Signal::KILL);
    // Whether the end of its input was under way already is another question.
    sender.wait_for("the other half left before ");
    assert_eq!(sender.end().0, 1);
}

#[test]
fn a_hub_that_is_gone_is_waited_for_only_so_long() {
    let mut hub = Hub::start(&[]);
    let mut one = hub.start_client(&["pair", "p", "--grace", "1s"]);
    let mut other = hub.start_client(&["pair", "p", "--grace", "1s"]);
    one.wait_for("paired");
    other.wait_for("paired");
    hub.process.signal(Signal::KILL);
    hub.process.end();
    for half in [&mut one, &mut other] {
        half.wait_for("the connection broke, and the place in the pair was lost");
        assert_eq!(half.end().0, 3);
    }
}

#[test]
fn the_secret_comes_from_a_file_or_the_environment() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new());
    let (right, wrong) = (scratch.file("right", "s3cret\n"), scratch.file("wrong", "s3cre\n"));
    let mut first = hub.start_client(&["pair", "p", "--secret-file", &right, "--once"]);
    first.wait_for("waiting for the other half");
    let (code, _, err) = hub.run(&["pair", "p", "--secret-file", &wrong]);
    assert!(code == 4 && err.contains("the secret of this pair is another, or missing"), "{code}: {err}");
    assert_eq!(hub.run(&["pair", "p"]).0, 4);
    let mut command = hub.command(&["pair", "p"]);
    command.env("WHUB_PAIR_SECRET", "s3cret");
    let mut second = Running::start(command);
    second.end_input();
    first.say(b"hello");
    assert_eq!(first.end().0, 0);
    assert_eq!(second.end(), (0, b"hello".to_vec()));
    let (code, _, err) = hub.run(&["pair", "p", "--secret-file", &right]);
    assert!(code == 5 && err.contains("this pair was for one meeting"), "{code}: {err}");
}

#[test]
fn a_third_is_told_why_it_is_not_let_in_and_who_came_first_for_how_long_it_waits() {
    let hub = Hub::start(&[]);
    let mut first = hub.start_client(&["pair", "p", "--third", "reject"]);
    first.wait_for("waiting");
    let second = hub.start_client(&["pair", "p"]);
    first.wait_for("paired");
    let (code, _, err) = hub.run(&["pair", "p"]);
    assert!(code == 1 && err.contains("takes no third"), "{code}: {err}");
    drop(second);
    let (code, _, err) = hub.run(&["pair", "q", "--ttl", "50ms"]);
    assert!(code == 5 && err.contains("nobody came to this pair within its time"), "{code}: {err}");
}

#[test]
fn progress_is_shown_when_it_is_asked_for() {
    let hub = Hub::start(&[]);
    let mut sender = hub.start_client(&["pair", "p", "--progress"]);
    let mut receiver = hub.start_client(&["pair", "p"]);
    sender.wait_for("paired");
    receiver.wait_for("paired");
    sender.say(&[b'x'; 2048]);
    sender.end_input();
    assert_eq!(receiver.end().1.len(), 2048);
    sender.wait_for("sent 2.0 KiB, ");
    assert_eq!(sender.end().0, 0);
    let (code, err) = receiver.end_with_errors();
    assert!(code == 0 && !err.contains("KiB"), "{err}");
}
