//! `whub config show` tells every effective value and where it came from; a reload, what changed.

use crate::said::said;
use whub_server::config::{Difference, Grant, differences, reloaded};

#[test]
fn every_value_is_shown_with_its_source() {
    let shown = said()
        .file("\nlimits.ping = \"60s\"\n[auth.anonymous]\ncall = [\"/x\"]\n")
        .variable("WHUB_DEBUG__ECHO", "true")
        .flag("--node", "node.name", "n1")
        .loaded()
        .show();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    let squeezed = |key: &str| line(key).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed("limits.ping"), "limits.ping = \"1m\" # whub.toml:2");
    assert_eq!(squeezed("auth.anonymous.call"), "auth.anonymous.call = [\"/x\"] # whub.toml:4");
    assert_eq!(squeezed("debug.echo"), "debug.echo = true # environment variable WHUB_DEBUG__ECHO");
    assert_eq!(squeezed("node.name"), "node.name = \"n1\" # --node");
    assert_eq!(squeezed("limits.frame_bytes"), "limits.frame_bytes = \"1MiB\" # default");
    assert_eq!(squeezed("# data.dir"), "# data.dir = unset # default");
}

#[test]
fn what_is_shown_reads_back() {
    let loaded = said().file("limits.body_bytes = \"1MiB\"\nauth.anonymous.pair = [\"a/#\"]\n").loaded();
    assert_eq!(said().file(&loaded.show()).config(), loaded.config);
}

#[test]
fn programs_get_json() {
    let shown = said().set("limits.pairs=7").loaded().show_json();
    let expected = serde_json::json!({ "value": 7, "source": "flag", "at": "--set limits.pairs" });
    assert_eq!(shown["values"]["limits.pairs"], expected);
    assert_eq!(shown["values"]["limits.ping"], serde_json::json!({ "value": "25s", "source": "default" }));
    assert_eq!(shown["values"]["data.dir"]["value"], serde_json::Value::Null);
    assert_eq!(shown["tokens"], serde_json::json!([]));
}

#[test]
fn a_reload_knows_what_changed_and_what_waits() {
    let old = said().file("limits.ping = \"1s\"\nhttp.allowed_hosts = [\"a\"]\n").config();
    let new =
        said().file("http.allowed_hosts = [\"b\"]\n[[tokens]]\nname = \"a\"\nsecret = \"s\"\n").config();
    let expected = [
        Difference { key: "http.allowed_hosts", reloadable: true },
        Difference { key: "limits.ping", reloadable: false },
        Difference { key: "tokens", reloadable: true },
    ];
    assert_eq!(differences(&old, &new), expected);
    assert_eq!(differences(&old, &old), []);
    let lists = said().file("[auth.anonymous]\ncall = [\"/a\"]\n").config();
    let more = said().file("[auth.anonymous]\ncall = [\"/b\"]\n").config();
    assert_eq!(differences(&lists, &more), [Difference { key: "auth.anonymous.call", reloadable: true }]);
}

#[test]
fn a_reload_takes_over_only_what_can_change() {
    let running = said().file("limits.ping = \"1s\"\nauth.anonymous.call = [\"/a\"]\n").config();
    let fresh = said()
        .file("limits.ping = \"2s\"\nlog.level = \"debug\"\n[[tokens]]\nname = \"a\"\nsecret = \"s\"\n")
        .config();
    let now = reloaded(&running, &fresh).unwrap();
    assert_eq!(now.limits.ping, running.limits.ping);
    assert_eq!((now.log.level.as_str(), &now.tokens), ("debug", &fresh.tokens));
    assert_eq!(now.auth.anonymous, None, "what is no longer said is forgotten");
    assert_eq!(now.anonymous(), Grant::none());
    assert_eq!(reloaded(&running, &running), Ok(running));
}

#[test]
fn a_reload_cannot_open_a_public_node() {
    let token = "[[tokens]]\nname = \"a\"\nsecret = \"s\"\n";
    let running = said().file(&format!("listen = [\"0.0.0.0:1\"]\n{token}")).config();
    let fresh = said().config();
    let refused = reloaded(&running, &fresh).unwrap_err().to_string();
    assert!(refused.starts_with("listen 0.0.0.0:1 can be reached from other machines"), "{refused}");
}
