//! Any text as every kind of name, and the first line's names against the others': never a panic, and the trie agrees
//! with the plain definition of matching.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_proto::names::{Channel, EndpointName, Filter, PairId, Pattern, ServicePath, Trie};

fuzz_target!(|text: &str| {
    let mut lines = text.lines().take(16);
    let Some(first) = lines.next() else { return };
    let rest: Vec<&str> = lines.collect();
    if let Ok(path) = ServicePath::parse(first) {
        services(&path, &rest);
    }
    if let Ok(channel) = Channel::parse(first) {
        channels(&channel, &rest);
    }
    for parsed in [
        PairId::from_url_segment(first).map(|id| id.to_string()),
        EndpointName::from_url_segment(first).map(|name| name.to_string()),
    ] {
        assert!(parsed.map_or(true, |name| !name.is_empty() && name.len() <= 256));
    }
});

fn services(path: &ServicePath<'_>, texts: &[&str]) {
    let patterns: Vec<Pattern> = texts.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    let mut trie = Trie::new();
    for pattern in &patterns {
        assert_eq!(Pattern::parse(pattern.as_str()).as_ref(), Ok(pattern), "the text is canonical");
        trie.insert(pattern, pattern.clone());
    }
    let matching: Vec<_> = patterns.iter().filter(|pattern| pattern.matches(path)).collect();
    match trie.best(path) {
        Some(best) => assert!(best.captures(path).is_some()),
        None => assert!(matching.is_empty(), "{matching:?}"),
    }
    for a in &patterns {
        assert!(!matching.iter().any(|b| a.covers(b) && !a.matches(path)), "{a} does not cover");
    }
}

fn channels(channel: &Channel<'_>, texts: &[&str]) {
    let filters: Vec<Filter> = texts.iter().filter_map(|text| Filter::parse(text).ok()).collect();
    let mut trie = Trie::new();
    for filter in &filters {
        trie.insert(filter, filter.clone());
    }
    let mut found = Vec::new();
    trie.for_each_match(channel, |filter| found.push(filter.clone()));
    let mut expected: Vec<_> = filters.iter().filter(|filter| filter.matches(channel)).cloned().collect();
    found.sort();
    expected.sort();
    expected.dedup();
    assert_eq!(found, expected);
    for a in &filters {
        assert!(!expected.iter().any(|b| a.covers(b) && !a.matches(channel)), "{a} does not cover");
    }
}
