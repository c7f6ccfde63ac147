//! `whub inspect`: calls as they end, and once more.

mod whub;

use rustix::process::Signal;
use whub::Hub;

#[test]
fn calls_are_shown_as_they_end_and_made_anew() {
    let hub = Hub::start(&[]);
    let mut provider = hub.start_client(&["provide", "/upper", "--exec", "tr a-z A-Z"]);
    provider.wait_for("providing /upper");
    let mut lines = hub.start_client(&["inspect", "/upper"]);
    lines.wait_for("recording");
    let mut json = hub.start_client(&["inspect", "--json"]);
    json.wait_for("recording");
    let call = ["call", "/upper?q=1&token=s3cret", "--data", "hello", "--header", "x-tag:t"];
    assert_eq!(hub.run(&call), (0, "HELLO".to_owned(), String::new()));
    assert_eq!(hub.run(&["call", "/nobody"]).0, 5);

    let line = lines.line();
    assert!(line.contains("  200  ") && line.contains("/upper?q=1&token=[redacted]"), "{line}");
    let first: serde_json::Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((&first["path"], &first["bytes_down"]), (&"/upper".into(), &5.into()));
    let second: serde_json::Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((&second["path"], &second["error"]), (&"/nobody".into(), &"service.not_found".into()));

    let id = first["id"].to_string();
    let (code, out, _) = hub.run(&["inspect", "--call", &id]);
    assert_eq!(code, 0);
    assert!(out.contains("\nrequest\n") && out.contains("  x-tag: t\n") && !out.contains("s3cret"), "{out}");
    let (code, out, _) = hub.run(&["inspect", "--replay", &id]);
    assert_eq!(code, 0);
    assert!(out.contains("status       200\n") && out.ends_with("\n\nHELLO\n"), "{out}");
    assert!(lines.line().contains("/upper"), "the replay is a call as well");
    let (_, out, _) = hub.run(&["inspect", "/upper", "--once"]);
    assert_eq!(out.lines().count(), 2, "{out}");

    let (code, _, err) = hub.run(&["inspect", "--call", "4711"]);
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("there is no call 4711 here"), "{err}");
    lines.signal(Signal::INT);
    assert_eq!(lines.end().0, 0);
}

#[test]
fn it_takes_an_administrator() {
    let scratch = whub::Scratch::new();
    let token = "[[tokens]]\nname = \"a\"\nsecret = \"s3cret\"\ncall = [\"/*rest\"]\n";
    let hub = Hub::start(&["--config", &scratch.file("whub.toml", token)]);
    let (code, _, err) = whub::finish(hub.command(&["inspect"]).env("WHUB_TOKEN", "s3cret"));
    assert_eq!(code, 4);
    assert!(err.contains("admin = true"), "{err}");
}
