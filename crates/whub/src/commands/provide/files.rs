//! `--files DIR`: the files of a folder, and nothing beside it.
//!
//! A folder answers with its `index.html` or not at all: nothing is listed. Names that begin with a dot are not
//! served (`.git`, `.env`), and links are followed only as long as they stay inside.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::media;

/// What a folder answers with at its own path.
const INDEX: &str = "index.html";

/// A folder to serve.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The folder without links in its path, so that others can be compared with it.
    root: PathBuf,
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file, opened.
    File {
        /// Where to read it.
        file: File,
        /// Its length and its times when it was opened.
        metadata: fs::Metadata,
        /// By its extension.
        content_type: &'static str,
    },
    /// A folder that was asked for without a slash at the end; relative links in its index would go astray.
    Folder,
    /// Nothing that may be served.
    Nothing,
}

impl Files {
    /// Takes the folder.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(folder)?;
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
        }
        Ok(Self { root })
    }

    /// Finds what `rest`, the raw remainder of a path below the service, means. Everything that is wrong with it
    /// looks the same from outside: there is nothing.
    pub(crate) fn find(&self, rest: &str) -> Found {
        let Some(relative) = decode(rest) else { return Found::Nothing };
        let path = self.root.join(&relative);
        let is_folder = path.is_dir();
        if is_folder && !rest.is_empty() && !rest.ends_with('/') {
            return if self.inside(&path).is_some() { Found::Folder } else { Found::Nothing };
        }
        if !is_folder && rest.ends_with('/') {
            return Found::Nothing;
        }
        let path = if is_folder { path.join(INDEX) } else { path };
        self.open(&path).unwrap_or(Found::Nothing)
    }

    fn open(&self, path: &Path) -> Option<Found> {
        let inside = self.inside(path)?;
        let file = open_without_links(&self.root, &inside).ok()?;
        let metadata = file.metadata().ok()?;
        // Devices and pipes could block or never end.
        if !metadata.is_file() {
            return None;
        }
        Some(Found::File { file, metadata, content_type: media::content_type(path) })
    }

    /// The path below the root with every link followed, or nothing if that leads outside or to a hidden name.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let real = fs::canonicalize(path).ok()?;
        let inside = real.strip_prefix(&self.root).ok()?;
        let hidden = inside.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
        (!hidden).then(|| inside.to_owned())
    }
}

/// Opens a path in which all links were followed already. A link that appears in between is refused, so nobody can
/// swap a folder for a link out of the root in the meantime.
fn open_without_links(root: &Path, inside: &Path) -> rustix::io::Result<File> {
    let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let mut at = openat(CWD, root, folder, Mode::empty())?;
    let names: Vec<_> = inside.components().collect();
    let Some((last, folders)) = names.split_last() else { return Err(rustix::io::Errno::ISDIR) };
    for name in folders {
        at = openat(&at, name.as_os_str(), folder, Mode::empty())?;
    }
    // Opening a pipe without a writer would block; without blocking it is opened, and then refused as no file.
    let file = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NONBLOCK;
    Ok(File::from(openat(&at, last.as_os_str(), file, Mode::empty())?))
}

/// The raw remainder as a relative path; each segment is decoded by itself, so an escaped slash stays a character,
/// which no file name has.
fn decode(rest: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for segment in rest.split('/').filter(|_| !rest.is_empty()) {
        let name = percent_encoding::percent_decode_str(segment).decode_utf8().ok()?;
        let hidden_or_bad = name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']);
        if hidden_or_bad || !matches!(Path::new(&*name).components().next(), Some(Component::Normal(_))) {
            return None;
        }
        path.push(&*name);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use super::*;

    /// A folder to serve, with something beside it that must not be.
    struct Site(PathBuf);

    impl Site {
        fn new(name: &str) -> Self {
            let base = std::env::temp_dir().join(format!("whub-files-{}-{name}", std::process::id()));
            let site = base.join("site");
            fs::create_dir_all(site.join("docs/deep")).unwrap();
            fs::create_dir_all(site.join(".git")).unwrap();
            fs::create_dir_all(base.join("site-evil")).unwrap();
            for (path, text) in [
                ("secret.txt", "secret"),
                ("site-evil/x.txt", "secret"),
                ("site/index.html", "home"),
                ("site/docs/index.html", "docs"),
                ("site/docs/deep/a b.TXT", "deep"),
                ("site/.git/config", "hidden"),
                ("site/noext", "bytes"),
            ] {
                fs::write(base.join(path), text).unwrap();
            }
            symlink("../secret.txt", site.join("out.txt")).unwrap();
            symlink(base.join("site-evil"), site.join("evil")).unwrap();
            symlink("docs/deep", site.join("in")).unwrap();
            symlink(".git/config", site.join("config")).unwrap();
            symlink("loop", site.join("loop")).unwrap();
            Self(base)
        }

        fn find(&self, rest: &str) -> String {
            match Files::new(&self.0.join("site")).unwrap().find(rest) {
                Found::Nothing => "nothing".to_owned(),
                Found::Folder => "folder".to_owned(),
                Found::File { mut file, metadata, content_type } => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    assert_eq!(metadata.len(), text.len() as u64);
                    format!("{text} {content_type}")
                }
            }
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_and_indexes_are_found() {
        let site = Site::new("found");
        for (rest, found) in [
            ("", "home text/html; charset=utf-8"),
            ("/", "home text/html; charset=utf-8"),
            ("index.html", "home text/html; charset=utf-8"),
            ("docs/", "docs text/html; charset=utf-8"),
            ("docs", "folder"),
            ("docs/deep/a%20b.TXT", "deep text/plain; charset=utf-8"),
            ("in/a%20b.TXT", "deep text/plain; charset=utf-8"),
            ("noext", "bytes application/octet-stream"),
        ] {
            assert_eq!(site.find(rest), found, "{rest}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let site = Site::new("nothing");
        for rest in [
            "docs/deep/",
            "absent",
            "index.html/",
            "index.html/x",
            "../secret.txt",
            "%2e%2e/secret.txt",
            "docs/../index.html",
            "..%2Fsecret.txt",
            "docs%2Findex.html",
            "%2Fetc%2Fpasswd",
            "/etc/passwd",
            "//etc/passwd",
            "docs//index.html",
            ".git/config",
            ".git",
            "config",
            "out.txt",
            "evil/x.txt",
            "evil",
            "evil/",
            "loop",
            "a%00",
            "a%ff",
            ".",
            "..",
            "..\\secret.txt",
        ] {
            assert_eq!(site.find(rest), "nothing", "{rest}");
        }
    }

    #[test]
    fn a_pipe_is_no_file_and_does_not_block() {
        let site = Site::new("pipe");
        let made = std::process::Command::new("mkfifo").arg(site.0.join("site/pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(site.find("pipe"), "nothing");
    }

    #[test]
    fn a_link_that_appears_after_the_check_is_refused() {
        let site = Site::new("race");
        let root = fs::canonicalize(site.0.join("site")).unwrap();
        assert!(open_without_links(&root, Path::new("docs/index.html")).is_ok());
        assert!(open_without_links(&root, Path::new("out.txt")).is_err());
        assert!(open_without_links(&root, Path::new("evil/x.txt")).is_err());
    }

    #[test]
    fn only_a_folder_can_be_served() {
        let site = Site::new("root");
        assert!(Files::new(&site.0.join("secret.txt")).is_err());
        assert!(Files::new(&site.0.join("absent")).is_err());
    }
}
