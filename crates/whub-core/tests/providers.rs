//! Providers: who is chosen, who may call, who comes and goes.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, World};
use whub_core::{Choose, ServiceChange, ServiceEvent, ServiceObserver, ServiceSettings, SessionLimits};
use whub_proto::names::{Pattern, ServicePath};
use whub_proto::{
    Access, Body, Code, Drain, Failure, Flags, Headers, Hello, Register, Request, Response, Strings,
    Unregister,
};

fn register(world: &World, client: &mut Client, id: u64, register: Register<'_>) {
    client.says(world.now, id, &Body::Register(register));
    assert_eq!(client.hears(), [format!("ok #{id}")]);
}

fn provider(world: &World, path: &str, weight: u16) -> Client {
    let mut client = world.client();
    register(world, &mut client, 1, Register { path, weight, ..Register::default() });
    client
}

fn ask(world: &World, caller: &mut Client, id: u64, path: &str, key: &str) {
    let request = Request { path, key, ..Request::default() };
    caller.sends(world.now, id, Flags::END, &Body::Request(request), b"");
}

/// How many calls each of them was given since the last look; they are answered.
fn answered(world: &World, providers: &mut [Client], next: &mut [u64]) -> Vec<usize> {
    let mut counts = Vec::new();
    for (provider, next) in providers.iter_mut().zip(next) {
        provider.turn(world.now);
        let asked = provider.hears().len();
        for _ in 0..asked {
            *next += 2;
            provider.sends(world.now, *next, Flags::END, &Body::Response(Response::default()), b"");
        }
        counts.push(asked);
    }
    counts
}

fn service(world: &World, path: &str) -> Arc<whub_core::Service> {
    world.hub.services.find(&ServicePath::parse(path).unwrap()).unwrap()
}

fn choose(world: &World, choose: Choose) {
    world.configure(ServiceSettings { choose, ..ServiceSettings::default() });
}

// ------------------------------------------------------------------------------------------------ choosing

#[test]
fn a_thousand_callers_load_a_hundred_providers_alike() {
    let world = World::new();
    let mut providers: Vec<Client> = (0..100).map(|_| provider(&world, "/work", 1)).collect();
    let mut callers: Vec<Client> = (0..1000).map(|_| world.client()).collect();
    let mut counts = vec![0; 100];
    for round in 0..220_u64 {
        for caller in &mut callers {
            ask(&world, caller, round * 2 + 1, "/work", "");
        }
        // All are in flight before the first is answered.
        for (count, provider) in counts.iter_mut().zip(&mut providers) {
            *count += provider.inbox.state.lock().unwrap().letters.len();
            provider.turn(world.now);
            let asked = u64::try_from(provider.hears().len()).unwrap();
            let given = u64::try_from(*count).unwrap();
            for number in given - asked..given {
                let response = Body::Response(Response::default());
                provider.sends(world.now, (number + 1) * 2, Flags::END, &response, b"");
            }
        }
        for caller in &mut callers {
            caller.turn(world.now);
            caller.hears();
        }
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least >= 2000 && *most * 10 <= *least * 12, "{least} to {most}");
    assert!(service(&world, "/work").inflight() == 0 && world.hub.counters.calls_answered.read() == 220_000);
}

#[test]
fn weights_are_kept_by_every_way_that_knows_them() {
    for (way, slack) in
        [(Choose::RoundRobin, 0), (Choose::Random, 60), (Choose::LeastLoaded, 60), (Choose::Local, 60)]
    {
        let world = World::new();
        choose(&world, way);
        let mut providers =
            [provider(&world, "/work", 1), provider(&world, "/work", 2), provider(&world, "/work", 5)];
        let (mut next, mut counts) = ([0; 3], [0_i32; 3]);
        let mut caller = world.client();
        for call in 0..800 {
            ask(&world, &mut caller, call * 2 + 1, "/work", "");
            for (count, more) in counts.iter_mut().zip(answered(&world, &mut providers, &mut next)) {
                *count += i32::try_from(more).unwrap();
            }
            caller.turn(world.now);
        }
        for (count, share) in counts.iter().zip([100, 200, 500]) {
            assert!((count - share).abs() <= slack, "{way:?} {counts:?}");
        }
    }
}

#[test]
fn the_one_with_less_to_do_is_asked() {
    let world = World::new();
    let (mut one, mut two) = (provider(&world, "/work", 1), provider(&world, "/work", 1));
    let mut caller = world.client();
    for id in [1, 3, 5, 7] {
        ask(&world, &mut caller, id, "/work", "");
    }
    one.turn(world.now);
    two.turn(world.now);
    assert_eq!(
        (one.hears().len(), two.hears().len()),
        (2, 2),
        "nobody gets a third before the other has a second"
    );
}

#[test]
fn of_those_with_as_much_to_do_the_one_that_had_fewer_calls_is_asked() {
    let world = World::new();
    let mut providers = vec![provider(&world, "/work", 1), provider(&world, "/work", 1)];
    let (mut next, mut counts) = (vec![0; 3], [0; 3]);
    let mut caller = world.client();
    let mut call = 1;
    let mut calls = |number: usize, providers: &mut [Client], counts: &mut [usize; 3]| {
        for _ in 0..number {
            ask(&world, &mut caller, call, "/work", "");
            call += 2;
            for (count, more) in counts.iter_mut().zip(answered(&world, providers, &mut next)) {
                *count += more;
            }
            caller.turn(world.now);
        }
    };
    calls(100, &mut providers, &mut counts);
    assert_eq!(counts, [50, 50, 0]);
    // A newcomer has its share of what comes, and not all that the others had before.
    providers.push(provider(&world, "/work", 1));
    calls(90, &mut providers, &mut counts);
    assert!((25..=35).contains(&counts[2]), "{counts:?}");
}

#[test]
fn in_turn_no_provider_gets_two_in_a_row() {
    let world = World::new();
    choose(&world, Choose::RoundRobin);
    let mut providers: Vec<Client> = (0..5).map(|_| provider(&world, "/work", 1)).collect();
    let mut next = [0; 5];
    let mut caller = world.client();
    for round in 0..4 {
        for call in 0..5 {
            ask(&world, &mut caller, round * 10 + call * 2 + 1, "/work", "");
        }
        assert_eq!(answered(&world, &mut providers, &mut next), [1; 5]);
        caller.turn(world.now);
    }
}

/// Whom each of 300 keys goes to, by the name of the provider.
fn owners(world: &World, providers: &mut [Client], next: &mut [u64], caller: &mut Client) -> Vec<usize> {
    let mut owners = Vec::new();
    for key in 0..300_u64 {
        ask(world, caller, key * 2 + 1, "/work", &format!("key {key}"));
        let asked = answered(world, providers, next);
        owners.push(asked.iter().position(|count| *count == 1).unwrap());
        caller.turn(world.now);
    }
    owners
}

#[test]
fn a_key_stays_with_its_provider_when_others_come_and_go() {
    let world = World::new();
    let mut caller = world.client();
    let mut providers: Vec<Client> = (0..4).map(|_| provider(&world, "/work", 1)).collect();
    let mut next = vec![0; 4];
    let before = owners(&world, &mut providers, &mut next, &mut caller);
    for provider in 0..4 {
        let share = before.iter().filter(|owner| **owner == provider).count();
        assert!((40..=110).contains(&share), "provider {provider} has {share} of 300 keys");
    }
    let mut left = providers.pop().unwrap();
    left.vanishes(world.now);
    let after = owners(&world, &mut providers, &mut next, &mut caller);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == 3, "a key left a provider that is still there");
    }
    providers.push(provider(&world, "/work", 1));
    *next.last_mut().unwrap() = 0;
    let grown = owners(&world, &mut providers, &mut next, &mut caller);
    for (before, after) in after.iter().zip(&grown) {
        assert!(before == after || *after == 3, "a key moved between providers that were there before");
    }
}

#[test]
fn a_named_provider_that_comes_back_has_its_keys_again() {
    let world = World::new();
    let named = |name: &str| {
        let mut client = world.stranger();
        client.says(world.now, 0, &Body::Hello(Hello { name, ..Hello::default() }));
        client.hears();
        register(&world, &mut client, 1, Register { path: "/work", ..Register::default() });
        client
    };
    let mut caller = world.client();
    let mut providers = vec![named("red"), named("green"), named("blue")];
    let before = owners(&world, &mut providers, &mut [0; 3], &mut caller);
    let mut red = providers.remove(0);
    red.vanishes(world.now);
    providers.insert(0, named("red"));
    let mut next = [0; 3];
    for (next, provider) in next.iter_mut().zip(&providers).skip(1) {
        // Ids go on where they were.
        *next = 2 * world
            .hub
            .services
            .find(&ServicePath::parse("/work").unwrap())
            .unwrap()
            .providers()
            .iter()
            .find(|known| known.session() == provider.mailbox.session())
            .unwrap()
            .calls();
    }
    assert_eq!(owners(&world, &mut providers, &mut next, &mut caller), before);
}

#[test]
fn a_sticky_service_keeps_a_caller_without_a_key() {
    let world = World::new();
    choose(&world, Choose::Sticky);
    let mut providers: Vec<Client> = (0..8).map(|_| provider(&world, "/work", 1)).collect();
    let mut next = vec![0; 8];
    let mut caller = world.client();
    let mut found = BTreeMap::new();
    for call in 0..20 {
        ask(&world, &mut caller, call * 2 + 1, "/work", "");
        let asked = answered(&world, &mut providers, &mut next);
        *found.entry(asked.iter().position(|count| *count == 1).unwrap()).or_insert(0) += 1;
        caller.turn(world.now);
    }
    assert_eq!(found.into_values().collect::<Vec<_>>(), [20]);
}

#[test]
fn the_next_best_is_asked_when_the_best_for_a_key_is_full() {
    let world = World::new();
    let mut providers = Vec::new();
    for _ in 0..3 {
        let mut client = world.client();
        register(&world, &mut client, 1, Register { path: "/work", max_inflight: 1, ..Register::default() });
        providers.push(client);
    }
    let mut caller = world.client();
    for id in [1, 3, 5] {
        ask(&world, &mut caller, id, "/work", "same");
    }
    for provider in &mut providers {
        provider.turn(world.now);
        assert_eq!(provider.hears().len(), 1);
    }
}

// -------------------------------------------------------------------------------------------- registration

#[test]
fn what_a_provider_says_of_itself_is_kept() {
    let world = World::new();
    let mut client = world.client();
    let said = Register {
        path: "/bills/:op",
        group: "blue",
        weight: 3,
        max_inflight: 9,
        version: "1.4",
        headers: Headers::new(&[("team", "pay")]),
        description: "Sums up.",
        access: Access::Named,
        clients: Strings::new(&["ada"]),
        pass_headers: Strings::new(&["Cookie"]),
    };
    register(&world, &mut client, 1, said);
    let service = service(&world, "/bills/sum");
    let providers = service.providers();
    let kept = &providers[0].registration;
    assert_eq!((&*kept.group, &*kept.version, &*kept.description), ("blue", "1.4", "Sums up."));
    assert_eq!((kept.weight, kept.inflight_max, &*kept.client), (3, 9, "c-1"));
    assert_eq!(*kept.metadata, [("team".into(), "pay".into())]);
    assert_eq!(kept.since_ms, world.now.unix_ms);
    assert_eq!((service.access().name(), &*service.pass_headers()), ("named", &["cookie".into()][..]));
}

#[test]
fn a_header_is_passed_when_all_providers_want_it() {
    let world = World::new();
    let (mut one, mut two) = (world.client(), world.client());
    let wants = |names| Register { path: "/a", pass_headers: Strings::new(names), ..Register::default() };
    register(&world, &mut one, 1, wants(&["cookie", "from"]));
    assert_eq!(service(&world, "/a").pass_headers().len(), 2);
    register(&world, &mut two, 1, wants(&["from"]));
    assert_eq!(&*service(&world, "/a").pass_headers(), ["from".into()]);
}

#[test]
fn the_strictest_provider_decides_who_may_call() {
    let world = World::new();
    let (mut free, mut strict) = (world.client(), world.client());
    register(&world, &mut free, 1, Register { path: "/a", ..Register::default() });
    let mut stranger = world.client();
    let tries = |client: &mut Client, id| {
        ask(&world, client, id, "/a", "");
        client.hears()
    };
    assert_eq!(tries(&mut stranger, 1), Vec::<String>::new());
    let authenticated = Register { path: "/a", access: Access::Authenticated, ..Register::default() };
    register(&world, &mut strict, 1, authenticated);
    assert_eq!(tries(&mut stranger, 3), ["error #3 401 service.unauthorized retry 0"]);
    strict.vanishes(world.now);
    assert_eq!(tries(&mut stranger, 5), Vec::<String>::new());
}

#[test]
fn callers_are_told_why_a_service_is_not_for_them() {
    let world = World::new();
    let mut strict = world.client();
    let authenticated = Register { path: "/a", access: Access::Authenticated, ..Register::default() };
    register(&world, &mut strict, 1, authenticated);
    let named = Register {
        path: "/b",
        access: Access::Named,
        clients: Strings::new(&["bert"]),
        ..Register::default()
    };
    register(&world, &mut strict, 3, named);
    let (mut nobody, mut ada, mut bert) = (world.client(), world.client_of("ada"), world.client_of("bert"));
    let tries = |client: &mut Client, id, path| {
        ask(&world, client, id, path, "");
        client.hears()
    };
    assert_eq!(tries(&mut nobody, 1, "/a"), ["error #1 401 service.unauthorized retry 0"]);
    assert_eq!(tries(&mut nobody, 3, "/b"), ["error #3 401 service.unauthorized retry 0"]);
    assert_eq!(tries(&mut ada, 1, "/a"), Vec::<String>::new());
    assert_eq!(tries(&mut ada, 3, "/b"), ["error #3 403 service.forbidden retry 0"]);
    assert_eq!(tries(&mut bert, 1, "/b"), Vec::<String>::new());
    let open = ServiceSettings { access: Some(whub_core::AccessRule::Public), ..ServiceSettings::default() };
    world.configure(open);
    assert_eq!(tries(&mut nobody, 5, "/b"), Vec::<String>::new(), "the configuration wins");
}

#[test]
fn registrations_out_of_bounds_are_refused() {
    let world = World::new();
    let mut client = world.client();
    let long = "x".repeat(2000);
    for (id, register, expected) in [
        (1, Register { weight: 0, ..Register::default() }, "400 register.weight"),
        (3, Register { group: &long, ..Register::default() }, "413 register.too_large"),
        (5, Register { access: Access::Unknown(9), ..Register::default() }, "400 register.access"),
        (7, Register { clients: Strings::new(&["ada"]), ..Register::default() }, "400 register.access"),
    ] {
        client.says(world.now, id, &Body::Register(Register { path: "/a", ..register }));
        assert_eq!(client.hears(), [format!("error #{id} {expected} retry 0")]);
    }
}

#[test]
fn services_and_sessions_are_many_to_many() {
    let world = World::with_limits(SessionLimits { services: 3, ..SessionLimits::default() });
    let (mut one, mut two) = (world.client(), world.client());
    for (index, path) in ["/a", "/b", "/c"].into_iter().enumerate() {
        let id = u64::try_from(index).unwrap() * 2 + 1;
        register(&world, &mut one, id, Register { path, ..Register::default() });
        register(&world, &mut two, id, Register { path, ..Register::default() });
    }
    one.says(world.now, 9, &Body::Register(Register { path: "/d", ..Register::default() }));
    assert_eq!(one.hears(), ["error #9 429 services.limit retry 0"]);
    let providers: Vec<usize> =
        world.hub.services.list().iter().map(|known| known.providers().len()).collect();
    assert_eq!(providers, [2, 2, 2]);
    one.vanishes(world.now);
    let providers: Vec<usize> =
        world.hub.services.list().iter().map(|known| known.providers().len()).collect();
    assert_eq!(providers, [1, 1, 1], "a lost provider leaves all of them at once");
}

// ------------------------------------------------------------------------------------------------- leaving

#[test]
fn a_provider_that_drains_finishes_its_own_calls_and_gets_no_new_ones() {
    let world = World::new();
    let (mut one, mut two) = (provider(&world, "/a", 1), provider(&world, "/a", 1));
    let mut caller = world.client();
    ask(&world, &mut caller, 1, "/a", "");
    ask(&world, &mut caller, 3, "/a", "");
    one.turn(world.now);
    assert_eq!(one.hears().len(), 1);
    one.says(world.now, 0, &Body::Drain(Drain::default()));
    for id in [5, 7, 9] {
        ask(&world, &mut caller, id, "/a", "");
    }
    one.turn(world.now);
    two.turn(world.now);
    assert_eq!((one.hears().len(), two.hears().len()), (0, 4));
    one.sends(world.now, 2, Flags::END, &Body::Response(Response::default()), b"done");
    caller.turn(world.now);
    assert_eq!(caller.hears().len(), 1);
}

#[test]
fn calls_outlive_an_unregistered_service_for_its_grace() {
    let mut world = World::new();
    let mut provider = provider(&world, "/a", 1);
    let mut caller = world.client();
    ask(&world, &mut caller, 1, "/a", "");
    ask(&world, &mut caller, 3, "/a", "");
    provider.turn(world.now);
    provider.hears();
    let unregister = Unregister { path: "/a", grace_ms: 3000 };
    provider.says(world.now, 3, &Body::Unregister(unregister));
    assert_eq!(provider.hears(), ["ok #3"]);
    assert_eq!(provider.session.poll_timeout(), world.now.at + Duration::from_secs(3));
    world.pass(Duration::from_secs(2));
    provider.wakes(world.now);
    provider.sends(world.now, 2, Flags::END, &Body::Response(Response::default()), b"in time");
    world.pass(Duration::from_secs(1));
    provider.wakes(world.now);
    assert_eq!(provider.hears(), ["cancel #4 604"]);
    caller.turn(world.now);
    assert_eq!(
        caller.hears(),
        ["response #1 end 200 'in time'", "error #3 502 service.provider_left retry 1"]
    );
    // It is there again at once, and its new calls are none of the old registration's.
    register(&world, &mut provider, 5, Register { path: "/a", ..Register::default() });
}

// ---------------------------------------------------------------------------------------- events and figures

#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl ServiceObserver for Diary {
    fn changed(&self, event: &ServiceEvent) {
        let verb = if event.what == ServiceChange::Came { "came" } else { "left" };
        let line = format!("{} {verb} {} now {}", event.serial, event.service.pattern, event.providers);
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn coming_and_going_is_told() {
    let world = World::new();
    let diary = Arc::new(Diary::default());
    world.hub.services.observe(diary.clone());
    let (mut one, mut two) = (provider(&world, "/a", 1), provider(&world, "/a", 1));
    one.says(world.now, 3, &Body::Unregister(Unregister { path: "/a", grace_ms: 0 }));
    two.vanishes(world.now);
    let told = diary.0.lock().unwrap().clone();
    assert_eq!(told, ["1 came /a now 1", "2 came /a now 2", "3 left /a now 1", "4 left /a now 0"]);
}

#[test]
fn figures_tell_what_happened_to_the_calls_of_a_service() {
    let mut world = World::new();
    let mut provider = provider(&world, "/a", 1);
    let mut caller = world.client();
    for id in [1, 3, 5, 7] {
        ask(&world, &mut caller, id, "/a", "");
    }
    provider.turn(world.now);
    world.pass(Duration::from_millis(10));
    let response = |status| Body::Response(Response { status, ..Response::default() });
    provider.sends(world.now, 2, Flags::END, &response(200), b"");
    provider.sends(world.now, 4, Flags::END, &response(503), b"");
    let failure = Failure { code: Code::Conflict, ..Failure::default() };
    provider.says(world.now, 6, &Body::Error(failure));
    let service = service(&world, "/a");
    let stats = &service.stats;
    assert_eq!((stats.calls.read(), service.inflight(), stats.latency.read().count), (4, 1, 3));
    assert_eq!(stats.errors.each().collect::<Vec<_>>(), [(Code::Conflict, 1), (Code::Unavailable, 1)]);
    let p99 = stats.latency.read().p99;
    assert!(p99 >= Duration::from_millis(10) && p99 <= Duration::from_micros(12_500), "{p99:?}");
    let first = Arc::clone(&service.providers()[0]);
    assert_eq!((first.calls(), first.inflight(), first.stats.errors.total()), (4, 1, 2));
    provider.vanishes(world.now);
    assert!(first.stats.errors.each().any(|error| error == (Code::ProviderLost, 1)));
    assert!(world.hub.services.get(&Pattern::parse("/a").unwrap()).is_none());
}
