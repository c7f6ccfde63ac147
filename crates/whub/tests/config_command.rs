//! `whub config`, run as people run it.

mod whub;

use whub::{Scratch, whub};

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
    let file = scratch.file(
        "whub.toml",
        "[[endpoints]]\nname = \"a\"\nurl = \"wss://h\"\ntls_roots = \"/no/roots.pem\"\n\
         command = \"x\"\ncommand_folder = \"/no/folder\"\n",
    );
    let expected = "whub: endpoint \"a\": tls_roots: cannot read /no/roots.pem: No such file or directory (os error 2)\n\
                    endpoint \"a\": command_folder: /no/folder is no folder\n";
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
