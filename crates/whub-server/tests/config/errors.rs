//! What is wrong with a configuration is said where it was written, with the next step.

use crate::said::said;
use whub_server::config::{Assignment, ConfigFile, check_files};

#[test]
fn an_unknown_key_names_the_nearest_valid_one() {
    assert_eq!(
        said().file("# limits\n[limits]\nframe_byte = 1\n").error(),
        "whub.toml:3: unknown key `limits.frame_byte`; the nearest valid one is `limits.frame_bytes`"
    );
    assert_eq!(
        said().file("header_bytes = 1\n").error(),
        "whub.toml:1: unknown key `header_bytes`; the nearest valid one is `limits.header_bytes`"
    );
    assert_eq!(
        said().file("[limit]\nping = \"1s\"\n").error(),
        "whub.toml:2: unknown key `limit.ping`; the nearest valid one is `limits.ping`"
    );
    assert_eq!(
        said().variable("WHUB_LIMITS__PNG", "1s").error(),
        "environment variable WHUB_LIMITS__PNG: unknown key `limits.png`; \
         the nearest valid one is `limits.ping` (WHUB_LIMITS__PING)"
    );
    assert_eq!(
        said().set("debug.ecko=true").error(),
        "--set debug.ecko: unknown key `debug.ecko`; the nearest valid one is `debug.echo`"
    );
    assert_eq!(
        said().file("[log.format]\nx = 1\n").error(),
        "whub.toml:1: log.format is \"none\", but wants \"console\" or \"json\"\n\
         whub.toml:2: unknown key `log.format.x`; the nearest valid one is `log.format`"
    );
    assert_eq!(
        said().file("[empty]\n").error(),
        "whub.toml:1: unknown key `empty`; the nearest valid one is `listen`"
    );
    assert_eq!(
        said().file("limits = 5\n").error(),
        "whub.toml:1: `limits` is a section, not a value; its keys are `limits.…`"
    );
    assert_eq!(
        said().file("\"limits.ping\" = \"1s\"\n").error(),
        "whub.toml:1: unknown key `\"limits.ping\"`; the nearest valid one is `limits.ping`"
    );
}

#[test]
fn a_wrong_type_says_what_was_found_and_what_is_wanted() {
    let error = |text: &str| said().file(text).error();
    assert_eq!(
        error("limits.ping = 25\n"),
        "whub.toml:1: limits.ping is 25, but wants a duration with its unit, such as \"5s\", \"250ms\" or \"1m30s\""
    );
    assert_eq!(
        error("limits.frame_bytes = \"big\"\n"),
        "whub.toml:1: limits.frame_bytes is \"big\", but wants a size, such as 65536, \"64KiB\" or \"1MiB\""
    );
    assert_eq!(
        error("limits.body_bytes = -1\n"),
        "whub.toml:1: limits.body_bytes is -1, but wants a size, such as 65536, \"64KiB\" or \"1MiB\", or \"none\""
    );
    assert_eq!(
        error("limits.pairs = 1.5\n"),
        "whub.toml:1: limits.pairs is a number with a fraction, but wants a whole number, not negative"
    );
    assert_eq!(
        error("debug.echo = \"yes\"\n"),
        "whub.toml:1: debug.echo is \"yes\", but wants true or false"
    );
    assert_eq!(
        error("log.format = \"xml\"\n"),
        "whub.toml:1: log.format is \"xml\", but wants \"console\" or \"json\""
    );
    assert_eq!(
        error("listen = \"127.0.0.1:1\"\n"),
        "whub.toml:1: listen is \"127.0.0.1:1\", but wants a list of strings"
    );
    assert_eq!(
        error("listen = [1, \"a\"]\n"),
        "whub.toml:1: listen is [1, \"a\"], but wants a list of strings"
    );
    assert_eq!(
        error("log.level = \"loud\"\n"),
        "whub.toml:1: log.level is \"loud\", but wants a level (off, error, warn, info, debug, trace), \
         or levels by target like \"info,whub_server=debug\""
    );
    assert_eq!(
        error("node.name = \"\"\n"),
        "whub.toml:1: node.name is \"\", but wants a string that is not empty"
    );
    assert_eq!(
        said().variable("WHUB_DEBUG__ECHO", "1").error(),
        "environment variable WHUB_DEBUG__ECHO: debug.echo is \"1\", but wants true or false"
    );
}

#[test]
fn a_value_out_of_bounds_names_them() {
    assert_eq!(
        said().set("limits.frame_bytes=10").error(),
        "--set limits.frame_bytes: limits.frame_bytes is \"10\", but wants a size from 1KiB to 64MiB"
    );
    assert_eq!(
        said().set("limits.ping=1ms").error(),
        "--set limits.ping: limits.ping is \"1ms\", but wants a duration from 10ms to 1h"
    );
    assert_eq!(
        said().set("limits.header_fields=0").error(),
        "--set limits.header_fields: limits.header_fields is \"0\", but wants a number from 1 to 1024"
    );
}

#[test]
fn list_items_are_checked_one_by_one() {
    let error = |text: &str| said().set(text).error();
    assert_eq!(
        error("listen=::1:9482"),
        "--set listen: listen: an IPv6 address stands in brackets: write [ADDRESS]:PORT instead of `::1:9482`"
    );
    assert_eq!(
        error("http.allowed_origins=app.example.com"),
        "--set http.allowed_origins: http.allowed_origins: \"app.example.com\" is no origin; \
         write scheme://host[:port] without a path, or \"*\" for any"
    );
    assert_eq!(
        error("http.allowed_hosts=hub:80"),
        "--set http.allowed_hosts: http.allowed_hosts: \"hub:80\" is no host name; \
         write it without scheme and port, or \"*\" for any"
    );
    assert_eq!(
        error("proxy_protocol.from=ten"),
        "--set proxy_protocol.from: proxy_protocol.from: `ten` is no network; \
         write 10.0.0.0/8, 2001:db8::/32, a single address, or unix"
    );
    assert_eq!(
        error("auth.anonymous.publish=/news"),
        "--set auth.anonymous.publish: auth.anonymous.publish: `/news`: \
         channels and pair ids do not begin with `/`; only service paths do"
    );
    assert_eq!(
        error("auth.anonymous.call=/a/*rest/b"),
        "--set auth.anonymous.call: auth.anonymous.call: `/a/*rest/b`: \
         `*rest` takes the remainder, so it must be the last segment"
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let error = said()
        .file("limits.pnig = 1\nlimits.ping = 1\n")
        .variable("WHUB_LOG__LEVEL", "x")
        .set("a.b=c")
        .error();
    let begins: Vec<_> = error.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(begins, ["whub.toml:1", "whub.toml:2", "environment variable WHUB_LOG__LEVEL", "--set a.b"]);
}

#[test]
fn what_is_not_toml_is_located_but_not_repeated() {
    let error = said().file("[[tokens]]\nsecret = \"hunter2\n").error();
    assert!(error.starts_with("whub.toml:2: this is not TOML: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = said().file("a = 1\na = 2\n").error();
    assert!(error.starts_with("whub.toml:2: this is not TOML: "), "{error}");
}

#[test]
fn tokens_cannot_be_set_from_outside_the_file() {
    let advice = "tokens are tables of the configuration file: write [[tokens]] there, \
                  with secret_file or secret_env to keep the secret out of it";
    assert_eq!(said().set("tokens.secret=x").error(), format!("--set tokens.secret: {advice}"));
    assert_eq!(
        said().variable("WHUB_TOKENS__SECRET", "x").error(),
        format!("environment variable WHUB_TOKENS__SECRET: {advice}")
    );
    assert_eq!(said().file("tokens = 5\n").error(), format!("whub.toml:1: {advice}"));
}

#[test]
fn certificates_come_with_their_keys() {
    assert_eq!(
        said().file("tls.cert = \"c\"\n").error(),
        "whub.toml:1: tls.cert needs its private key; set tls.key (--tls-key) too"
    );
    assert_eq!(
        said().flag("--tls-key", "tls.key", "k").error(),
        "--tls-key: tls.key needs its certificate; set tls.cert (--tls-cert) too"
    );
    assert_eq!(
        said().file("[tls]\ncert = \"c\"\nkey = \"k\"\nself_signed = true\n").error(),
        "whub.toml:4: tls.self_signed and tls.cert exclude each other; with a certificate, leave self_signed out"
    );
}

#[test]
fn certificate_files_are_looked_at() {
    let config = said().file("tls.cert = \"/no/such/cert.pem\"\ntls.key = \"/no/such/key.pem\"\n").config();
    let problems: Vec<_> = check_files(&config).iter().map(ToString::to_string).collect();
    let expected = "tls.cert, tls.key: cannot read /no/such/cert.pem: No such file or directory (os error 2)";
    assert_eq!(problems, [expected]);
    assert_eq!(check_files(&said().config()), []);
}

#[test]
fn an_address_is_listened_on_once() {
    let listen = |addresses: &[&str]| said().flags("--listen", "listen", addresses);
    assert_eq!(listen(&["[::1]:1", "[::1]:1"]).error(), "--listen: listen names [::1]:1 twice");
    assert_eq!(listen(&["[::1]:0", "[::1]:0"]).config().listen.len(), 2);
    assert_eq!(
        said().file("listen = []\n").error(),
        "whub.toml:1: listen is empty; a node needs at least one address"
    );
}

#[test]
fn a_flag_without_a_value_and_a_file_that_is_absent_are_told() {
    let problem = Assignment::set("limits.drain").unwrap_err().to_string();
    assert_eq!(problem, "--set limits.drain: write it as key=value, such as limits.drain=5s");
    let problems = ConfigFile::read("no/such/whub.toml".as_ref()).unwrap_err().to_string();
    assert_eq!(problems, "cannot read the configuration no/such/whub.toml: there is no such file");
}

#[test]
fn a_node_has_roles_that_there_are() {
    assert_eq!(
        said().file("[node]\nroles = [\"access\", \"servce\"]\n").error(),
        "whub.toml:2: node.roles names \"servce\"; the roles are \"access\" and \"service\""
    );
    assert_eq!(
        said().set("node.roles=[]").error(),
        "--set node.roles: node.roles is empty; name access, service or both"
    );
}

#[test]
fn the_relay_listens_elsewhere_and_its_scope_is_a_path() {
    let error = |text: &str| said().file(text).error();
    assert_eq!(
        error("relay.listen = [\"127.0.0.1:9482\"]\n"),
        "whub.toml:1: relay.listen names 127.0.0.1:9482, where the node listens already"
    );
    assert_eq!(
        error("relay.scope = \"a\"\n"),
        "whub.toml:1: relay.scope says nothing without a listener; set relay.listen (--relay) too"
    );
    for scope in ["/", "a//b", "a b", "a/../b", "ü"] {
        let problem = error(&format!("[relay]\nlisten = [\"127.0.0.1:0\"]\nscope = \"{scope}\"\n"));
        assert_eq!(
            problem,
            format!(
                "whub.toml:3: relay.scope is {scope:?}; it is a path of letters, digits and `-._~`, such as \"a\" or \"a/b\""
            )
        );
    }
    let public = error("relay.listen = [\"0.0.0.0:8080\"]\n");
    assert!(public.starts_with("whub.toml:1: relay.listen 0.0.0.0:8080 can be reached"), "{public}");
}
