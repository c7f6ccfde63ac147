//! `docs/codes.md` is what the table of codes gives.

#[path = "../examples/codes_doc.rs"]
mod codes_doc;

#[test]
fn the_committed_page_is_not_stale() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/codes.md");
    let committed = std::fs::read_to_string(path).expect("docs/codes.md");
    assert_eq!(
        committed,
        codes_doc::page(),
        "run: cargo run -q -p whub-proto --example codes_doc > docs/codes.md"
    );
}
