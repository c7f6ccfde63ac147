//! The steps that come with the hub, each in a dialogue.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, World};
use whub_core::Identity;
use whub_core::middleware::{
    Authentication, BlockList, Blocking, Chain, HeaderNames, HeaderRules, HeaderStep, Middleware, Network,
    PerService, Rate, RateLimit, RateLimits, Rates, RequestId, SizeLimit, Sizes, Throttle,
};
use whub_proto::names::Pattern;
use whub_proto::{Body, Flags, Headers, Hello, Register, Request, Response};

const SECOND: Duration = Duration::from_secs(1);

fn world(step: impl Middleware + 'static) -> World {
    let world = World::new();
    put(&world, step);
    world
}

fn put(world: &World, step: impl Middleware + 'static) {
    let now = world.now;
    world.hub.chain.replace(Chain::new(vec![Arc::new(step)], Arc::new(move || now)));
}

fn provide(world: &World, pattern: &str) -> Client {
    let mut provider = world.client();
    provider.says(world.now, 1, &Body::Register(Register { path: pattern, ..Register::default() }));
    assert_eq!(provider.hears(), ["ok #1"]);
    provider
}

/// A client at this address, with this token's name.
fn client(world: &World, address: &str, user: &str) -> Client {
    let mut client = world.stranger_at(address);
    if let (Ok(identity), false) = (&mut client.identity, user.is_empty()) {
        *identity = Identity { user: Some(user.into()), ..identity.clone() };
    }
    client.says(world.now, 0, &Body::Hello(Hello::default()));
    assert_eq!(client.hears(), ["welcome"]);
    client
}

/// Asks, and says what came of it: the error, or nothing where the provider was asked.
fn ask(world: &World, caller: &mut Client, id: u64, path: &str) -> String {
    let body = Body::Request(Request { path, ..Request::default() });
    caller.sends(world.now, id, Flags::END, &body, b"");
    caller.hears().pop().unwrap_or_default()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn names(list: &[&str]) -> HeaderNames {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn request_id_names_calls_that_have_no_name() {
    let world = world(RequestId);
    let (mut provider, mut caller) = (provide(&world, "/a"), world.client());
    for (id, given, expected) in [(1, "", "c-1.1"), (3, "mine", "mine"), (5, "not sane", "c-1.3")] {
        let pairs = [("x-request-id", given)];
        let headers = if given.is_empty() { Headers::EMPTY } else { Headers::new(&pairs) };
        let body = Body::Request(Request { path: "/a", headers, ..Request::default() });
        caller.sends(world.now, id, Flags::END, &body, b"");
        provider.turn(world.now);
        assert_eq!(provider.headers_heard(), [("x-request-id".to_owned(), expected.to_owned())]);
    }
}

#[test]
fn authentication_wants_a_token_where_it_is_told_so() {
    let world = world(Authentication { required: vec![pattern("/billing/*rest")] });
    let _provider = provide(&world, "/*rest");
    let mut nobody = client(&world, "192.0.2.1:9", "");
    assert_eq!(ask(&world, &mut nobody, 1, "/billing/total"), "error #1 401 auth.required retry 0");
    assert_eq!(ask(&world, &mut nobody, 3, "/open"), "");
    let mut ada = client(&world, "192.0.2.1:9", "ada");
    assert_eq!(ask(&world, &mut ada, 1, "/billing/total"), "");
}

#[test]
fn size_limit_refuses_what_is_declared_and_the_service_decides_before_the_hub() {
    let services =
        PerService::new(vec![(pattern("/big/*rest"), Sizes { request: Some(100), response: None })]);
    let world = world(SizeLimit { global: Sizes { request: Some(4), response: Some(4) }, services });
    let (mut small, mut big, mut caller) = (provide(&world, "/a"), provide(&world, "/big/a"), world.client());
    let send = |caller: &mut Client, id, path, flags, headers: &[(&str, &str)], payload: &[u8]| {
        let body = Body::Request(Request { path, headers: Headers::new(headers), ..Request::default() });
        caller.sends(world.now, id, flags, &body, payload);
        caller.hears()
    };
    let too_large = |id| vec![format!("error #{id} 413 call.request_too_large retry 0")];
    assert_eq!(send(&mut caller, 1, "/a", Flags::END, &[], b"12345"), too_large(1));
    assert_eq!(send(&mut caller, 1, "/a", Flags::NONE, &[("content-length", "5")], b"1"), too_large(1));
    assert_eq!(send(&mut caller, 1, "/a", Flags::NONE, &[], b"12345"), too_large(1));
    assert!(send(&mut caller, 1, "/a", Flags::END, &[], b"1234").is_empty());
    assert!(send(&mut caller, 3, "/big/a", Flags::END, &[], b"12345").is_empty());
    for (id, provider) in [(1, &mut small), (3, &mut big)] {
        provider.turn(world.now);
        provider.sends(world.now, 2, Flags::END, &Body::Response(Response::default()), b"12345");
        caller.turn(world.now);
        assert_eq!(caller.hears(), [format!("error #{id} 502 call.response_too_large retry 0")]);
    }
    assert!(caller.session.is_quiet() && small.session.is_quiet() && big.session.is_quiet());
}

fn rate(count: u32, burst: u32) -> Option<Rate> {
    Some(Rate { count, period: SECOND, burst })
}

#[test]
fn rate_limit_counts_clients_addresses_and_services_apart() {
    let own = Rates { service: rate(1, 3), ..Rates::default() };
    let limits = RateLimits {
        global: Rates { client: rate(1, 1), address: rate(1, 2), service: None },
        services: PerService::new(vec![(pattern("/busy"), own)]),
        exempt: vec![Network::Ip { base: [127, 0, 0, 1].into(), prefix: 8 }],
    };
    let mut world = world(RateLimit::new(&limits, None));
    let _providers = [provide(&world, "/a"), provide(&world, "/busy")];
    let mut ada = client(&world, "192.0.2.1:1", "ada");
    let mut ada_again = client(&world, "192.0.2.1:2", "ada");
    let mut bert = client(&world, "192.0.2.1:3", "bert");
    let mut cy = client(&world, "192.0.2.1:4", "cy");
    assert_eq!(ask(&world, &mut ada, 1, "/a"), "");
    assert_eq!(ask(&world, &mut ada_again, 1, "/a"), "error #1 429 rate.client retry 1000");
    assert_eq!(ask(&world, &mut bert, 1, "/a"), "");
    assert_eq!(ask(&world, &mut cy, 1, "/a"), "error #1 429 rate.address retry 1000");
    world.pass(SECOND / 4);
    assert_eq!(
        ask(&world, &mut ada, 3, "/nobody"),
        "error #3 429 rate.client retry 750",
        "whoever provides it"
    );
    world.pass(3 * SECOND);
    for (index, expected) in ["", "", "", "error #1 429 rate.service retry 1000"].into_iter().enumerate() {
        let mut local = client(&world, "127.0.0.1:1", &format!("local-{index}"));
        assert_eq!(ask(&world, &mut local, 1, "/busy"), expected, "{index}");
    }
}

#[test]
fn rate_limit_keeps_its_buckets_where_the_rate_stays() {
    let limits = |count| RateLimits {
        global: Rates { client: rate(1, 1), address: rate(count, 1), service: None },
        ..RateLimits::default()
    };
    let first = RateLimit::new(&limits(1), None);
    let second = RateLimit::new(&limits(2), Some(&first));
    let world = world(first);
    let _provider = provide(&world, "/a");
    let mut ada = client(&world, "192.0.2.1:1", "ada");
    assert_eq!(ask(&world, &mut ada, 1, "/a"), "");
    assert_eq!(second.buckets(), 1, "ada's is kept, that of the address is not");
    put(&world, second);
    assert_eq!(ask(&world, &mut ada, 3, "/a"), "error #3 429 rate.client retry 1000");
    let mut bert = client(&world, "192.0.2.1:1", "bert");
    assert_eq!(ask(&world, &mut bert, 1, "/a"), "");
}

#[test]
fn block_list_turns_networks_away_and_blocks_who_asks_far_too_much() {
    let throttle = Throttle { count: 1, window: SECOND, block_for: 3600 * SECOND };
    let blocking = Blocking {
        blocked: vec![Network::Ip { base: [203, 0, 113, 0].into(), prefix: 24 }],
        throttle: Some(throttle),
        exempt: Vec::new(),
    };
    let step = BlockList::new(blocking.clone(), None);
    let kept = BlockList::new(blocking, Some(&step));
    let mut world = world(step);
    let _provider = provide(&world, "/a");
    let mut bad = client(&world, "203.0.113.7:1", "");
    assert_eq!(ask(&world, &mut bad, 1, "/a"), "error #1 403 access.blocked retry 0");
    let mut eager = client(&world, "[2001:db8::1]:1", "");
    let mut outcomes = Vec::new();
    for id in 0..6 {
        outcomes.push(ask(&world, &mut eager, 2 * id + 1, "/a"));
    }
    assert_eq!(outcomes[0], "");
    assert_eq!(outcomes[1], "error #3 429 rate.throttle retry 1000");
    assert_eq!(outcomes[4], "error #9 403 access.blocked retry 0");
    world.pass(3599 * SECOND);
    put(&world, kept);
    let mut neighbour = client(&world, "[2001:db8::2]:1", "");
    assert_eq!(
        ask(&world, &mut neighbour, 1, "/a"),
        "error #1 403 access.blocked retry 0",
        "the same customer"
    );
    world.pass(SECOND);
    assert_eq!(ask(&world, &mut neighbour, 3, "/a"), "");
}

/// What of these a provider of `/a` sees.
fn seen(step: HeaderStep, headers: &[(&str, &str)]) -> Vec<String> {
    let world = world(step);
    let (mut provider, mut caller) = (provide(&world, "/a"), world.client());
    let body = Body::Request(Request { path: "/a", headers: Headers::new(headers), ..Request::default() });
    caller.sends(world.now, 1, Flags::END, &body, b"");
    provider.turn(world.now);
    provider.headers_heard().into_iter().map(|(name, _)| name).collect()
}

const SENT: [(&str, &str); 8] = [
    ("Authorization", "Bearer app"),
    ("cookie", "c=1"),
    ("x-to", "c-2"),
    ("connection", "close"),
    ("whub-token", "s"),
    ("content-type", "text/plain"),
    ("x-tenant", "acme"),
    ("x-internal-key", "k"),
];

#[test]
fn headers_keep_credentials_back_unless_a_rule_passes_them() {
    let seen = |global, services| seen(HeaderStep::new(global, services), &SENT);
    let none = HeaderRules::default;
    assert_eq!(seen(none(), PerService::default()), ["content-type", "x-tenant", "x-internal-key"]);
    let rules = HeaderRules {
        request_pass: names(&["authorization"]),
        request_block: names(&["x-internal-*"]),
        ..none()
    };
    assert_eq!(seen(rules.clone(), PerService::default()), ["Authorization", "content-type", "x-tenant"]);
    let allow = HeaderRules { request_allow: names(&["x-tenant", "cookie"]), ..none() };
    assert_eq!(seen(allow.clone(), PerService::default()), ["x-tenant"], "to allow is not to pass");
    let own = HeaderRules { request_pass: names(&["cookie", "connection", "whub-*"]), ..allow };
    let services = PerService::new(vec![(pattern("/a"), own)]);
    assert_eq!(seen(rules, services), ["Authorization", "cookie", "x-tenant"], "the hub's own never pass");
}

#[test]
fn names_that_others_may_read_otherwise_do_not_pass() {
    let sent =
        ["cookie ", "\tcookie", "coo\u{212a}ie", "", "x-a\r\ncookie", "x-a/b"].map(|name| (name, "c=1"));
    assert_eq!(seen(HeaderStep::new(HeaderRules::default(), PerService::default()), &sent), ["x-a/b"]);
}

#[test]
fn what_is_blocked_does_not_pass_in_disguise() {
    let sent = ["x-user", "X_User", "x_internal_key", "x-username"].map(|name| (name, "root"));
    let rules = HeaderRules { request_block: names(&["x-user", "x-internal-*"]), ..HeaderRules::default() };
    assert_eq!(seen(HeaderStep::new(rules, PerService::default()), &sent), ["x-username"]);
}

#[test]
fn nobody_over_the_protocol_says_which_way_it_came() {
    let sent = [
        ("X-Forwarded-For", "192.0.2.1"),
        ("x_forwarded_for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("whub_token", "s"),
        ("x-forward", "to the shop"),
        ("traceparent", "00-1-1-01"),
    ];
    let seen = |rules| seen(HeaderStep::new(rules, PerService::default()), &sent);
    assert_eq!(seen(HeaderRules::default()), ["x-forward", "traceparent"]);
    let rules = HeaderRules { request_pass: names(&["x-real-ip"]), ..HeaderRules::default() };
    assert_eq!(seen(rules), ["x-real-ip", "x-forward", "traceparent"], "the operator may believe them");
}

#[test]
fn headers_of_answers_are_kept_or_blocked() {
    let answer = |global: HeaderRules, own: HeaderRules| {
        let services = PerService::new(vec![(pattern("/a"), own)]);
        let world = world(HeaderStep::new(global, services));
        let (mut provider, mut caller) = (provide(&world, "/a"), world.client());
        assert_eq!(ask(&world, &mut caller, 1, "/a"), "");
        provider.turn(world.now);
        let pairs = [("content-type", "a/b"), ("server", "x"), ("x-debug", "1"), ("etag", "e")];
        let response = Response { headers: Headers::new(&pairs), ..Response::default() };
        provider.sends(world.now, 2, Flags::END, &Body::Response(response), b"");
        caller.turn(world.now);
        caller.headers_heard().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let none = HeaderRules::default;
    assert_eq!(answer(none(), none()), ["content-type", "server", "x-debug", "etag"]);
    let block = HeaderRules { response_block: names(&["server"]), ..none() };
    let keep = HeaderRules { response_keep: names(&["etag", "server"]), ..none() };
    assert_eq!(answer(block.clone(), none()), ["content-type", "x-debug", "etag"]);
    assert_eq!(answer(block, keep.clone()), ["content-type", "etag"]);
    let own = HeaderRules { response_keep: names(&["x-debug"]), ..none() };
    assert_eq!(answer(keep, own), ["content-type", "x-debug"], "the service's list holds");
}
