//! Tells the binary which commit it was built from, where git can say so.
//!
//! Without git or outside a checkout (a source archive) the version simply names no commit. The reflog of `HEAD` is
//! the one file that changes with every commit, checkout and rebase, so nothing is rebuilt in between.

use std::{path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let commit = git(&["log", "-1", "--abbrev=12", "--format=%h %cs"]);
    let version = commit.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=WHUB_VERSION={version}");
}

/// The first line that git prints, if it succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}
