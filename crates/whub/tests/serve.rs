//! `whub serve` as a process: what it announces, and what signals do.

mod whub;

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::Signal;
use whub::{Hub, Running, Scratch, command, whub};

#[test]
fn each_listener_is_announced_and_a_signal_ends_in_peace() {
    let scratch = Scratch::new();
    let socket = format!("unix:{}", scratch.0.join("hub.sock").display());
    let mut hub = Hub::start(&["--listen", &socket]);
    assert_eq!(hub.process.line(), format!("listening on {socket}"));
    assert!(!hub.address.ends_with(":0"));
    hub.process.signal(Signal::TERM);
    assert_eq!(hub.process.end(), (0, Vec::new()));
}

#[test]
fn the_relay_has_a_listener_of_its_own_which_says_so() {
    let mut hub = Hub::start(&["--relay", "127.0.0.1:0", "--relay-scope", "/a/b/"]);
    let line = hub.process.line();
    let address = line.strip_prefix("listening on ws://").unwrap().strip_suffix("/a/b/ (relay)").unwrap();
    assert_ne!(address, hub.address);
    hub.process.signal(Signal::TERM);
    assert_eq!(hub.process.end(), (0, Vec::new()));
}

#[test]
fn programs_get_the_announcement_and_the_log_as_json() {
    let mut hub = Running::start(command(&["serve", "--listen", "127.0.0.1:0", "--log", "json"]));
    let line: serde_json::Value = serde_json::from_str(&hub.line()).unwrap();
    assert!(line["listening"].as_str().unwrap().starts_with("ws://127.0.0.1:"));
    let logged: serde_json::Value = serde_json::from_str(&hub.wait_for("serving")).unwrap();
    assert_eq!(logged["level"], "INFO");
    hub.signal(Signal::INT);
    assert_eq!(hub.end().0, 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut hub = Hub::start(&["--set", "limits.drain=1h"]);
    let mut provider = hub.start_client(&["provide", "/slow", "--exec", "sleep 1000"]);
    provider.wait_for("providing /slow");
    let mut caller = hub.start_client(&["call", "/slow", "--timeout", "1h"]);
    // Without a call in flight the hub would end in peace.
    whub::until(|| hub.inflight() > 0);
    hub.process.signal(Signal::TERM);
    hub.process.wait_for("stopping");
    hub.process.signal(Signal::TERM);
    assert_eq!(hub.process.end().0, 1);
    caller.signal(Signal::INT);
    caller.end();
}

#[test]
fn hangup_reads_the_configuration_again() {
    let scratch = Scratch::new();
    let file = scratch.file("whub.toml", "[[tokens]]\nname = \"a\"\nsecret = \"one\"\n");
    let mut hub = Hub::start(&["--config", &file]);
    let publish = |token: &str| {
        let mut command = hub.command(&["publish", "news", "hello"]);
        whub::finish(command.env("WHUB_TOKEN", token)).0
    };
    assert_eq!(publish("one"), 4, "known, and not permitted");
    scratch.file("whub.toml", "[[tokens]]\nname = \"a\"\nsecret = \"two\"\npublish = [\"#\"]\n");
    hub.process.signal(Signal::HUP);
    hub.process.wait_for("read again");
    let publish = |token: &str| {
        let mut command = hub.command(&["publish", "news", "hello"]);
        whub::finish(command.env("WHUB_TOKEN", token)).0
    };
    assert_eq!((publish("one"), publish("two")), (4, 0));

    scratch.file("whub.toml", "limits.pnig = 1\n");
    hub.process.signal(Signal::HUP);
    assert!(hub.process.wait_for("not read again").contains("unknown key"));
    let mut command = hub.command(&["publish", "news", "hello"]);
    assert_eq!(whub::finish(command.env("WHUB_TOKEN", "two")).0, 0, "the old configuration stays");

    scratch.file("whub.toml", "limits.ping = \"1s\"\n[[tokens]]\nname = \"a\"\nsecret = \"two\"\n");
    hub.process.signal(Signal::HUP);
    assert!(hub.process.wait_for("next start").contains("limits.ping"));
}

#[test]
fn the_file_of_socketmaster_is_read_at_the_start_and_again() {
    let scratch = Scratch::new();
    let file = scratch.file("config.ini", include_str!("../../whub-server/tests/config/socketmaster.ini"));
    let mut hub = Hub::start(&["--gateway", &file]);
    assert!(hub.process.wait_for("passed over").contains(&format!("{file}:8: ")));
    scratch.file("config.ini", "[Endpoint1]\nPort = 8081\n");
    hub.process.signal(Signal::HUP);
    hub.process.wait_for("endpoints changed");
    scratch.file("config.ini", "[Endpoint1]\n");
    hub.process.signal(Signal::HUP);
    let refused = hub.process.wait_for("not read again");
    assert!(refused.contains(&format!("{file}:1: [Endpoint1] has no Port")), "{refused}");

    let own = scratch.file("own.ini", &format!("[a]\nPort = {}\n", hub.address.rsplit(':').next().unwrap()));
    let (code, _, err) = whub(&["serve", "--listen", &hub.address, "--gateway", &own]);
    assert_eq!(code, 2);
    assert!(err.starts_with(&format!("whub: {own}:2: endpoint \"a\"")), "{err}");
    assert!(err.contains("is this hub itself"), "{err}");
}

#[test]
fn a_change_of_its_files_is_noticed() {
    let scratch = Scratch::new();
    let ini = scratch.file("config.ini", "[a]\nPort = 1\n");
    let file = scratch.file("whub.toml", &format!("gateway.file = {ini:?}\n"));
    let mut hub = Hub::start(&["--config", &file]);
    scratch.file("config.ini", "[a]\nPort = 1\n[b]\nPort = 2\n");
    hub.process.wait_for("the endpoint b is new");
    scratch.file("whub.toml", "limits.pnig = 1\n");
    assert!(hub.process.wait_for("not read again").contains("unknown key"));
    scratch.file("whub.toml", "reload.watch = false\n");
    hub.process.wait_for("the endpoint a is gone");
}

#[test]
fn an_open_hub_is_not_made_public_by_accident() {
    let (code, out, err) = whub(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("whub: --listen: listen 0.0.0.0:0 can be reached from other machines"), "{err}");
}

#[test]
fn a_taken_port_is_told() {
    let hub = Hub::start(&[]);
    let (code, out, err) = whub(&["serve", "--listen", &hub.address]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains(&hub.address), "{err}");
}

#[test]
fn what_is_not_built_yet_is_said() {
    let (code, out, err) = whub(&["serve", "--join", "x"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(err, "whub: --join is not built yet; leave it out\n");
}

#[test]
fn the_data_folder_is_made_for_its_owner_only() {
    let scratch = Scratch::new();
    let folder = scratch.0.join("a/b");
    let mut hub = Hub::start(&["--data", &folder.display().to_string()]);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    hub.process.signal(Signal::TERM);
    assert_eq!(hub.process.end().0, 0);
}

#[test]
fn status_tells_people_and_programs_how_the_hub_is() {
    let hub = Hub::start(&["--node", "north"]);
    let mut provider = hub.start_client(&["provide", "/echo", "--echo"]);
    provider.wait_for("providing /echo");
    let (code, out, err) = hub.run(&["status"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("node ") && out.contains(" north (whub/"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("/echo ")), "{out}");
    let (code, out, _) = hub.run(&["status", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &told["status"]["node"], &told["services"][0]["providers"]),
        (0, &"north".into(), &1.into())
    );
}

#[test]
fn secrets_in_old_urls_are_not_logged() {
    let mut hub = Hub::start(&["--set", "log.level=trace"]);
    let mut stream = std::net::TcpStream::connect(&hub.address).unwrap();
    let request =
        "GET /nowhere?token=hunter2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hunter2\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    drop(stream);
    hub.process.signal(Signal::TERM);
    let (code, log) = hub.process.end_with_errors();
    assert_eq!(code, 0);
    assert!(log.contains("/nowhere") && !log.contains("hunter2"), "{log}");
}

#[test]
fn the_access_log_has_a_line_for_each_call() {
    let order = "middleware.order=access_log, headers";
    let serve = ["serve", "--listen", "127.0.0.1:0", "--log", "json", "--set", order];
    let mut hub = Running::start(command(&serve));
    let line: serde_json::Value = serde_json::from_str(&hub.line()).unwrap();
    let at = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("WHUB_SERVER", line["listening"].as_str().unwrap());
        command
    };
    let mut provider = Running::start(at(&["provide", "/echo", "--echo"]));
    provider.wait_for("providing /echo");
    assert_eq!(whub::finish(&mut at(&["call", "/echo", "--data", "hello"])).0, 0);
    let line: serde_json::Value = serde_json::from_str(&hub.wait_for("whub::access")).unwrap();
    assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &"whub::access".into()));
    assert_eq!((&line["path"], &line["service"]), (&"/echo".into(), &"/echo".into()));
    assert_eq!((&line["status"], &line["door"]), (&200.into(), &"whub".into()));
    assert_eq!((&line["up"], &line["down"]), (&5.into(), &5.into()));
    assert!(line["ms"].as_f64().unwrap() >= line["first_ms"].as_f64().unwrap(), "{line}");
    assert!(line["provider"].as_str().unwrap().starts_with("c-"), "{line}");
    assert!(line.get("slug").is_none() && line.get("user").is_none(), "{line}");
}
