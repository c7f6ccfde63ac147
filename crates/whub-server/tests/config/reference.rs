//! `docs/configuration.md` is what the table of keys says.

use std::{fs, path::Path};

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let fresh = whub_server::config::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let stale = "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p whub-server --test config";
    assert!(committed == fresh, "{stale}");
}
