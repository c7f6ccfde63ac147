//! Endpoints of the gateway: tables, the `config.ini` of SocketMaster, and what is refused.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use crate::said::said;
use whub_server::config::{
    Assignment, Balance, Config, ConfigFile, EndpointAccess, Health, Input, Loaded, Process, Target,
    WhenDown, differences, load, reloaded,
};

/// The example of SocketMaster's README, byte for byte.
const EXAMPLE: &str = include_str!("socketmaster.ini");

/// A file of one test, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("whub-endpoints-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("writes a scratch file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets its mode");
        Self(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a `config.ini` gives, and its path in messages.
fn ini(name: &str, text: &str) -> (Result<Loaded, String>, String) {
    let scratch = Scratch::new(name, text);
    let flags = vec![Assignment::flag("--gateway", "gateway.file", &scratch.path())];
    (load(&Input { flags, ..Input::default() }).map_err(|problems| problems.to_string()), scratch.path())
}

fn urls(config: &Config) -> Vec<(String, String)> {
    let url = |target: &Target| match target {
        Target::Upstreams(urls) => {
            urls.iter().map(|url| url.server.to_string()).collect::<Vec<_>>().join(" ")
        }
        Target::Service(name) | Target::Channel(name) | Target::Pair(name) => name.clone(),
    };
    config.endpoints.iter().map(|endpoint| (endpoint.name.clone(), url(&endpoint.target))).collect()
}

#[test]
fn the_example_of_the_original_is_read_as_it_is() {
    let (loaded, path) = ini("example", EXAMPLE);
    let loaded = loaded.expect("it binds");
    let [one, two] = loaded.config.endpoints.as_slice() else { panic!("{:?}", loaded.config.endpoints) };
    assert_eq!((one.name.as_str(), two.name.as_str(), &one.alias), ("endpoint1", "endpoint2", &None));
    assert!(one.is_called("Endpoint1") && one.is_called("ENDPOINT1") && !one.is_called("Endpoint2"));
    let Target::Upstreams(urls) = &two.target else { panic!("a server") };
    assert_eq!((urls[0].server.port(), urls[0].path.as_str(), urls.len()), (Some(9090), "/", 1));
    assert_eq!(urls[0].server.host().map(ToString::to_string).as_deref(), Some("127.0.0.1"));
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let passed_over = |line| {
        format!("{path}:{line}: this line is passed over; it is neither `[section]` nor `Key = Value`")
    };
    assert_eq!(warnings, [passed_over(8), passed_over(9)]);
}

#[test]
fn who_takes_it_for_the_whole_configuration_is_told_where_it_goes() {
    let file = Some(ConfigFile::new("config.ini", EXAMPLE));
    let error = load(&Input { file, ..Input::default() }).expect_err("it is no TOML").to_string();
    assert!(error.starts_with("config.ini:8: this is not TOML: "), "{error}");
    assert!(error.ends_with("; for a config.ini of SocketMaster there is --gateway"), "{error}");
}

#[test]
fn a_file_of_the_original_may_say_more() {
    let text = "\u{feff}[a]\r\nNAME = \"First One\"\r\nport=1\r\n\r\n[b]\r\nPort = 2\r\nHost = ::1\r\nPath = chat?room=1\r\n\
                [c]\r\nurl = wss://example.org/x\r\nCommand = ./c \"1\"; exec sleep 1\r\n";
    let config = ini("more", text).0.expect("it is read").config;
    let [a, b, c] = config.endpoints.as_slice() else { panic!("{:?}", config.endpoints) };
    assert_eq!((a.name.as_str(), a.alias.as_deref()), ("First One", Some("a")));
    let Target::Upstreams(url) = &b.target else { panic!("a server") };
    assert_eq!((url[0].path.as_str(), url[0].query.as_deref()), ("/chat", Some("room=1")));
    assert_eq!(url[0].server.host().map(ToString::to_string).as_deref(), Some("[::1]"));
    let Target::Upstreams(url) = &c.target else { panic!("a server") };
    assert_eq!((url[0].server.port(), url[0].server.tls()), (Some(443), true));
    let expected = Process {
        command: "./c \"1\"; exec sleep 1".to_owned(),
        folder: None,
        restarts_max: 10,
        stop_timeout: Duration::from_secs(5),
    };
    assert_eq!(c.process, Some(expected));
}

#[test]
fn what_is_wrong_in_it_is_told_with_its_line() {
    for (text, line, expected) in [
        ("[a]\nPort = 80 ; main\n", 2, "Port is \"80 ; main\", but wants a number from 1 to 65535"),
        ("[a]\nPort = 0\n", 2, "Port is \"0\", but wants"),
        ("[a]\nName = b\n", 1, "[a] has no Port; write Port = 8080, or a Url"),
        ("\n[a]\nPort = 1\nPort = 2\n", 4, "Port is written twice in [a]"),
        ("[a]\nProt = 1\n", 2, "unknown key `Prot` of an endpoint; the nearest valid one is `Port`"),
        ("[a]\nPort = 1\nUrl = ws://x/\n", 2, "[a] has a Url, which says the Port too"),
        ("[a]\nPort =\n", 2, "Port is empty"),
        ("Port = 1\n", 1, "this key belongs to no endpoint"),
        ("[a\nPort = 1\n", 1, "a section is a name in brackets"),
        ("[a]\nUrl = ftp://x/\n", 2, "`ftp` is no scheme of an endpoint"),
        ("[a]\nPort = 1\nHost = a b\n", 3, "`a b` is neither an IP address nor a host name"),
        ("[a]\nPort = 1\nPath = /a b\n", 3, "the URL has spaces, control or non-ASCII characters"),
        (
            "[Syn]\nPort = 1\n",
            1,
            "\"Syn\" cannot be the name of an endpoint: it is a word of the gateway's handshake",
        ),
        ("[a]\nName = x,y\nPort = 1\n", 2, "\"x,y\" cannot be the name of an endpoint: it has a `,`"),
        ("[]\nPort = 1\n", 1, "this endpoint has no name"),
        ("[a]\nName = b\nPort = 1\n[B]\nPort = 2\n", 4, "an endpoint \"B\" is at "),
        ("[a]\nPort = 1\n[b]\nName = A\nPort = 2\n", 4, "an endpoint \"A\" is at "),
        ("[a]\nPort = 9482\n", 2, "endpoint \"a\": ws://127.0.0.1:9482/ is this hub itself"),
    ] {
        let (loaded, path) = ini("wrong", text);
        let error = loaded.expect_err(text);
        assert!(error.contains(&format!("{path}:{line}: {expected}")), "{text}: {error}");
    }
    let error = said().set("gateway.file=/no/such.ini").error();
    assert_eq!(error, "--set gateway.file: cannot read the endpoints in /no/such.ini: there is no such file");
}

#[test]
fn endpoints_of_both_kinds_are_one_list() {
    let scratch = Scratch::new("both", "[two]\nPort = 2\n");
    let table = format!(
        "[gateway]\nfile = {:?}\n[[endpoints]]\nname = \"one\"\nurl = \"ws://h:1\"\n",
        scratch.path()
    );
    let config = said().file(&table).config();
    assert_eq!(
        urls(&config),
        [("one".to_owned(), "ws://h:1/".to_owned()), ("two".to_owned(), "ws://127.0.0.1:2/".to_owned())]
    );
    let error = said().file(&table.replace("\"one\"", "\"TWO\"")).error();
    let expected = format!("{}:1: an endpoint \"two\" is at whub.toml:3 already", scratch.path());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_table_says_all_that_an_endpoint_needs() {
    let file = "[[endpoints]]\nname = \"chat\"\nalias = \"Old Chat\"\nupstreams = [\"ws://a:1/x\", \"wss://b/y?k=v\"]\n\
                balance = \"round_robin\"\nheaders = { \"X-Tenant\" = \"acme\", \"X-B\" = \" two words \" }\n\
                authorization_env = \"CHAT\"\nprotocols = [\"graphql-ws\"]\ntls_roots = \"roots.pem\"\n\
                connect_timeout = \"1s\"\nhealth = \"http:/health?deep\"\nhealth_interval = \"2s\"\nbackoff_max = \"3s\"\n\
                connections = 7\naccess = \"named\"\nclients = [\"ada\"]\nwhen_down = \"hold 4s\"\nwindow = \"64KiB\"\n\
                command = \"exec ./chat\"\ncommand_folder = \"/srv\"\ncommand_restarts = 3\ncommand_stop = \"6s\"\n";
    let roots = Scratch::new("roots", &authority());
    let file = file.replace("roots.pem", &roots.path());
    let config = said().file(&file).variable("CHAT", "Bearer s3cret").config();
    let [chat] = config.endpoints.as_slice() else { panic!("{:?}", config.endpoints) };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let seconds = Duration::from_secs;
    assert_eq!(chat.headers, [pair("x-b", "two words"), pair("x-tenant", "acme")]);
    assert_eq!(chat.authorization.as_ref().map(|secret| secret.expose()), Some("Bearer s3cret"));
    assert_eq!((chat.balance, &chat.health), (Balance::RoundRobin, &Health::Http("/health?deep".to_owned())));
    assert_eq!(
        (chat.connect_timeout, chat.health_interval, chat.backoff_max, chat.when_down),
        (seconds(1), seconds(2), seconds(3), WhenDown::Hold(seconds(4)))
    );
    assert_eq!((chat.connections, chat.window_bytes), (Some(7), 64 << 10));
    assert_eq!(chat.tls_roots, Some(PathBuf::from(roots.path())));
    assert_eq!(
        (chat.access, chat.clients.as_slice()),
        (EndpointAccess::Named, ["ada".to_owned()].as_slice())
    );
    let process = chat.process.as_ref().expect("a command");
    assert_eq!((process.restarts_max, process.stop_timeout), (3, seconds(6)));
    let list =
        "[[endpoints]]\nname = \"a\"\nurl = \"ws://a:1\"\nheaders = [\"Cookie: a=1\", \"cookie:b=2\"]\n";
    assert_eq!(
        said().file(list).config().endpoints[0].headers,
        [pair("cookie", "a=1"), pair("cookie", "b=2")]
    );
}

/// A certificate, in PEM form, that others could be checked by.
fn authority() -> String {
    let params = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).expect("a name");
    params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

#[test]
fn authorities_that_cannot_be_read_are_told_with_their_file() {
    let said_of = |path: &str| {
        let file = format!("[[endpoints]]\nname = \"a\"\nurl = \"wss://h\"\ntls_roots = {path:?}\n");
        said().file(&file).error()
    };
    assert_eq!(
        said_of("/no/roots.pem"),
        "whub.toml:4: endpoint \"a\": tls_roots: cannot read /no/roots.pem: No such file or directory (os error 2)"
    );
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    for (name, text, expected) in [
        ("empty", "", "PATH holds no certificate or no private key in PEM form"),
        ("words", "not a certificate\n", "PATH holds no certificate or no private key in PEM form"),
        ("key", &key, "PATH holds no certificate or no private key in PEM form"),
        ("torn", "-----BEGIN CERTIFICATE-----\nMIIB\n", "PATH is not valid PEM: "),
        (
            "garbage",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "a certificate in PATH cannot be used: ",
        ),
    ] {
        let roots = Scratch::new(name, text);
        let expected =
            format!("whub.toml:4: endpoint \"a\": tls_roots: {}", expected.replace("PATH", &roots.path()));
        let error = said_of(&roots.path());
        assert!(error.starts_with(&expected), "{name}: {error}");
    }
}

#[test]
fn a_credential_may_be_the_first_line_of_a_file() {
    let said_of = |path: &str| {
        said()
            .file(&format!("[[endpoints]]\nname = \"a\"\nurl = \"ws://h\"\nauthorization_file = {path:?}\n"))
    };
    let file = Scratch::new("credential", "Basic dTpw\nanother line\n");
    let config = said_of(&file.path()).config();
    assert_eq!(config.endpoints[0].authorization.as_ref().map(|secret| secret.expose()), Some("Basic dTpw"));
    let empty = Scratch::new("no-credential", "\n");
    let error = said_of(&empty.path()).error();
    let expected = format!(
        "whub.toml:1: endpoint \"a\" wants its authorization from {}, whose first line ",
        empty.path()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(
        said_of("/no/such").error(),
        "whub.toml:1: endpoint \"a\" wants its authorization from /no/such: No such file or directory (os error 2)"
    );
}

#[test]
fn what_nobody_says_has_a_default() {
    let config = said().file("[[endpoints]]\nname = \"a\"\nurl = \"ws://a\"\n").config();
    let [a] = config.endpoints.as_slice() else { panic!("{:?}", config.endpoints) };
    let seconds = Duration::from_secs;
    assert_eq!(
        (a.balance, &a.health, a.access),
        (Balance::LeastConnections, &Health::Connect, EndpointAccess::Public)
    );
    assert_eq!((a.connect_timeout, a.health_interval, a.backoff_max), (seconds(5), seconds(5), seconds(10)));
    assert_eq!(
        (a.connections, a.when_down, a.window_bytes, &a.process),
        (None, WhenDown::Refuse, 1 << 20, &None)
    );
}

#[test]
fn an_endpoint_may_be_a_service_a_channel_or_a_pair() {
    let file = "[[endpoints]]\nname = \"a\"\nservice = \"chat\"\ncommand = \"x\"\n[[endpoints]]\nname = \"b\"\nchannel = \"news/eu\"\n\
                [[endpoints]]\nname = \"c\"\npair = \"room 7\"\n";
    let targets: Vec<_> =
        said().file(file).config().endpoints.into_iter().map(|endpoint| endpoint.target).collect();
    let expected = [
        Target::Service("/chat".to_owned()),
        Target::Channel("news/eu".to_owned()),
        Target::Pair("room 7".to_owned()),
    ];
    assert_eq!(targets, expected);
}

#[test]
fn what_makes_no_sense_is_refused_in_its_place() {
    let a = "[[endpoints]]\nname = \"a\"\n";
    let with_url = |more: &str| format!("{a}url = \"ws://h:1\"\n{more}");
    for (file, expected) in [
        ("[[endpoints]]\nurl = \"ws://h:1\"\n".to_owned(), "whub.toml:1: this endpoint has no name"),
        (a.to_owned(), "whub.toml:1: endpoint \"a\" is nothing yet; give it one of url, upstreams, service"),
        (with_url("pair = \"x\"\n"), "whub.toml:4: endpoint \"a\" has both url and pair; it is one of them"),
        (
            with_url("uppstreams = []\n"),
            "whub.toml:4: unknown key of an endpoint `uppstreams`; the nearest valid one is `upstreams`",
        ),
        (format!("{a}upstreams = []\n"), "whub.toml:3: endpoints.upstreams: the list is empty"),
        (
            format!("{a}url = \"ws://me:pw@h\"\n"),
            "whub.toml:3: endpoints.url: the URL of an endpoint holds no user",
        ),
        (format!("{a}url = \"h:80\"\n"), "whub.toml:3: endpoints.url: an endpoint is a URL such as ws://"),
        (
            format!("{a}url = [\"ws://h/?key=secret\"]\n"),
            "whub.toml:3: endpoints.url is a list, but wants a string",
        ),
        (format!("{a}channel = \"a/#\"\n"), "whub.toml:3: endpoints.channel: "),
        (format!("{a}service = \"/a/%zz\"\n"), "whub.toml:3: endpoints.service: "),
        (
            with_url("balance = \"best\"\n"),
            "whub.toml:4: endpoints.balance is \"best\", but wants \"least_connections\" or",
        ),
        (
            with_url("balance = \"first\"\n"),
            "whub.toml:4: endpoint \"a\": balance says nothing here; there is only one upstream",
        ),
        (with_url("tls_roots = \"x\"\n"), "whub.toml:4: endpoint \"a\": tls_roots says nothing here"),
        (
            with_url("command_stop = \"1s\"\n"),
            "whub.toml:4: endpoint \"a\": command_stop says nothing here; there is no command",
        ),
        (
            format!("{a}pair = \"p\"\ncommand = \"x\"\n"),
            "whub.toml:4: endpoint \"a\": command says nothing here",
        ),
        (
            format!("{a}pair = \"p\"\nhealth = \"off\"\n"),
            "whub.toml:4: endpoint \"a\": health says nothing here; it is for url and upstreams",
        ),
        (
            with_url("health = \"http:health\"\n"),
            "whub.toml:4: endpoints.health is \"http:health\", but wants \"connect\", \"websocket\", \"off\"",
        ),
        (
            with_url("when_down = \"hold\"\n"),
            "whub.toml:4: endpoints.when_down is \"hold\", but wants \"refuse\", or \"hold\" and a duration",
        ),
        (with_url("when_down = \"hold 1h\"\n"), "whub.toml:4: endpoints.when_down is \"hold 1h\", but wants"),
        (
            with_url("access = \"named\"\n"),
            "whub.toml:4: endpoint \"a\": access = \"named\" needs the names of tokens",
        ),
        (with_url("clients = [\"x\"]\n"), "whub.toml:4: endpoint \"a\": `clients` is for access = \"named\""),
        (with_url("protocols = [\"a b\"]\n"), "whub.toml:4: endpoints.protocols: \"a b\" is no subprotocol"),
        (
            with_url("protocols = [\"whub.bearer.x\"]\n"),
            "whub.toml:4: endpoints.protocols: \"whub.bearer.x\" would be taken for a token",
        ),
        (
            with_url("headers = [\"X: a\\u0007\"]\n"),
            "whub.toml:4: endpoints.headers: header \"X\" has a value with control",
        ),
        (
            with_url("headers = { \"a b\" = \"c\" }\n"),
            "whub.toml:4: endpoints.headers: header \"a b\" has no name of a header",
        ),
        (
            with_url("headers = { Host = \"c\" }\n"),
            "whub.toml:4: endpoints.headers: header \"Host\" is the hub's own to set",
        ),
        (
            with_url("headers = { Sec-WebSocket-Key = \"c\" }\n"),
            "whub.toml:4: endpoints.headers: header \"Sec-WebSocket-Key\" is the hub's",
        ),
        (
            with_url("headers = [\"Authorization: x\"]\n"),
            "whub.toml:4: endpoints.headers: header \"Authorization\" is set by authorization",
        ),
        (
            with_url("headers = [\"s3cret\"]\n"),
            "whub.toml:4: endpoints.headers is a list, but wants a table of names and values, or",
        ),
        (
            with_url("authorization = \"Bearer\\n\"\n"),
            "whub.toml:4: endpoints.authorization: the value has characters",
        ),
        (
            with_url("authorization = \"x\"\nauthorization_env = \"X\"\n"),
            "whub.toml:1: endpoint \"a\" has more than one of authorization, authorization_file",
        ),
        (
            with_url("authorization_env = \"GONE\"\n"),
            "whub.toml:1: endpoint \"a\" wants its authorization from GONE, which is not set",
        ),
        (
            "[[endpoints]]\nname = \"a\"\nupstreams = [\"ws://h:1\", \"ws://localhost:9482\"]\n".to_owned(),
            "whub.toml:3: endpoint \"a\": ws://localhost:9482/ is this hub itself, which listens on 127.0.0.1:9482",
        ),
        ("endpoints = 1\n".to_owned(), "whub.toml:1: endpoints are tables of the configuration file"),
    ] {
        let error = said().file(&file).error();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("secret") && !error.contains("s3cret") && !error.contains("pw"), "{error}");
    }
    assert!(
        said().set("endpoints.url=ws://x").error().contains("endpoints are tables of the configuration file")
    );
}

#[test]
fn changes_apply_without_a_restart() {
    let a = "[[endpoints]]\nname = \"a\"\nurl = \"ws://h:1\"\n";
    let old = said().config();
    let new = said().file(a).config();
    let found: Vec<_> =
        differences(&old, &new).iter().map(|change| (change.key, change.reloadable)).collect();
    assert_eq!(found, [("endpoints", true)]);
    assert_eq!(reloaded(&old, &new).expect("it can change").endpoints, new.endpoints);

    let elsewhere =
        said().file(&format!("listen = [\"127.0.0.1:1\"]\n{}", a.replace("h:1", "localhost:9482"))).config();
    let refused = reloaded(&old, &elsewhere).expect_err("the node still listens there").to_string();
    assert!(refused.starts_with("endpoint \"a\": ws://localhost:9482/ is this hub itself"), "{refused}");
}

#[test]
fn endpoints_are_shown_without_their_secrets() {
    let file = "[[endpoints]]\nname = \"a\"\nurl = \"ws://h:1/x?token=s3cret\"\nauthorization = \"Bearer s3cret\"\n\
                headers = [\"X-Api-Key: s3cret\", \"X-Tenant: acme\"]\nhealth = \"http:/up?token=s3cret\"\n\
                [[endpoints]]\nname = \"b\"\npair = \"p\"\n";
    let loaded = said().file(file).loaded();
    let shown = loaded.show();
    let (_, tables) = shown.split_once("\n[[endpoints]]").expect("a table");
    assert_eq!(
        tables,
        "  # whub.toml:1\nname = \"a\"\nurl = \"ws://h:1/x?…\"\n\
         headers = [\"x-api-key: [redacted]\", \"x-tenant: acme\"]\nauthorization = \"[redacted]\"\nprotocols = []\n\
         connect_timeout = \"5s\"\nhealth = \"http:/up?token=[redacted]\"\nhealth_interval = \"5s\"\nbackoff_max = \"10s\"\n\
         connections = \"none\"\naccess = \"public\"\nwhen_down = \"refuse\"\nwindow = \"1MiB\"\n\n\
         [[endpoints]]  # whub.toml:7\nname = \"b\"\npair = \"p\"\nprotocols = []\nconnections = \"none\"\n\
         access = \"public\"\nwhen_down = \"refuse\"\nwindow = \"1MiB\"\n"
    );
    let json = loaded.show_json();
    assert_eq!(json["endpoints"][1]["at"], "whub.toml:7");
    assert!(!shown.contains("s3cret") && !json.to_string().contains("s3cret"));
}

#[test]
fn endpoints_that_are_shown_read_back() {
    let file = "[[endpoints]]\nname = \"a\"\nalias = \"b\"\nupstreams = [\"ws://h:1/x\", \"wss://h\"]\nbalance = \"first\"\n\
                health = \"websocket\"\nwhen_down = \"hold 5s\"\ncommand = \"a \\\"b\\\"\"\n\
                [[endpoints]]\nname = \"c\"\nchannel = \"c\"\naccess = \"named\"\nclients = [\"ada\"]\n";
    let loaded = said().file(file).loaded();
    assert_eq!(said().file(&loaded.show()).config(), loaded.config);
}
