//! `whub provide --exec`, as HTTP clients see it.

mod whub;

use whub::{Hub, Running};

fn provide(hub: &Hub, path: &str, flags: &[&str]) -> Running {
    let mut provider = hub.start_client(&[&["provide", path], flags].concat());
    provider.wait_for(&format!("providing {path}"));
    provider
}

fn status(head: &str) -> u16 {
    let said = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    said.expect("a status line")
}

#[test]
fn the_exit_code_is_the_status() {
    let hub = Hub::start(&[]);
    let command = "echo 'a first line' >&2; echo \"no $PARAM_CODE\" >&2; exit $PARAM_CODE";
    let _provider = provide(&hub, "/exit/:code", &["--exec", command]);
    for (code, expected, is_told) in [
        (0, 200, false),
        (1, 500, false),
        (64, 400, true),
        (65, 400, true),
        (66, 404, true),
        (69, 503, true),
        (73, 409, true),
        (75, 503, true),
        (77, 403, true),
        (127, 500, false),
    ] {
        let (head, body) = hub.http(&[&format!("GET /exit/{code} HTTP/1.1")]);
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status(&head), expected, "{code}");
        assert_eq!(body.contains(&format!("no {code}")), is_told, "{body}");
        assert!(!body.contains("a first line"), "{body}");
        assert_eq!(head.contains("retry-after: 1\r\n"), expected == 503, "{head}");
    }
}

#[test]
fn the_environment_is_that_of_cgi() {
    let hub = Hub::start(&[]);
    let command = "echo \"$GATEWAY_INTERFACE $REQUEST_METHOD $SCRIPT_NAME $PATH_INFO $QUERY_STRING \
                   $REMOTE_ADDR $HTTP_X_TAG $CONTENT_LENGTH [$HTTP_AUTHORIZATION$HTTP_COOKIE$HTTP_PROXY]\"";
    let _provider = provide(&hub, "/app/*rest", &["--exec", command]);
    let secret = "authorization: Basic abc";
    let lines = [
        "PUT /app/a%20b?q=1 HTTP/1.1",
        "x-tag: t",
        "proxy: http://evil",
        secret,
        "cookie: a=b",
        "content-length: 0",
    ];
    let (head, body) = hub.http(&lines);
    assert!(head.contains("content-type: text/plain; charset=utf-8\r\n"), "{head}");
    assert_eq!(String::from_utf8(body).unwrap(), "CGI/1.1 PUT /app /a%20b q=1 127.0.0.1 t 0 []\n");
}

#[test]
fn credentials_come_to_a_command_that_asks_for_them() {
    let hub = Hub::start(&[]);
    let flags = ["--pass-header", "cookie", "--exec", "echo \"[$HTTP_COOKIE][$HTTP_X_WHUB_TOKEN]\""];
    let _provider = provide(&hub, "/cookie", &flags);
    let (_, body) = hub.http(&["GET /cookie HTTP/1.1", "cookie: a=b"]);
    assert_eq!(String::from_utf8(body).unwrap(), "[a=b][]\n");
}

#[test]
fn a_header_block_says_status_and_headers() {
    let hub = Hub::start(&[]);
    let command =
        "printf 'Status: 201 Made\\r\\nContent-Type: application/json\\r\\nX-Who: me\\r\\n\\r\\n{}'";
    let _provider = provide(&hub, "/made", &["--cgi", "--exec", command]);
    let (head, body) = hub.http(&["GET /made HTTP/1.1"]);
    assert_eq!(status(&head), 201);
    // The answer began before the command had ended, so the body came in chunks.
    assert_eq!(String::from_utf8(body).unwrap(), "2\r\n{}\r\n0\r\n\r\n");
    assert!(head.contains("content-type: application/json\r\n") && head.contains("x-who: me\r\n"), "{head}");
    let mut wrong = provide(&hub, "/wrong", &["--cgi", "--exec", "echo hello"]);
    assert_eq!(status(&hub.http(&["GET /wrong HTTP/1.1"]).0), 500);
    wrong.wait_for("/wrong: the command's header block is no such");
}

#[test]
fn output_is_streamed_before_the_command_has_ended() {
    let hub = Hub::start(&[]);
    let _provider = provide(&hub, "/lines", &["--stream", "--exec", "exec cat"]);
    let mut caller = hub.start_client(&["call", "/lines", "--data", "-"]);
    for line in ["one", "two"] {
        caller.say(format!("{line}\n").as_bytes());
        assert_eq!(caller.line(), line);
    }
    assert_eq!(caller.end(), (0, Vec::new()));
}

#[test]
fn a_failure_after_the_answer_began_breaks_it_off() {
    let hub = Hub::start(&[]);
    let _provider = provide(&hub, "/breaks", &["--exec", "head -c 200000 /dev/zero; exit 3"]);
    let (head, body) = hub.http(&["GET /breaks HTTP/1.1"]);
    assert_eq!(status(&head), 200);
    assert!(!body.ends_with(b"0\r\n\r\n"), "the last chunk would say that all is there");
}

#[test]
fn more_calls_than_may_run_at_once_are_refused() {
    let hub = Hub::start(&[]);
    let _provider = provide(&hub, "/one", &["--max-inflight", "1", "--exec", "exec cat"]);
    let mut first = hub.start_client(&["call", "/one", "--data", "-"]);
    first.say(b"x");
    whub::until(|| hub.inflight() > 0);
    assert_eq!(hub.run(&["call", "/one"]).0, 7);
    assert_eq!(first.end(), (0, b"x".to_vec()));
}
