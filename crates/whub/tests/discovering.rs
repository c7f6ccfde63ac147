//! `whub services`: who provides what, and who comes and goes.

mod whub;

use rustix::process::Signal;
use serde_json::Value;
use whub::Hub;

#[test]
fn services_are_listed_with_their_providers() {
    let hub = Hub::start(&[]);
    assert!(hub.run(&["services"]).1.starts_with("nobody provides"));
    let mut watching = hub.start_client(&["services", "--watch", "--json"]);
    let first: Value = serde_json::from_str(&watching.line()).unwrap();
    assert_eq!(first["services"], Value::Array(Vec::new()));

    let mut provider = hub.start_client(&["provide", "/upper/:what", "--exec", "tr a-z A-Z"]);
    provider.wait_for("providing /upper/:what");
    let came: Value = serde_json::from_str(&watching.line()).unwrap();
    assert_eq!((&came["event"], &came["pattern"]), (&"came".into(), &"/upper/:what".into()));
    assert_eq!(hub.run(&["call", "/upper/x", "--data", "hello"]).0, 0);
    whub::until(|| hub.inflight() == 0);

    let (code, out, _) = hub.run(&["services"]);
    assert_eq!(code, 0);
    let row: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["/upper/:what", "open", "1", "0", "0", "1", "0"], "{out}");
    for path in ["/upper/x", "/upper/:what", "upper/x"] {
        let (code, out, _) = hub.run(&["services", path]);
        assert_eq!(code, 0);
        assert!(
            out.starts_with("/upper/:what\n\nhealth       open\n") && out.contains("\nlatency\n"),
            "{out}"
        );
    }
    let (_, out, _) = hub.run(&["services", "/upper/x", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&told["provided_by"][0]["name"], &told["provided_by"][0]["calls"]),
        (&"whub".into(), &1.into())
    );
    assert_eq!(hub.run(&["services", "/nobody"]).0, 5);

    provider.signal(Signal::TERM);
    assert_eq!(provider.end().0, 0);
    let left: Value = serde_json::from_str(&watching.line()).unwrap();
    assert_eq!((&left["event"], &left["providers"]), (&"left".into(), &0.into()));
    watching.signal(Signal::INT);
    assert_eq!(watching.end().0, 0);
}

#[test]
fn who_looks_on_waits_for_a_hub_that_is_gone() {
    let mut hub = Hub::start(&[]);
    let mut watching = hub.start_client(&["services", "--watch", "--json"]);
    let mut inspecting = hub.start_client(&["inspect", "/echo"]);
    assert_eq!(watching.line(), "{\"services\":[]}");
    inspecting.wait_for("recording");
    hub.process.signal(Signal::TERM);
    for looking in [&mut watching, &mut inspecting] {
        looking.wait_for("connection lost (this node is stopping); next try in 500 ms");
    }
    assert_eq!(hub.process.end().0, 0);
    hub.start_again();
    for looking in [&mut watching, &mut inspecting] {
        looking.wait_for("connected again");
    }
    assert_eq!(watching.line(), "{\"services\":[]}");
    let mut provider = hub.start_client(&["provide", "/echo", "--echo"]);
    provider.wait_for("providing /echo");
    let came: Value = serde_json::from_str(&watching.line()).unwrap();
    assert_eq!((&came["event"], &came["pattern"]), (&"came".into(), &"/echo".into()));
    assert_eq!(hub.run(&["call", "/echo", "--data", "x"]).0, 0);
    let line = inspecting.line();
    assert!(line.contains("  200  ") && line.ends_with("POST /echo"), "{line}");
}

#[test]
fn the_same_list_comes_as_a_call() {
    let hub = Hub::start(&[]);
    let mut provider = hub.start_client(&["provide", "/echo", "--echo"]);
    provider.wait_for("providing /echo");
    let called: Value = serde_json::from_str(&hub.run(&["call", "/services"]).1).unwrap();
    let listed: Value = serde_json::from_str(&hub.run(&["services", "--json"]).1).unwrap();
    assert_eq!(called, listed);
    let called: Value = serde_json::from_str(&hub.run(&["call", "/services/echo"]).1).unwrap();
    assert_eq!(called["pattern"], "/echo");
    let mut subscriber = hub.start_client(&["subscribe", "$services", "--count", "1", "--json"]);
    subscriber.wait_for("subscribed to $services");
    provider.signal(Signal::TERM);
    let told: Value = serde_json::from_str(&subscriber.line()).unwrap();
    assert_eq!((&told["data"]["event"], &told["data"]["pattern"]), (&"left".into(), &"/echo".into()));
}
