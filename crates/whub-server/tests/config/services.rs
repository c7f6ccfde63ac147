//! Services: what holds for all of them, what for some, and what is refused.

use std::time::Duration;

use crate::said::said;
use whub_core::{AccessRule, Choose, ServiceSettings};
use whub_proto::names::Pattern;
use whub_server::config::differences;

fn settings(file: &str, service: &str) -> ServiceSettings {
    let policies = said().file(file).config().policies();
    (**policies.settings(&Pattern::parse(service).expect("a pattern"))).clone()
}

#[test]
fn what_a_table_leaves_out_is_as_the_defaults_say() {
    let file = "[service_defaults]\nqueue = 7\ncall_timeout = \"3s\"\n\
                [[services]]\npattern = \"/bills/*rest\"\nchoose = \"sticky\"\nqueue_wait = \"250ms\"\n\
                access = \"named\"\nclients = [\"ada\"]\n";
    let bills = settings(file, "/bills/:id");
    let expected = ServiceSettings {
        choose: Choose::Sticky,
        queue: 7,
        queue_wait: Duration::from_millis(250),
        call_timeout: Some(Duration::from_secs(3)),
        access: Some(AccessRule::Named(["ada".into()].into())),
    };
    assert_eq!(bills, expected);
    let others = settings(file, "/other");
    assert_eq!((others.choose, others.queue, others.access), (Choose::LeastLoaded, 7, None));
}

#[test]
fn defaults_of_the_environment_hold_for_tables_too() {
    let file = "[[services]]\npattern = \"/a\"\nchoose = \"random\"\n";
    let config = said().file(file).variable("WHUB_SERVICE_DEFAULTS__QUEUE", "3").config();
    assert_eq!(config.services[0].section.queue, 3);
}

#[test]
fn the_defaults_are_those_of_the_core() {
    let policies = said().config().policies();
    assert_eq!(*policies.default, ServiceSettings::default());
}

#[test]
fn what_makes_no_sense_is_refused_in_its_place() {
    for (file, expected) in [
        (
            "[[services]]\nqueue = 1\n",
            "whub.toml:1: this service has no pattern; write one, such as pattern = \"/billing/*rest\"",
        ),
        ("[[services]]\npattern = \"/a/*b/c\"\n", "whub.toml:2: "),
        (
            "[[services]]\npattern = \"/a\"\nchose = \"random\"\n",
            "whub.toml:3: unknown key of a service `chose`; the nearest valid one is `choose`",
        ),
        (
            "[[services]]\npattern = \"/a\"\nchoose = \"best\"\n",
            "whub.toml:3: services.choose is \"best\", but wants \"least_loaded\" or",
        ),
        (
            "[[services]]\npattern = \"/a\"\naccess = \"named\"\n",
            "whub.toml:1: service /a: access = \"named\" needs the names of tokens in `clients`",
        ),
        (
            "[[services]]\npattern = \"/a/:x\"\n[[services]]\npattern = \"/a/:y\"\n",
            "whub.toml:3: two tables are for the services of /a/:y",
        ),
        ("[service_defaults]\nclients = [\"ada\"]\n", "service_defaults: `clients` is for"),
        ("services = 1\n", "whub.toml:1: what is said of single services are tables"),
    ] {
        let error = said().file(file).error();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn changes_apply_without_a_restart() {
    let old = said().config();
    let new = said().file("[service_defaults]\nqueue = 1\n[[services]]\npattern = \"/a\"\n").config();
    let found: Vec<_> =
        differences(&old, &new).iter().map(|change| (change.key, change.reloadable)).collect();
    assert_eq!(found, [("service_defaults.queue", true), ("services", true)]);
}

#[test]
fn tables_are_shown_as_they_hold() {
    let shown = said().file("[[services]]\npattern = \"/a\"\nqueue = 5\n").loaded().show();
    let (_, table) = shown.split_once("[[services]]\n").expect("a table");
    assert!(table.starts_with("pattern = \"/a\"\nchoose = \"least_loaded\"\nqueue = 5\n"), "{table}");
}
