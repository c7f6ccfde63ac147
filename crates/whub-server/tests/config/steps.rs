//! The chain: its order, its limits and its rules.

use std::time::Duration;

use crate::said::said;
use whub_core::middleware::Rate;
use whub_server::config::check_files;

#[test]
fn the_order_is_a_list_with_headers_in_it() {
    let order = |text: &str| said().set(&format!("middleware.order={text}")).config().middleware.order;
    assert_eq!(order("access_log, headers, my_own"), ["access_log", "headers", "my_own"]);
    let error = said().set("middleware.order=rate_limit").error();
    assert!(error.contains("leaves out `headers`, which keeps credentials from providers"), "{error}");
    let problems = check_files(&said().set("middleware.order=headers,acces_log").config());
    assert_eq!(
        problems[0].to_string(),
        "middleware.order names `acces_log`, which no step is called; the nearest one is `access_log`"
    );
    let error = said().set("middleware.order=headers,headers").error();
    assert!(error.contains("names headers twice"), "{error}");
}

#[test]
fn rates_are_read_with_their_burst() {
    let config = said().set("rate.client=100/s burst 200").set("rate.throttle=300/m").config();
    let rate = |count, seconds, burst| Some(Rate { count, period: Duration::from_secs(seconds), burst });
    assert_eq!((config.rate.client, config.rate.throttle), (rate(100, 1, 200), rate(300, 60, 300)));
    let error = said().set("rate.client=fast").error();
    assert!(error.contains("rate.client is \"fast\", but wants a rate, such as \"100/s\""), "{error}");
}

#[test]
fn a_services_table_has_rules_and_shows_those_it_has() {
    let file = "[[services]]\npattern = \"/a\"\nrate_client = \"2/s\"\nrequest_bytes = \"1KiB\"\n\
                request_pass = [\"Authorization\", \"x-*\"]\n";
    let loaded = said().file(file).loaded();
    let rules = &loaded.config.services[0].rules;
    assert_eq!((rules.rate_client.map(|rate| rate.count), rules.request_bytes), (Some(2), Some(1024)));
    let shown = loaded.show();
    let (_, table) = shown.split_once("[[services]]\n").expect("a table");
    assert!(table.ends_with(
        "rate_client = \"2/s\"\nrequest_bytes = \"1KiB\"\nrequest_pass = [\"authorization\", \"x-*\"]\n"
    ));
    let error = said().file("[[services]]\npattern = \"/a\"\nrequest_pass = [\"a b\"]\n").error();
    assert!(error.contains("`a b` is no header name"), "{error}");
}

#[test]
fn pages_of_any_origin_cannot_use_their_visitors_cookies() {
    let said = || said().set("cors.credentials=true");
    let error = said().set("http.allowed_origins=*").error();
    assert!(error.contains("cors.credentials goes with origins that http.allowed_origins names"), "{error}");
    assert!(said().set("http.allowed_origins=https://app.example").config().cors.credentials);
}
