//! Calls, messages and pairs between processes of the binary.

mod whub;

use std::process::Stdio;

use rustix::process::Signal;
use whub::{Hub, Scratch, finish};
use whub_client::{Headers, Reply, Request, ServiceError};

#[test]
fn an_echo_gives_back_body_and_content_type() {
    let hub = Hub::start(&[]);
    let mut provider = hub.start_client(&["provide", "/echo", "--echo"]);
    provider.wait_for("providing /echo");
    assert_eq!(hub.run(&["call", "/echo", "--data", "hello"]), (0, "hello".to_owned(), String::new()));

    let (code, out, _) = hub.run(&["call", "/echo", "--data", "{\"n\":1}", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["status"], &answer["data"]), (0, &200.into(), &serde_json::json!({ "n": 1 })));
    assert_eq!(answer["headers"]["content-type"], "application/json");

    let typed = ["call", "/echo", "--data", "x", "--header", "Content-Type: text/x-odd", "--include"];
    let (_, out, _) = hub.run(&typed);
    assert!(
        out.starts_with("200\n") && out.contains("content-type: text/x-odd\n") && out.ends_with("\n\nx"),
        "{out}"
    );
    provider.signal(Signal::TERM);
    assert_eq!(provider.end().0, 0);
}

#[test]
fn progress_and_trailers_are_shown_around_the_answer() {
    let hub = Hub::start(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pairs = |name: &str, value: &str| Headers::from_iter([(name.to_owned(), value.to_owned())]);
    let render = move |request: Request| async move {
        request.progress(pairs("x-done", "half"), "so far").await?;
        let trailers = async move { pairs("x-sum", "42") };
        Ok::<_, ServiceError>(Reply::text("all").header("x-kind", "drawing").trailers(trailers))
    };
    let _provider = runtime.block_on(async {
        let client = whub_client::connect(format!("ws://{}", hub.address)).await.unwrap();
        client.provide("/render", render).await.unwrap()
    });
    let (code, out, err) = hub.run(&["call", "/render", "--include"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (progress, answer) = out.split_once("so far\n").expect(&out);
    assert_eq!(progress, "102\nx-done: half\n\n");
    assert!(answer.starts_with("200\n") && answer.contains("x-kind: drawing\n"), "{out}");
    assert!(answer.ends_with("\n\nall\nx-sum: 42\n"), "{out}");
    assert_eq!(hub.run(&["call", "/render"]).1, "all");
    let (_, out, _) = hub.run(&["call", "/render", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&answer["text"], &answer["trailers"]),
        (&"all".into(), &serde_json::json!({ "x-sum": "42" }))
    );
}

#[test]
fn a_call_that_may_be_made_twice_outlives_its_provider() {
    let hub = Hub::start(&[]);
    // It ends with its provider.
    let command = "while kill -0 $PPID; do sleep 0.2; done";
    let mut first = hub.start_client(&["provide", "/pay", "--exec", command]);
    first.wait_for("providing /pay");
    let call = ["call", "/pay", "--data", "x", "--idempotency", "pay-1", "--timeout", "1m"];
    let mut caller = hub.start_client(&call);
    // It is asked before there is another.
    whub::until(|| hub.inflight() == 1);
    let mut second = hub.start_client(&["provide", "/pay", "--exec", "echo done"]);
    second.wait_for("providing /pay");
    first.signal(Signal::KILL);
    assert_eq!(caller.end(), (0, b"done\n".to_vec()));
}

#[test]
fn calls_with_one_key_go_to_one_provider() {
    let hub = Hub::start(&[]);
    let mut one = hub.start_client(&["provide", "/who", "--exec", "echo one"]);
    let mut two = hub.start_client(&["provide", "/who", "--exec", "echo two"]);
    one.wait_for("providing /who");
    two.wait_for("providing /who");
    let asked = |_| hub.run(&["call", "/who", "--key", "ada"]).1;
    let answers: std::collections::BTreeSet<String> = (0..6).map(asked).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn a_large_file_travels_through_unchanged() {
    let hub = Hub::start(&[]);
    let mut provider = hub.start_client(&["provide", "/echo", "--echo"]);
    provider.wait_for("providing /echo");
    let scratch = Scratch::new();
    let text: String = (0..400_000).map(|line| format!("{line:09}\n")).collect();
    let file = scratch.file("large", &text);
    let (code, out, err) = hub.run(&["call", "/echo", "--data", &format!("@{file}")]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out == text, "{} bytes came back", out.len());
}

#[test]
fn standard_input_is_a_body_too() {
    let hub = Hub::start(&[]);
    let mut provider = hub.start_client(&["provide", "/upper", "--exec", "tr a-z A-Z"]);
    provider.wait_for("providing /upper");
    let mut caller = hub.start_client(&["call", "/upper", "--data", "-"]);
    caller.say(b"hello\nworld\n");
    assert_eq!(caller.end(), (0, b"HELLO\nWORLD\n".to_vec()));
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let hub = Hub::start(&[]);
    let (code, out, err) = hub.run(&["call", "/nobody"]);
    assert_eq!((code, out.as_str()), (5, ""));
    assert!(err.starts_with("whub: "), "{err}");

    let mut failing = hub.start_client(&["provide", "/fails", "--exec", "echo 'disk full' >&2; exit 3"]);
    failing.wait_for("providing /fails");
    let (code, out, err) = hub.run(&["call", "/fails"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(!err.contains("disk full"), "what a command complains of stays with who runs it: {err}");
    assert!(failing.wait_for("disk full").contains("/fails: the command ended with exit status: 3"));

    let mut slow = hub.start_client(&["provide", "/slow", "--exec", "sleep 1000"]);
    slow.wait_for("providing /slow");
    assert_eq!(hub.run(&["call", "/slow", "--timeout", "200ms"]).0, 6);

    let (code, _, err) = finish(hub.command(&["call", "/x"]).env("WHUB_SERVER", "tcp://127.0.0.1:1"));
    assert_eq!(code, 3, "{err}");
    assert_eq!(hub.run(&["call", "/echo", "--server", "nonsense"]).0, 2);
    assert_eq!(hub.run(&["call", "/echo", "--timeout", "5"]).0, 2);
    assert_eq!(hub.run(&["publish", "/news", "x"]).0, 2, "channels do not begin with a slash");
}

#[test]
fn files_are_served_from_their_folder_only() {
    let hub = Hub::start(&[]);
    let scratch = Scratch::new();
    scratch.file("secret", "secret");
    std::fs::create_dir(scratch.0.join("site")).unwrap();
    scratch.file("site/index.html", "<h1>home</h1>");
    let folder = scratch.0.join("site").display().to_string();
    let mut provider = hub.start_client(&["provide", "/docs", "--files", &folder]);
    provider.wait_for("providing /docs/*file");
    assert_eq!(hub.run(&["call", "/docs/"]).1, "<h1>home</h1>");
    assert_eq!(hub.run(&["call", "/docs/index.html"]).1, "<h1>home</h1>");
    let (_, out, _) = hub.run(&["call", "/docs", "--include"]);
    assert!(out.starts_with("308\n") && out.contains("location: ./docs/\n"), "{out}");
    let (_, out, _) = hub.run(&["call", "/docs/index.html", "--method", "HEAD", "--include"]);
    assert!(out.contains("content-length: 13\n") && !out.contains("home"), "{out}");
    assert_eq!(hub.run(&["call", "/docs/absent"]).0, 5);
    assert_ne!(hub.run(&["call", "/docs/%2e%2e/secret"]).0, 0);
    assert_ne!(hub.run(&["call", "/docs/..%2Fsecret"]).0, 0);
    assert_eq!(hub.run(&["call", "/docs/index.html", "--method", "DELETE"]).0, 9);
}

#[test]
fn messages_reach_subscribers_as_text_and_as_json() {
    let hub = Hub::start(&[]);
    let mut text = hub.start_client(&["subscribe", "news/+", "--count", "2"]);
    let mut json = hub.start_client(&["subscribe", "news/#", "--json"]);
    text.wait_for("subscribed to news/+");
    json.wait_for("subscribed to news/#");
    assert_eq!(hub.run(&["publish", "news/eu", "hello", "-H", "x-tag:a"]), (0, String::new(), String::new()));
    let (code, out, _) = hub.run(&["publish", "news/us", "{\"n\":1}", "--json"]);
    let taken: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &taken["channel"]), (0, &"news/us".into()));
    assert_eq!(text.line(), "news/eu hello");
    assert_eq!(text.line(), "news/us {\"n\":1}");
    assert_eq!(text.end(), (0, Vec::new()), "it ends by itself after two");

    let first: serde_json::Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((&first["channel"], &first["text"]), (&"news/eu".into(), &"hello".into()));
    assert_eq!(first["headers"]["x-tag"], "a");
    let second: serde_json::Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(second["data"]["n"], 1);
    json.signal(Signal::INT);
    assert_eq!(json.end().0, 0);
}

#[test]
fn lines_and_whole_input_can_be_published() {
    let hub = Hub::start(&[]);
    let mut subscriber = hub.start_client(&["subscribe", "logs", "--count", "3"]);
    subscriber.wait_for("subscribed to logs");
    let mut lines = hub.start_client(&["publish", "logs", "--lines"]);
    lines.say(b"one\ntwo\n");
    assert_eq!(lines.end().0, 0);
    let mut whole = hub.start_client(&["publish", "logs"]);
    whole.say(b"three\nfour");
    assert_eq!(whole.end().0, 0);
    assert_eq!(subscriber.end(), (0, b"one\ntwo\nthree\nfour\n".to_vec()));
}

#[test]
fn a_pair_carries_bytes_and_the_end_of_input_both_ways() {
    let hub = Hub::start(&[]);
    let mut first = hub.start_client(&["pair", "room-42"]);
    first.wait_for("waiting for the other half");
    let mut second = hub.start_client(&["pair", "room-42"]);
    first.wait_for("paired");
    second.wait_for("paired");
    let bytes: Vec<u8> =
        (0..300_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    first.say(&bytes);
    first.end_input();
    second.say(b"answer\n\0\xff");
    let (code, came) = second.end();
    assert_eq!(code, 0);
    assert!(came == bytes, "{} of {} bytes came", came.len(), bytes.len());
    assert_eq!(first.end(), (0, b"answer\n\0\xff".to_vec()));
}

#[test]
fn a_half_whose_other_half_vanishes_fails() {
    let hub = Hub::start(&[]);
    let mut first = hub.start_client(&["pair", "p"]);
    let mut second = hub.start_client(&["pair", "p", "--grace", "0s"]);
    first.wait_for("paired");
    second.wait_for("paired");
    second.signal(Signal::KILL);
    first.wait_for("the other half left before the end of what it sent; bytes may be missing both ways");
    assert_eq!(first.end().0, 1);
}

#[test]
fn the_token_comes_from_a_file_or_the_environment() {
    let scratch = Scratch::new();
    let file =
        scratch.file("whub.toml", "[[tokens]]\nname = \"a\"\nsecret = \"s3cret\"\npublish = [\"#\"]\n");
    let hub = Hub::start(&["--config", &file]);
    let (code, _, err) = hub.run(&["publish", "news", "x"]);
    assert_eq!(code, 4);
    assert!(err.ends_with("\n  set WHUB_TOKEN, or name a file with --token-file\n"), "{err}");
    assert_eq!(finish(hub.command(&["publish", "news", "x"]).env("WHUB_TOKEN", "s3cret")).0, 0);
    assert_eq!(finish(hub.command(&["publish", "news", "x"]).env("WHUB_TOKEN", "wrong")).0, 4);
    let token = scratch.file("token", "s3cret\n");
    assert_eq!(hub.run(&["publish", "news", "x", "--token-file", &token]).0, 0);
    let (code, _, err) = hub.run(&["publish", "news", "x", "--token-file", "/no/such/token"]);
    assert_eq!(code, 2);
    assert!(err.contains("/no/such/token"), "{err}");
    let (code, _, _) = hub.run(&["publish", "news", "x", "--token", "s3cret"]);
    assert_eq!(code, 2, "there is no flag that would show in process lists");
}

#[test]
fn a_command_of_exec_does_not_see_the_token() {
    let hub = Hub::start(&[]);
    let mut command = hub.command(&["provide", "/env", "--exec", "env"]);
    let mut provider = whub::Running::start({
        command.env("WHUB_TOKEN_FILE", "x").env("KEPT", "yes");
        command
    });
    provider.wait_for("providing /env");
    let (code, out, _) =
        hub.run(&["call", "/env?a=b", "--header", "proxy:http://evil", "--header", "x-tag:1"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("KEPT=yes\n") && out.contains("QUERY_STRING=a=b\n") && out.contains("HTTP_X_TAG=1\n"),
        "{out}"
    );
    assert!(!out.contains("HTTP_PROXY") && !out.contains("WHUB_TOKEN"), "{out}");
}

#[test]
fn a_closed_standard_output_ends_the_command() {
    let hub = Hub::start(&[]);
    let mut command = hub.command(&["subscribe", "x"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut err, &mut line).unwrap();
    assert_eq!(line, "subscribed to x\n");
    assert_eq!(hub.run(&["publish", "x", "hello"]).0, 0);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn every_kind_of_url_reaches_the_hub() {
    let scratch = Scratch::new();
    let socket = format!("unix:{}", scratch.0.join("hub.sock").display());
    let hub = Hub::start(&["--listen", &socket]);
    let mut provider = hub.start_client(&["provide", "/echo", "--echo"]);
    provider.wait_for("providing /echo");
    let address = &hub.address;
    for url in [format!("ws://{address}"), format!("http://{address}"), format!("tcp://{address}"), socket] {
        let (code, out, err) = hub.run(&["call", "/echo", "--data", &url, "--server", &url]);
        assert_eq!((code, out, err.as_str()), (0, url, ""));
    }
}

#[test]
fn a_self_signed_hub_is_reached_by_its_fingerprint_only() {
    let mut hub =
        whub::Running::start(whub::command(&["serve", "--listen", "127.0.0.1:0", "--tls-self-signed"]));
    let url = hub.line().strip_prefix("listening on ").unwrap().to_owned();
    assert!(url.starts_with("wss://"), "{url}");
    let logged = hub.wait_for("--tls-pin");
    let pin = logged.rsplit(' ').next().unwrap();
    assert_eq!(whub::whub(&["publish", "news", "x", "--server", &url]).0, 3);
    assert_eq!(whub::whub(&["publish", "news", "x", "--server", &url, "--tls-pin", pin]).0, 0);
    assert_eq!(whub::whub(&["status", "--server", &url, "--tls-pin", pin]).0, 0);
    let own = url.replace("wss://", "tls://");
    assert_eq!(whub::whub(&["publish", "news", "x", "--server", &own, "--tls-pin", pin]).0, 0);
}

#[test]
fn the_bench_measures_each_verb() {
    let hub = Hub::start(&[]);
    for (what, name) in [("call", "calls"), ("publish", "deliveries"), ("pair", "round trips")] {
        let (code, out, err) = hub.run(&["bench", what, "--clients", "2", "--duration", "1s", "--json"]);
        assert_eq!((code, err.as_str()), (0, ""), "{what}");
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&told["what"], &told["failed"]), (&name.into(), &0.into()), "{out}");
        assert!(told["done"].as_u64().unwrap() > 0 && told["p50_us"].as_f64().unwrap() > 0.0, "{out}");
    }
    assert_eq!(hub.run(&["bench", "call", "--path", "/nobody"]).0, 5);
    assert_eq!(hub.run(&["bench", "pair", "--path", "/x"]).0, 2);
}

#[test]
fn an_interrupted_call_is_cancelled_where_it_runs() {
    let hub = Hub::start(&[]);
    let mut provider = hub.start_client(&["provide", "/slow", "--exec", "exec sleep 1000"]);
    provider.wait_for("providing /slow");
    let mut caller = hub.start_client(&["call", "/slow", "--timeout", "1h"]);
    whub::until(|| hub.inflight() > 0);
    caller.signal(Signal::INT);
    assert_eq!(caller.end().0, 130);
    whub::until(|| hub.inflight() == 0);
}
