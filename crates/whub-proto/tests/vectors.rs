//! The vectors in `testdata/vectors/`, which every SDK reads too.

use std::{borrow::Cow, fs, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use whub_proto::{
    Code, Frame, FrameError, Kind, Origin, close,
    json::{Decoder, encode},
    names::{Channel, Filter, NameError, PairId, Pattern, ServicePath, Trie},
};

const FRAME_FILES: [&str; 5] = ["connection", "services", "channels", "rooms", "links"];

#[derive(Deserialize)]
struct FrameVector {
    name: String,
    meaning: String,
    hex: String,
    json: Box<RawValue>,
}

#[derive(Deserialize)]
struct BadFrame {
    name: String,
    meaning: String,
    from: String,
    hex: String,
    error: String,
}

fn load<T: DeserializeOwned>(file: &str) -> T {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../testdata/vectors", file].iter().collect();
    let text = fs::read_to_string(path).expect(file);
    serde_json::from_str(&text).expect(file)
}

fn frames() -> impl Iterator<Item = FrameVector> {
    FRAME_FILES.iter().flat_map(|file| load::<Vec<FrameVector>>(&format!("{file}.json")))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn every_vector_is_the_same_in_both_forms() {
    let mut decoder = Decoder::new();
    for vector in frames() {
        let mut decoded = Vec::new();
        decoder.decode(vector.json.get(), &mut decoded).expect(&vector.name);
        let pinned = bytes(&vector.hex);
        assert_eq!(decoded, pinned, "{}: JSON to bytes", vector.name);

        let frame = Frame::parse(&pinned, 1 << 20, Origin::Hub).expect(&vector.name);
        let mut text = Vec::new();
        encode(&frame, &mut text);
        let encoded: Value = serde_json::from_slice(&text).expect(&vector.name);
        let expected: Value = serde_json::from_str(vector.json.get()).expect(&vector.name);
        assert_eq!(encoded, expected, "{}: bytes to JSON", vector.name);
        assert!(!vector.meaning.is_empty(), "{} has a meaning", vector.name);
    }
}

#[test]
fn every_kind_has_a_vector() {
    let seen: Vec<u8> = frames().map(|vector| bytes(&vector.hex)[0]).collect();
    for &kind in Kind::ALL {
        assert!(seen.contains(&kind.into()), "{kind} has no vector");
    }
}

#[test]
fn bad_frames_are_refused_for_the_right_reason() {
    for vector in load::<Vec<BadFrame>>("bad/frames.json") {
        let origin = if vector.from == "client" { Origin::Client } else { Origin::Hub };
        let error = Frame::parse(&bytes(&vector.hex), 1 << 20, origin).expect_err(&vector.name);
        assert_eq!(error_name(&error), vector.error, "{}: {}", vector.name, vector.meaning);
    }
}

fn error_name(error: &FrameError) -> &'static str {
    match error {
        FrameError::TooLarge { .. } => "too_large",
        FrameError::Short { .. } => "short",
        FrameError::Lengths => "lengths",
        FrameError::NoKind => "no_kind",
        FrameError::Id(_) => "id",
        FrameError::ForgedVia => "forged_via",
        FrameError::ForgedHops => "forged_hops",
        FrameError::LinkKind(_) => "link_kind",
        FrameError::Via(_) => "via",
        FrameError::Envelope { .. } => "envelope",
        other => panic!("{other:?} has no name in the vectors"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    paths: Vec<PathCase>,
    bad_paths: Vec<PathCase>,
    patterns: Vec<Case>,
    bad_patterns: Vec<Case>,
    captures: Vec<CaptureCase>,
    no_match: Vec<CaptureCase>,
    best: Vec<BestCase>,
    pattern_covers: Vec<CoverCase>,
    channels: Vec<String>,
    bad_channels: Vec<Case>,
    filters: Vec<String>,
    bad_filters: Vec<Case>,
    filter_matches: Vec<FilterCase>,
    filter_covers: Vec<CoverCase>,
    pair_ids: Vec<String>,
    bad_pair_ids: Vec<Case>,
}

#[derive(Deserialize)]
struct PathCase {
    raw: String,
    #[serde(default)]
    segments: Vec<String>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Case {
    input: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct CaptureCase {
    pattern: String,
    path: String,
    #[serde(default)]
    params: Vec<(String, String)>,
    #[serde(default)]
    rest: Option<String>,
}

#[derive(Deserialize)]
struct BestCase {
    patterns: Vec<String>,
    path: String,
    best: Option<String>,
}

#[derive(Deserialize)]
struct FilterCase {
    filter: String,
    channel: String,
    matches: bool,
}

#[derive(Deserialize)]
struct CoverCase {
    a: String,
    b: String,
    covers: bool,
}

fn names() -> Names {
    load("names.json")
}

fn refusal<T>(result: Result<T, NameError>) -> String {
    let debug = result.err().map(|error| format!("{error:?}")).unwrap_or_default();
    let variant = debug.split(' ').next().unwrap_or_default();
    let mut name = String::new();
    for character in variant.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}

#[test]
fn paths_read_as_the_vectors_say() {
    for case in names().paths {
        let path = ServicePath::parse(&case.raw).expect(&case.raw);
        assert_eq!(path.segments().map(Cow::into_owned).collect::<Vec<_>>(), case.segments, "{}", case.raw);
    }
    for case in names().bad_paths {
        assert_eq!(refusal(ServicePath::parse(&case.raw)), case.error, "{}", case.raw);
    }
}

#[test]
fn patterns_read_as_the_vectors_say() {
    for case in names().patterns {
        assert_eq!(pattern(&case.input).as_str(), case.text);
    }
    for case in names().bad_patterns {
        assert_eq!(refusal(Pattern::parse(&case.input)), case.error, "{}", case.input);
    }
}

#[test]
fn patterns_match_as_the_vectors_say() {
    for case in names().captures {
        let (pattern, path) = (pattern(&case.pattern), ServicePath::parse(&case.path).expect(&case.path));
        let captures = pattern.captures(&path).unwrap_or_else(|| panic!("{pattern} matches {path}"));
        let params: Vec<_> =
            captures.params.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        assert_eq!((params, captures.rest), (case.params, case.rest.as_deref()), "{pattern} {path}");
    }
    for case in names().no_match {
        assert!(!pattern(&case.pattern).matches(&ServicePath::parse(&case.path).expect(&case.path)));
    }
}

#[test]
fn the_best_pattern_is_what_the_vectors_say() {
    for case in names().best {
        let mut trie = Trie::new();
        for text in &case.patterns {
            trie.insert(&pattern(text), text.as_str());
        }
        let path = ServicePath::parse(&case.path).expect(&case.path);
        assert_eq!(trie.best(&path).copied(), case.best.as_deref(), "{path}");
    }
}

#[test]
fn channels_and_filters_read_as_the_vectors_say() {
    for text in names().channels {
        assert_eq!(Channel::parse(&text).expect(&text).as_str(), text);
    }
    for case in names().bad_channels {
        assert_eq!(refusal(Channel::parse(&case.input)), case.error, "{}", case.input);
    }
    for text in names().filters {
        assert_eq!(Filter::parse(&text).expect(&text).as_str(), text);
    }
    for case in names().bad_filters {
        assert_eq!(refusal(Filter::parse(&case.input)), case.error, "{}", case.input);
    }
}

#[test]
fn filters_match_as_the_vectors_say() {
    for case in names().filter_matches {
        let filter = Filter::parse(&case.filter).expect(&case.filter);
        let channel = Channel::parse(&case.channel).expect(&case.channel);
        assert_eq!(filter.matches(&channel), case.matches, "{filter} {channel}");
    }
}

#[test]
fn sets_cover_each_other_as_the_vectors_say() {
    for case in names().pattern_covers {
        assert_eq!(pattern(&case.a).covers(&pattern(&case.b)), case.covers, "{} covers {}", case.a, case.b);
    }
    for case in names().filter_covers {
        let (a, b) = (Filter::parse(&case.a).expect(&case.a), Filter::parse(&case.b).expect(&case.b));
        assert_eq!(a.covers(&b), case.covers, "{a} covers {b}");
    }
}

#[test]
fn pair_ids_read_as_the_vectors_say() {
    for text in names().pair_ids {
        assert_eq!(PairId::parse(&text).expect(&text).as_str(), text);
    }
    for case in names().bad_pair_ids {
        assert_eq!(refusal(PairId::parse(&case.input)), case.error, "{}", case.input);
    }
}

#[derive(Deserialize)]
struct CodeVector {
    number: u16,
    name: String,
    fault: String,
    http_status: u16,
    close_code: u16,
    reconnect: String,
}

#[test]
fn the_code_table_is_that_of_the_vectors() {
    let vectors = load::<Vec<CodeVector>>("codes.json");
    assert_eq!(vectors.len(), Code::ALL.len());
    for vector in vectors {
        let code = Code::from(vector.number);
        assert_eq!(code.name(), Some(&*vector.name));
        assert_eq!(code.fault().to_string(), vector.fault, "{code}");
        assert_eq!(
            (code.http_status(), code.close_code()),
            (vector.http_status, vector.close_code),
            "{code}"
        );
        assert_eq!(close::advice(vector.close_code).to_string(), vector.reconnect, "{code}");
    }
}
