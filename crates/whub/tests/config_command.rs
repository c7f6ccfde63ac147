//! `whub config`, run as people run it.

mod whub;

use whub::{Hub, Scratch, finish, whub};

#[test]
fn a_right_configuration_is_said_to_be_right() {
    let scratch = Scratch::new();
    let file =
        scratch.file("whub.toml", "listen = [\"[::1]:1\"]\n[[tokens]]\nname = \"a\"\nsecret = \"s\"\n");
    let run = whub(&["config", "check", "--config", &file]);
    assert_eq!(
        run,
        (0, "the configuration is right: listens on [::1]:1, 1 token\n".to_owned(), String::new())
    );
}

#[test]
fn every_problem_is_told_with_exit_code_2() {
    let scratch = Scratch::new();
    let file = scratch.file("whub.toml", "\nlimits.pnig = 1\n");
    let (code, out, err) = whub(&["config", "check", "--config", &file, "--set", "debug.echo=1"]);
    assert_eq!((code, out.as_str()), (2, ""));
    let expected = format!(
        "whub: {file}:2: unknown key `limits.pnig`; the nearest valid one is `limits.ping`\n\
         --set debug.echo: debug.echo is \"1\", but wants true or false\n"
    );
    assert_eq!(err, expected);
}

#[test]
fn the_certificate_is_looked_at() {
    let run = whub(&["config", "check", "--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"]);
    let expected =
        "whub: tls.cert, tls.key: cannot read /no/cert.pem: No such file or directory (os error 2)\n";
    assert_eq!(run, (2, String::new(), expected.to_owned()));
}

#[test]
fn what_endpoints_name_is_looked_at() {
    let scratch = Scratch::new();
    let file = scratch
        .file("whub.toml", "[[endpoints]]\nname = \"a\"\nurl = \"wss://h\"\ntls_roots = \"/no/roots.pem\"\n");
    let expected = format!(
        "whub: {file}:4: endpoint \"a\": tls_roots: cannot read /no/roots.pem: No such file or directory (os error 2)\n"
    );
    assert_eq!(whub(&["config", "check", "--config", &file]), (2, String::new(), expected));

    let file = scratch.file(
        "whub.toml",
        "[[endpoints]]\nname = \"a\"\nurl = \"ws://h\"\ncommand = \"x\"\ncommand_folder = \"/no/folder\"\n",
    );
    let expected = "whub: endpoint \"a\": command_folder: /no/folder is no folder\n";
    assert_eq!(whub(&["config", "check", "--config", &file]), (2, String::new(), expected.to_owned()));

    let ini = scratch.file("config.ini", "[One]\nPort = 1\n[Two]\nPort = 2\nUsage\n");
    let (code, out, _) = whub(&["config", "check", "--gateway", &ini]);
    let expected = format!(
        "warning: {ini}:5: this line is passed over; it is neither `[section]` nor `Key = Value`\n\
         the configuration is right: listens on 127.0.0.1:9482, no tokens, 2 endpoints\n"
    );
    assert_eq!((code, out), (0, expected));
}

#[test]
fn a_plan_says_what_reading_again_would_change_and_a_reload_does_it() {
    let scratch = Scratch::new();
    let endpoint = |name: &str, port: u16| {
        format!("[[endpoints]]\nname = \"{name}\"\nurl = \"ws://127.0.0.1:{port}\"\n")
    };
    let file =
        scratch.file("whub.toml", &format!("{}{}{}", endpoint("a", 1), endpoint("b", 2), endpoint("c", 3)));
    let hub = Hub::start(&["--config", &file, "--set", "reload.watch=false"]);
    assert_eq!(
        hub.run(&["config", "plan"]).1,
        "endpoint  change  sockets  closed\n\
         a         keep          0       0\n\
         b         keep          0       0\n\
         c         keep          0       0\n\
         nothing changes\n"
    );

    let changed = endpoint("b", 4);
    scratch.file(
        "whub.toml",
        &format!(
            "{}health = \"off\"\n{changed}{}[limits]\nping = \"1s\"\n",
            endpoint("a", 1),
            endpoint("d", 5)
        ),
    );
    let expected = "endpoint  change    sockets  closed\n\
                    a         change          0       0\n\
                    b         redirect        0       0\n\
                    d         add             0       0\n\
                    c         remove          0       0\n\
                    limits.ping waits for the next start\n";
    assert_eq!(hub.run(&["config", "plan"]), (0, expected.to_owned(), String::new()));
    assert_eq!(hub.run(&["config", "plan"]).1, expected, "planning changes nothing");
    let (code, out, _) = hub.run(&["config", "reload", "--json"]);
    let done: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &done["ok"], &done["endpoints"][1]["change"]), (0, &true.into(), &"redirect".into()));
    assert_eq!(done["keys"], serde_json::json!([{ "key": "limits.ping", "restart": true }]));
    assert!(hub.run(&["config", "plan"]).1.contains("b         keep"));

    scratch.file("whub.toml", "limits.pnig = 1\n");
    let problem =
        format!("whub: {file}:1: unknown key `limits.pnig`; the nearest valid one is `limits.ping`\n");
    assert_eq!(hub.run(&["config", "plan"]), (2, String::new(), problem));
    let (code, out, err) = hub.run(&["config", "reload"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("unknown key `limits.pnig`"), "{err}");
    assert!(hub.http(&["GET /v1/config/reload HTTP/1.1"]).0.starts_with("HTTP/1.1 405"));
    assert!(hub.http(&["POST /v1/config/plan HTTP/1.1"]).0.starts_with("HTTP/1.1 405"));
    assert!(hub.http(&["GET /v1/config HTTP/1.1"]).0.starts_with("HTTP/1.1 404"));
}

#[test]
fn plans_are_for_those_who_administer() {
    let scratch = Scratch::new();
    let tokens = "[[tokens]]\nname = \"a\"\nsecret = \"plain\"\n[[tokens]]\nname = \"b\"\nsecret = \"admin\"\nadmin = true\n";
    let hub = Hub::start(&["--config", &scratch.file("whub.toml", tokens)]);
    for (token, code) in [("plain", 4), ("guessed", 4), ("admin", 0)] {
        for verb in ["plan", "reload"] {
            let run = finish(hub.command(&["config", verb]).env("WHUB_TOKEN", token));
            assert_eq!(run.0, code, "{token} {verb}: {run:?}");
        }
    }
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    let (code, out, err) = whub(&["config", "show", "--json", "--config", "/no/whub.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    let expected = serde_json::json!({ "error": {
        "kind": "usage", "exit": 2, "advice": null,
        "message": "cannot read the configuration /no/whub.toml: there is no such file",
    }});
    assert_eq!(error, expected);
}

#[test]
fn the_last_flag_wins_and_is_named_as_source() {
    let (code, out, _) =
        whub(&["config", "show", "--json", "--node", "a", "--set", "node.name=b", "--set", "node.name=c"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    let expected = serde_json::json!({ "value": "c", "source": "flag", "at": "--set node.name" });
    assert_eq!(shown["values"]["node.name"], expected);
}
