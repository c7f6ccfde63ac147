//! Configuration as dialogues: this file, this environment, these flags give exactly this.

use std::time::Duration;

use crate::said::{Said, said};
use whub_proto::names::{Filter, Pattern};
use whub_server::config::{Config, Grant, LogFormat, SlowPolicy, Source};

#[test]
fn nothing_said_gives_the_documented_defaults() {
    let config = said().config();
    assert_eq!(config, Config::default());
    assert_eq!(config.listen, ["127.0.0.1:9482".parse().unwrap()]);
    let limits = &config.limits;
    assert_eq!(limits.connections_per_address, Some(1024));
    assert_eq!(limits.young_connections, 4096);
    assert_eq!(limits.first_request, Duration::from_secs(5));
    assert_eq!((limits.header_bytes, limits.header_fields), (64 << 10, 64));
    assert_eq!(limits.body_bytes, None);
    assert_eq!(limits.message_bytes, 16 << 20);
    assert_eq!((limits.frame_bytes, limits.mailbox_bytes), (1 << 20, 1 << 20));
    assert_eq!((limits.calls_inflight, limits.subscriptions), (1024, 1000));
    assert_eq!((limits.services, limits.pairs), (256, 256));
    assert_eq!(limits.call_timeout, Duration::from_secs(30));
    assert_eq!(limits.ping, Duration::from_secs(25));
    assert_eq!(limits.drain, Duration::from_secs(10));
    assert!(!config.websocket.deflate && !config.debug.echo && !config.tls.self_signed);
    assert_eq!(config.channels.slow, SlowPolicy::Drop);
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Console, "info"));
    assert_eq!(config.anonymous(), Grant { admin: true, ..Grant::all() });
}

#[test]
fn every_section_can_be_said_in_the_file() {
    let config = said()
        .file(
            r#"
            listen = ["127.0.0.1:0", "unix:/run/whub.sock"]
            node.name = "north"
            data.dir = "/var/lib/whub"
            [tls]
            cert = "cert.pem"
            key = "key.pem"
            [http]
            allowed_origins = ["https://app.example.com"]
            allowed_hosts = ["hub.example.com"]
            [proxy_protocol]
            from = ["10.0.0.0/8", "::1"]
            [limits]
            connections_per_address = 0
            first_request = "250ms"
            body_bytes = "10MiB"
            message_bytes = 1048576
            [channels]
            slow = "close"
            [log]
            format = "json"
            level = "info,whub_server=debug"
            "#,
        )
        .config();
    assert_eq!(
        config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1:0", "unix:/run/whub.sock"]
    );
    assert_eq!(config.node.name.as_deref(), Some("north"));
    assert_eq!(config.data.dir.as_deref(), Some("/var/lib/whub".as_ref()));
    assert_eq!(config.tls.cert.as_deref(), Some("cert.pem".as_ref()));
    assert!(
        config.http.lists_origin("https://APP.example.com")
            && !config.http.lists_origin("http://app.example.com")
    );
    assert!(config.http.lists_host("hub.example.com.") && !config.http.lists_host("example.com"));
    assert_eq!(config.proxy_protocol.from.0, ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()));
    assert_eq!(config.limits.connections_per_address, None);
    assert_eq!(config.limits.first_request, Duration::from_millis(250));
    assert_eq!(config.limits.body_bytes, Some(10 << 20));
    assert_eq!(config.limits.message_bytes, 1 << 20);
    assert_eq!(config.channels.slow, SlowPolicy::Close);
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Json, "info,whub_server=debug"));
}

#[test]
fn the_environment_beats_the_file_and_the_last_flag_beats_both() {
    let file = "[limits]\ndrain = \"1s\"\nping = \"2s\"\npairs = 3\n";
    let loaded = said()
        .file(file)
        .variable("WHUB_LIMITS__DRAIN", "4s")
        .variable("WHUB_LIMITS__PING", "5s")
        .set("limits.drain=6s")
        .set("limits.drain=7s")
        .loaded();
    assert_eq!(loaded.config.limits.drain, Duration::from_secs(7));
    assert_eq!(loaded.config.limits.ping, Duration::from_secs(5));
    assert_eq!(loaded.config.limits.pairs, 3);
    assert_eq!(loaded.source("limits.drain"), Source::Flag("--set limits.drain".to_owned()));
    assert_eq!(loaded.source("limits.ping"), Source::Environment("WHUB_LIMITS__PING".to_owned()));
    assert_eq!(loaded.source("limits.pairs"), Source::File { path: "whub.toml".into(), line: 4 });
    assert_eq!(loaded.source("limits.services"), Source::Default);
}

#[test]
fn flags_of_their_own_are_keys_too() {
    let config = said()
        .flags("--listen", "listen", &["127.0.0.1:1", "[::1]:2"])
        .flag("--node", "node.name", "n1")
        .flag("--tls-self-signed", "tls.self_signed", "true")
        .config();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.node.name.as_deref(), Some("n1"));
    assert!(config.tls.self_signed);
}

#[test]
fn lists_in_the_environment_have_commas_or_brackets() {
    let listen = |text: &str| said().variable("WHUB__LISTEN", text).config().listen.len();
    assert_eq!(listen("127.0.0.1:1, [::1]:1"), 2);
    assert_eq!(listen(r#"["127.0.0.1:1", "[::1]:1", "unix:a,b"]"#), 3);
    assert_eq!(listen("unix:/run/w.sock"), 1);
}

#[test]
fn other_variables_are_none_of_our_business() {
    let quiet = said().variable("WHUB_SERVER", "ws://x").variable("WHUB_TOKEN", "t").variable("HOME", "/");
    assert_eq!(quiet.config(), Config::default());
}

#[test]
fn a_table_of_anonymous_lists_permits_only_what_it_names() {
    let config =
        said().file("[auth.anonymous]\ncall = [\"weather/*rest\"]\nsubscribe = [\"news/#\"]\n").config();
    let expected = Grant {
        call: vec![Pattern::parse("/weather/*rest").unwrap()],
        subscribe: vec![Filter::parse("news/#").unwrap()],
        ..Grant::none()
    };
    assert_eq!(config.anonymous(), expected);
    assert_eq!(said().file("[auth.anonymous]\n").config().anonymous(), Grant::none());
}

#[test]
fn a_stronger_word_about_anonymous_peers_replaces_weaker_lists() {
    let file = "[auth.anonymous]\ncall = [\"/a\"]\n";
    let all = said().file(file).set("auth.anonymous=all").loaded();
    assert_eq!(all.config.anonymous(), Grant::all());
    assert_eq!(all.source("auth.anonymous.call"), Source::Default);
    let none = said().file(file).variable("WHUB_AUTH__ANONYMOUS", "none").config();
    assert_eq!(none.anonymous(), Grant::none());
    let refined = said().file(file).variable("WHUB_AUTH__ANONYMOUS__PAIR", "lobby/+").config();
    let expected = Grant {
        call: vec![Pattern::parse("/a").unwrap()],
        pair: vec![Filter::parse("lobby/+").unwrap()],
        ..Grant::none()
    };
    assert_eq!(refined.anonymous(), expected);
}

#[test]
fn only_a_closed_or_local_node_may_start() {
    let refusal = |at: &str, address: &str| {
        format!(
            "{at}: listen {address} can be reached from other machines, where anyone could then do everything; \
             configure [[tokens]], or say what anonymous peers may do (auth.anonymous = \"none\", \"all\" or a table), \
             or listen on 127.0.0.1"
        )
    };
    let open = |said: Said| said.flags("--listen", "listen", &["127.0.0.1:1", "0.0.0.0:2"]);
    assert_eq!(open(said()).error(), refusal("--listen", "0.0.0.0:2"));
    assert_eq!(said().file("listen = [\"[::]:1\"]").error(), refusal("whub.toml:1", "[::]:1"));
    let token = "[[tokens]]\nname = \"a\"\nsecret = \"s\"\n";
    assert_eq!(open(said().file(token)).config().anonymous(), Grant::none());
    assert_eq!(open(said().set("auth.anonymous=all")).config().anonymous(), Grant::all());
    assert_eq!(said().flags("--listen", "listen", &["localhost:1", "unix:w"]).config().listen.len(), 2);
}
