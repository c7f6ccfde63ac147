//! `docs/cli.md` is what `--help` says; a test fails when it is stale.

use std::{fs, path::Path};

use clap::CommandFactory;

use crate::{cli::Cli, exit::Exit};

const INTRODUCTION: &str = "\
# The command line

<!-- Made from the help of the binary; a test fails when it is stale.
     UPDATE_DOCS=1 cargo test -p whub --bin whub writes it anew. -->

Results go to standard output, messages to standard error. With `--json` both are JSON, one object per line.
";

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let fresh = manual();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "docs/cli.md is stale: UPDATE_DOCS=1 cargo test -p whub --bin whub");
}

#[test]
fn exit_codes_are_distinct() {
    let mut codes: Vec<_> = Exit::ALL.iter().map(|exit| exit.row().0).collect();
    codes.dedup();
    assert_eq!(codes.len(), Exit::ALL.len());
    assert!(codes.is_sorted());
}

fn manual() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Exit codes\n\n| code | name | meaning |\n|---|---|---|\n");
    for exit in Exit::ALL {
        let (code, name, meaning) = exit.row();
        page.push_str(&format!("| {code} | {name} | {meaning} |\n"));
    }
    let mut whub = Cli::command().term_width(100);
    whub.build();
    describe(&mut page, &mut whub);
    page
}

/// A command, then those below it.
fn describe(page: &mut String, command: &mut clap::Command) {
    let name = command.get_bin_name().unwrap_or("whub").to_owned();
    let help = command.render_long_help().to_string();
    let lines: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    page.push_str(&format!("\n## `{name}`\n\n```text\n{lines}```\n"));
    for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
        describe(page, below);
    }
}
