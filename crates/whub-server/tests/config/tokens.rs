//! Tokens: where secrets come from, what is refused, and that none is ever printed.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::said::said;
use whub_proto::names::Pattern;
use whub_server::config::Grant;

/// A file of this test, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str, mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("whub-config-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("writes a scratch file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets its mode");
        Self(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_secret_comes_from_the_file_another_file_or_the_environment() {
    let scratch = Scratch::new("secret", "from-file\nsecond line\n", 0o600);
    let file = format!(
        "[[tokens]]\nname = \"a\"\nsecret = \"inline\"\ncall = [\"/x\"]\nadmin = true\n\
         [[tokens]]\nname = \"b\"\nsecret_file = {:?}\n\
         [[tokens]]\nname = \"c\"\nsecret_env = \"C_SECRET\"\n",
        scratch.path()
    );
    let loaded = said().file(&file).variable("C_SECRET", "from-env").loaded();
    let found: Vec<_> = loaded.config.tokens.iter().map(|t| (t.name.as_str(), t.secret.expose())).collect();
    assert_eq!(found, [("a", "inline"), ("b", "from-file"), ("c", "from-env")]);
    assert_eq!(loaded.warnings, []);
    let grant = Grant { call: vec![Pattern::parse("/x").unwrap()], admin: true, ..Grant::none() };
    assert_eq!(loaded.config.tokens[0].grant, grant);
}

#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    let scratch = Scratch::new("open", "s3cret\n", 0o644);
    let path = scratch.path();
    let loaded = said().file(&format!("\n[[tokens]]\nname = \"a\"\nsecret_file = {path:?}\n")).loaded();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let expected =
        format!("whub.toml:2: the secret of token \"a\" can be read by other users: chmod 600 {path}");
    assert_eq!(warnings, [expected]);
}

#[test]
fn ambiguous_tokens_are_refused() {
    let error = |text: &str| said().file(text).error();
    assert_eq!(
        error("[[tokens]]\nname = \"a\"\n"),
        "whub.toml:1: token \"a\" has no secret; give it one of secret, secret_file and secret_env"
    );
    assert_eq!(
        error("[[tokens]]\nname = \"a\"\nsecret = \"x\"\nsecret_env = \"Y\"\n"),
        "whub.toml:1: token \"a\" has more than one of secret, secret_file and secret_env"
    );
    assert_eq!(
        error("[[tokens]]\nsecret = \"x\"\n"),
        "whub.toml:1: this token has no name; names stand for tokens in logs"
    );
    assert_eq!(
        error("[[tokens]]\nname = \"a\"\nsecret = \"\"\n"),
        "whub.toml:3: tokens.secret: the secret is empty"
    );
    assert_eq!(
        error("[[tokens]]\nname = \"a\"\nsecret_env = \"GONE\"\n"),
        "whub.toml:1: token \"a\" wants its secret from GONE, which is not set"
    );
    let twice =
        "[[tokens]]\nname = \"a\"\nsecret = \"hunter2\"\n[[tokens]]\nname = \"b\"\nsecret = \"hunter2\"\n";
    assert_eq!(error(twice), "whub.toml:4: tokens \"a\" and \"b\" have the same secret");
    let same_name = "[[tokens]]\nname = \"a\"\nsecret = \"1\"\n[[tokens]]\nname = \"a\"\nsecret = \"2\"\n";
    assert_eq!(
        error(same_name),
        "whub.toml:4: two tokens are named \"a\"; names in logs must tell them apart"
    );
    assert_eq!(
        error("[[tokens]]\nname = \"a\"\nsecret = \"x\"\nsubscibe = []\n"),
        "whub.toml:4: unknown key of a token `subscibe`; the nearest valid one is `subscribe`"
    );
    assert_eq!(
        error("[[tokens]]\nname = \"a\"\nsecret = [\"hunter2\"]\n"),
        "whub.toml:3: tokens.secret is a list, but wants a string"
    );
}

#[test]
fn an_unreadable_or_empty_secret_file_is_told() {
    let empty = Scratch::new("empty", "\n", 0o600);
    let token = |path: &str| format!("[[tokens]]\nname = \"a\"\nsecret_file = {path:?}\n");
    assert_eq!(
        said().file(&token(&empty.path())).error(),
        format!("whub.toml:1: token \"a\" wants its secret from {}, whose first line is empty", empty.path())
    );
    let error = said().file(&token("/no/such/secret")).error();
    assert!(error.starts_with("whub.toml:1: token \"a\" wants its secret from /no/such/secret: "), "{error}");
}

#[test]
fn no_secret_is_ever_shown() {
    let loaded = said().file("[[tokens]]\nname = \"a\"\nsecret = \"hunter2\"\ncall = [\"/x\"]\n").loaded();
    let shown = loaded.show();
    assert!(shown.ends_with(
        "\n[[tokens]]\nname = \"a\"\nsecret = \"[redacted]\"\nprovide = []\ncall = [\"/x\"]\npublish = []\n\
         subscribe = []\npair = []\nmessage = []\ngroups = []\nadmin = false\n"
    ));
    for text in
        [shown, loaded.show_json().to_string(), format!("{loaded:?}"), format!("{:#?}", loaded.config)]
    {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
