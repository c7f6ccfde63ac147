//! How files look from outside: enough to see that one was written or replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Several files, each by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// One file, if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamps {
    /// Looks at them now.
    pub(super) fn take(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|path| (path.clone(), Stamp::take(path))).collect())
    }

    /// Looks at those that are not among them yet, and forgets those that are not in `files`.
    pub(super) fn add(&mut self, files: &[PathBuf]) {
        let known = |path: &PathBuf| self.0.iter().find(|(other, _)| other == path).cloned();
        let looked =
            files.iter().map(|path| known(path).unwrap_or_else(|| (path.clone(), Stamp::take(path))));
        self.0 = looked.collect();
    }
}

impl Stamp {
    fn take(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), bytes: metadata.len(), inode: inode(&metadata) })
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_looks_different() {
        let folder = std::env::temp_dir().join(format!("whub-stamps-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = [folder.join("a"), folder.join("b")];
        let none = Stamps::take(&files);
        assert_eq!(none, Stamps::take(&files));
        fs::write(&files[0], "one").unwrap();
        let one = Stamps::take(&files);
        assert_ne!(none, one);
        fs::write(&files[0], "three").unwrap();
        let longer = Stamps::take(&files);
        assert_ne!(one, longer);
        // The same text, and whatever the clock says, but another file.
        fs::write(&files[1], "three").unwrap();
        fs::rename(&files[1], &files[0]).unwrap();
        let replaced = Stamps::take(&files);
        assert_ne!(longer, replaced);

        let mut known = Stamps::take(&files[..1]);
        known.add(&files);
        assert_eq!(known, replaced);
        known.add(&files[1..]);
        assert_eq!(known, Stamps::take(&files[1..]));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(Stamps::take(&files), none);
    }
}
