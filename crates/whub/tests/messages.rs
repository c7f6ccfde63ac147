//! Messages to clients, and who they are.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod whub;

use whub::Hub;

#[test]
fn a_message_reaches_who_waits_for_it() {
    let hub = Hub::start(&[]);
    let mut waiting = hub.start_client(&["subscribe", "$inbox"]);
    waiting.wait_for("subscribed to $inbox");
    let (code, out, _) = hub.run(&["clients", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let id = told["clients"][0]["id"].as_str().unwrap();
    assert_eq!((code, told["clients"].as_array().unwrap().len()), (0, 1));
    assert!(hub.run(&["clients"]).1.contains(id));

    let sent = hub.run(&["message", "send", id, "good morning"]);
    assert_eq!(sent, (0, "1 delivered\n".to_owned(), String::new()));
    assert_eq!(waiting.line(), "good morning");
    let (code, out, err) = hub.run(&["message", "send", "nobody", "x"]);
    assert_eq!((code, out.as_str()), (5, "1 not found\n"));
    assert!(err.contains("reached nobody"), "{err}");
    // The sender is somebody, too.
    let (code, out, _) = hub.run(&["message", "broadcast", "{\"n\":1}", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["delivered"]), (0, &2.into()));
    assert_eq!(waiting.line(), "{\"n\":1}");

    let (code, out, err) = hub.run(&["clients", "--kick", id, "--kick", "nobody"]);
    assert_eq!((code, out.as_str()), (5, "1 sessions ended\n"));
    assert!(err.contains("nobody is connected as nobody"), "{err}");
    assert_ne!(waiting.end().0, 0);
}
