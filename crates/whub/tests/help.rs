//! Help, version, completions, and mistakes on the command line.

mod whub;

use whub::whub;

#[test]
fn the_version_names_the_package_and_the_commit() {
    let (code, out, _) = whub(&["--version"]);
    assert_eq!(code, 0);
    assert_eq!(out.trim_end(), format!("whub {}", env!("WHUB_VERSION")));
    assert!(out.starts_with(concat!("whub ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_command_explains_itself_with_examples() {
    let commands = [
        "serve",
        "call",
        "provide",
        "publish",
        "subscribe",
        "pair",
        "status",
        "bench",
        "config",
        "completions",
    ];
    for command in commands {
        let (code, out, _) = whub(&[command, "--help"]);
        assert_eq!(code, 0, "{command:?}");
        assert!(out.contains("Examples:"), "{command:?}");
    }
}

#[test]
fn completions_come_for_each_shell() {
    for (shell, sign) in
        [("bash", "complete -F _whub"), ("zsh", "#compdef whub"), ("fish", "complete -c whub")]
    {
        let (code, out, _) = whub(&["completions", shell]);
        assert_eq!(code, 0);
        assert!(out.contains(sign), "{shell}");
    }
}

#[test]
fn a_mistake_on_the_command_line_is_exit_code_2() {
    for wrong in
        [&[][..], &["fly"], &["config"], &["config", "check", "--no-such-flag"], &["completions", "tcsh"]]
    {
        let (code, out, err) = whub(wrong);
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}");
        assert!(!err.is_empty());
    }
}
