//! `whub provide --files`, as HTTP clients see it.

mod whub;

use std::os::unix::fs::symlink;

use whub::{Hub, Running, Scratch};

/// A folder that is served at `/site`.
struct Site {
    hub: Hub,
    scratch: Scratch,
    _provider: Running,
}

impl Site {
    fn new() -> Self {
        let (hub, scratch) = (Hub::start(&[]), Scratch::new());
        scratch.file("secret.txt", "secret");
        for folder in ["site", "site/docs", "site/.git", "beside"] {
            std::fs::create_dir(scratch.0.join(folder)).expect("it works");
        }
        scratch.file("beside/x.txt", "secret");
        scratch.file("site/.git/config", "secret");
        scratch.file("site/digits.txt", "0123456789");
        scratch.file("site/docs/index.html", "<h1>docs</h1>");
        symlink("../secret.txt", scratch.0.join("site/out.txt")).expect("it works");
        symlink("../beside", scratch.0.join("site/beside")).expect("it works");
        symlink("digits.txt", scratch.0.join("site/in.txt")).expect("it works");
        // An hour old, so that its tag is a strong one from the start.
        for name in ["digits.txt", "docs/index.html"] {
            let file = std::fs::File::options()
                .write(true)
                .open(scratch.0.join("site").join(name))
                .expect("it works");
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600))
                .expect("it works");
        }
        let folder = scratch.0.join("site").display().to_string();
        let mut provider = hub.start_client(&["provide", "/site", "--files", &folder]);
        provider.wait_for("providing /site/*file");
        Self { hub, scratch, _provider: provider }
    }

    fn get(&self, path: &str, headers: &[&str]) -> (String, String) {
        let line = format!("GET {path} HTTP/1.1");
        let (head, body) = self.hub.http(&[&[line.as_str()], headers].concat());
        (head, String::from_utf8(body).expect("it works"))
    }

    fn status(&self, path: &str, headers: &[&str]) -> u16 {
        status(&self.get(path, headers).0)
    }

    /// The tag once it is a strong one: the change of the file's own times must be some time ago.
    fn strong_tag(&self, path: &str) -> String {
        let tag = || field(&self.get(path, &[]).0, "etag").expect("it works");
        whub::until(|| tag().starts_with('"'));
        tag()
    }
}

fn status(head: &str) -> u16 {
    let said = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    said.expect("a status line")
}

fn field(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
    Some(line[name.len() + 2..].to_owned())
}

#[test]
fn a_file_comes_with_all_that_caches_and_players_need() {
    let site = Site::new();
    let (head, body) = site.get("/site/digits.txt", &[]);
    assert_eq!((status(&head), body.as_str()), (200, "0123456789"));
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(field(&head, name).as_deref(), Some(value), "{head}");
    }
    assert!(field(&head, "etag").is_some() && field(&head, "last-modified").is_some(), "{head}");
    let (head, body) = site.hub.http(&["HEAD /site/digits.txt HTTP/1.1", "range: bytes=0-1"]);
    assert_eq!((status(&head), body.len(), field(&head, "content-length").as_deref()), (200, 0, Some("10")));
    let (head, _) = site.hub.http(&["DELETE /site/digits.txt HTTP/1.1"]);
    assert_eq!((status(&head), field(&head, "allow").as_deref()), (405, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn parts_are_given_as_they_are_asked_for() {
    let site = Site::new();
    for (range, expected, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=2-5", "2345", "bytes 2-5/10"),
    ] {
        let (head, body) = site.get("/site/digits.txt", &[&format!("range: {range}")]);
        assert_eq!((status(&head), body.as_str()), (206, expected), "{range}");
        assert_eq!(field(&head, "content-range").as_deref(), Some(content_range));
        assert_eq!(field(&head, "content-length").unwrap(), expected.len().to_string());
    }
    let (head, _) = site.get("/site/digits.txt", &["range: bytes=10-"]);
    assert_eq!((status(&head), field(&head, "content-range").as_deref()), (416, Some("bytes */10")));

    let (head, body) = site.get("/site/digits.txt", &["range: bytes=0-1,8-9"]);
    let content_type = field(&head, "content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(status(&head), 206);
    assert_eq!(field(&head, "content-length").unwrap(), body.len().to_string());
    let part = |range, text| {
        format!(
            "--{boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: {range}\r\n\r\n{text}\r\n"
        )
    };
    let expected = format!("{}{}--{boundary}--\r\n", part("bytes 0-1/10", "01"), part("bytes 8-9/10", "89"));
    assert_eq!(body, expected);

    let tag = site.strong_tag("/site/digits.txt");
    let part = |condition: &str| site.get("/site/digits.txt", &["range: bytes=0-1", condition]).1;
    assert_eq!(part(&format!("if-range: {tag}")), "01");
    assert_eq!(part("if-range: \"another\""), "0123456789");
}

#[test]
fn who_has_a_file_is_not_sent_it_again() {
    let site = Site::new();
    let (head, _) = site.get("/site/digits.txt", &[]);
    let (tag, date) = (field(&head, "etag").unwrap(), field(&head, "last-modified").unwrap());
    let (head, body) = site.get("/site/digits.txt", &[&format!("if-none-match: {tag}")]);
    assert_eq!((status(&head), body.as_str()), (304, ""));
    assert_eq!(field(&head, "etag").map(|tag| tag.replace("W/", "")), Some(tag.replace("W/", "")));
    assert_eq!(site.status("/site/digits.txt", &[&format!("if-modified-since: {date}")]), 304);
    assert_eq!(site.status("/site/digits.txt", &["if-none-match: \"another\""]), 200);
    assert_eq!(site.status("/site/digits.txt", &["if-match: \"another\""]), 412);
    assert_eq!(site.status("/site/digits.txt", &["if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT"]), 412);
    site.scratch.file("site/digits.txt", "abc");
    assert_eq!(site.status("/site/digits.txt", &[&format!("if-none-match: {tag}")]), 200, "it was changed");
}

#[test]
fn nothing_outside_is_reached() {
    let site = Site::new();
    assert_eq!(site.get("/site/in.txt", &[]).1, "0123456789");
    for path in [
        "/site/../secret.txt",
        "/site/%2e%2e/secret.txt",
        "/site/%2E%2E%2Fsecret.txt",
        "/site/..%2fsecret.txt",
        "/site/..%5csecret.txt",
        "/site/..\\secret.txt",
        "/site/docs/../../secret.txt",
        "/site/%2fetc%2fpasswd",
        "/site//etc/passwd",
        "/site/out.txt",
        "/site/beside/x.txt",
        "/site/beside",
        "/site/.git/config",
        "/site/.git",
        "/site/digits.txt%00.html",
        "/site/digits.txt/",
        "/site/%ff",
        "/site/absent",
        "/site/",
    ] {
        let (head, body) = site.get(path, &[]);
        assert!(matches!(status(&head), 400 | 404), "{path}: {head}");
        assert!(!body.contains("root:") && !body.contains("secret\n") && body != "secret", "{path}: {body}");
    }
}

#[test]
fn a_folder_answers_with_its_index_behind_a_slash() {
    let site = Site::new();
    assert_eq!(site.get("/site/docs/", &[]).1, "<h1>docs</h1>");
    let (head, _) = site.get("/site/docs?x=1", &[]);
    assert_eq!((status(&head), field(&head, "location").as_deref()), (308, Some("./docs/?x=1")));
}

#[test]
fn a_large_file_is_streamed() {
    let site = Site::new();
    let text: String = (0..400_000).map(|line| format!("{line:09}\n")).collect();
    site.scratch.file("site/large.bin", &text);
    let (head, body) = site.get("/site/large.bin", &[]);
    assert_eq!((status(&head), field(&head, "content-length").unwrap()), (200, text.len().to_string()));
    assert!(body == text, "{} bytes came", body.len());
    let (_, body) = site.get("/site/large.bin", &["range: bytes=1000000-2999999"]);
    assert!(body == text[1_000_000..3_000_000], "{} bytes came", body.len());
}
