//! What holds for all frames and all names: made up, damaged, compared with the plain definition.

mod common;

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value};
use whub_proto::{
    Flags, Frame, Kind, Origin,
    json::{Decoder, encode},
    names::{Channel, Filter, Pattern, ServicePath, Trie},
};

/// A frame of any kind with any of its fields, as JSON.
fn any_json() -> impl Strategy<Value = Map<String, Value>> {
    (select(Kind::ALL), vec(any::<u32>(), 1..200), 0..64_u8, any::<bool>()).prop_map(
        |(kind, choices, flags, via)| {
            let mut choices = choices.into_iter().cycle();
            let mut choose = |below: u32| choices.next().unwrap_or_default() % below;
            let mut object = common::sample(kind, &mut choose);
            if via {
                let table =
                    common::tables().find(|table| table.name().ends_with(".Via")).expect("in the schema");
                let fields = common::fields(&table, &mut choose);
                if !fields.is_empty() {
                    object.insert("via".into(), Value::Object(fields));
                }
            }
            for (flag, name) in Flags::NAMED {
                if flag != Flags::TEXT && Flags::from_bits(flags).contains(flag) {
                    object.insert(name.into(), true.into());
                }
            }
            object.insert("id".into(), (1 + u64::from(choose(u32::MAX))).into());
            object
        },
    )
}

fn any_payload() -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop_oneof![
        Just(None),
        ".{0,40}".prop_map(|text| Some(("text", text.into()))),
        vec(any::<i64>(), 0..4).prop_map(|data| Some(("data", data.into()))),
        Just(Some(("b64", "/wAB".into()))),
    ]
}

/// Adds the payload, where the format and the flags of the frame let it stay in that form.
fn with_payload(
    mut object: Map<String, Value>,
    payload: Option<(&'static str, Value)>,
) -> Map<String, Value> {
    let Some((member, value)) = payload else { return object };
    let compressed = object.contains_key("compressed");
    let has_format = matches!(object["kind"].as_str(), Some("request" | "response" | "publish" | "message"));
    match member {
        "data" if compressed || !has_format => return object,
        "data" => object.insert("format".into(), "json".into()),
        "text" if compressed || object.get("format").is_some_and(|format| format == "json") => return object,
        _ => None,
    };
    object.insert(member.into(), value);
    object
}

fn decode(object: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = Value::Object(object.clone()).to_string();
    Decoder::new().decode(&text, &mut bytes).expect("a sample decodes");
    bytes
}

fn text_of(frame: &Frame<'_>) -> String {
    let mut text = Vec::new();
    encode(frame, &mut text);
    String::from_utf8(text).expect("JSON is UTF-8")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_survives_json_and_back(object in any_json(), payload in any_payload()) {
        let object = with_payload(object, payload);
        let bytes = decode(&object);
        let frame = Frame::parse(&bytes, usize::MAX, Origin::Hub).expect("a decoded frame is sound");
        let text = text_of(&frame);
        let back: Map<String, Value> = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(&back, &object);
        prop_assert_eq!(decode(&back), bytes);
    }

    #[test]
    fn damaged_frames_never_panic(
        object in any_json(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = decode(&object);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(frame) = Frame::parse(&bytes, 1 << 20, Origin::Hub) {
            let text = text_of(&frame);
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn damaged_texts_never_panic(
        object in any_json(),
        damage in vec((any::<prop::sample::Index>(), any::<char>()), 1..8),
    ) {
        let mut text: Vec<char> = Value::Object(object).to_string().chars().collect();
        for (at, character) in damage {
            let at = at.index(text.len());
            text[at] = character;
        }
        let text: String = text.into_iter().collect();
        let mut bytes = Vec::new();
        if Decoder::new().decode(&text, &mut bytes).is_ok() {
            // The kind may have become 0; everything else is sound.
            let sound = Frame::parse(&bytes, usize::MAX, Origin::Hub).is_ok();
            prop_assert!(sound || bytes[0] == 0, "{text}");
        }
    }

    #[test]
    fn any_text_is_a_name_or_an_error(text in "[ -~é/:*+#%.\\x00]{0,40}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(Pattern::parse(pattern.as_str()), Ok(pattern.clone()), "the text is canonical");
            prop_assert!(pattern.covers(&pattern));
        }
        if let Ok(path) = ServicePath::parse(&text) {
            prop_assert!(path.segments().count() == path.raw_segments().count());
        }
        if let Ok(channel) = Channel::parse(&text) {
            prop_assert!(Filter::from(&channel).matches(&channel));
            prop_assert_eq!(Filter::parse(&text), Ok(Filter::from(&channel)));
        }
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    (vec(select(&["a", "b", "%2F", ":"][..]), 0..4), any::<bool>()).prop_filter_map(
        "`/` is reserved",
        |(segments, rest)| {
            let mut text = String::new();
            for (index, segment) in segments.iter().enumerate() {
                text.push('/');
                text.push_str(segment);
                if *segment == ":" {
                    text.push_str(&format!("p{index}"));
                }
            }
            if rest {
                text.push_str("/*rest");
            }
            Pattern::parse(&text).ok()
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    (vec(select(&["a", "b", "$x", "+"][..]), 0..4), any::<bool>()).prop_filter_map(
        "empty",
        |(segments, rest)| {
            let mut segments = segments;
            if rest {
                segments.push("#");
            }
            Filter::parse(&segments.join("/")).ok()
        },
    )
}

/// All texts of up to `depth` of the segments, joined.
fn universe(segments: &[&str], depth: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut longest = all.clone();
    for _ in 0..depth {
        longest = longest
            .iter()
            .flat_map(|start| segments.iter().map(move |segment| format!("{start}/{segment}")))
            .collect();
        all.extend(longest.clone());
    }
    all
}

/// Literal 2, parameter 1, remainder 0: of two patterns that match a path, the better one compares greater.
fn rank(pattern: &Pattern) -> Vec<u8> {
    let kind = |segment: &str| match segment.as_bytes().first() {
        Some(b'*') => 0,
        Some(b':') => 1,
        _ => 2,
    };
    let mut ranks: Vec<u8> = pattern.as_str()[1..].split('/').map(kind).collect();
    if ranks.last() != Some(&0) {
        // The end itself beats a remainder that takes nothing.
        ranks.push(1);
    }
    ranks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_trie_finds_the_best_of_the_matching_patterns(patterns in vec(pattern(), 0..12)) {
        let mut trie = Trie::new();
        for pattern in &patterns {
            trie.insert(pattern, rank(pattern));
        }
        for raw in universe(&["a", "b", "%2f", "c", ""], 4) {
            let Ok(path) = ServicePath::parse(&raw) else { continue };
            let expected = patterns.iter().filter(|pattern| pattern.matches(&path)).map(rank).max();
            prop_assert_eq!(trie.best(&path), expected.as_ref(), "{}", raw);
        }
    }

    #[test]
    fn the_trie_finds_all_matching_filters(filters in vec(filter(), 0..12), removed in vec(filter(), 0..6)) {
        let mut trie = Trie::new();
        for filter in filters.iter().chain(&removed) {
            trie.insert(filter, filter.clone());
        }
        for filter in &removed {
            trie.remove(filter);
        }
        let kept: HashSet<_> = filters.iter().filter(|filter| !removed.contains(filter)).cloned().collect();
        prop_assert_eq!(trie.len(), kept.len());
        for name in universe(&["a", "b", "$x", "c"], 4) {
            let Ok(channel) = Channel::parse(name.trim_start_matches('/')) else { continue };
            let mut found = Vec::new();
            trie.for_each_match(&channel, |filter| found.push(filter.clone()));
            let distinct: HashSet<_> = found.iter().cloned().collect();
            prop_assert_eq!(distinct.len(), found.len(), "once each");
            let expected: HashSet<_> = kept.iter().filter(|filter| filter.matches(&channel)).cloned().collect();
            prop_assert_eq!(distinct, expected, "{}", name);
        }
    }

    #[test]
    fn covering_filters_match_whatever_the_covered_match(a in filter(), b in filter()) {
        let subset = universe(&["a", "b", "$x", "$y", "c"], 5).iter().all(|name| {
            Channel::parse(name.trim_start_matches('/'))
                .map_or(true, |channel| !b.matches(&channel) || a.matches(&channel))
        });
        prop_assert_eq!(a.covers(&b), subset, "{} covers {}", a, b);
    }

    #[test]
    fn covering_patterns_match_whatever_the_covered_match(a in pattern(), b in pattern()) {
        let subset = universe(&["a", "b", "%2f", "c", ""], 5).iter().all(|raw| {
            ServicePath::parse(raw).map_or(true, |path| !b.matches(&path) || a.matches(&path))
        });
        prop_assert_eq!(a.covers(&b), subset, "{} covers {}", a, b);
    }
}
