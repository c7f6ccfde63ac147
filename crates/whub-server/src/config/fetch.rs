//! Fetches a secret from where the configuration says that it is: the file itself, another file, the environment.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Secret, Source, load::Report};

/// A file with a secret holds one line; more than this is not read.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// Where a secret may be, and for whom it is.
pub(crate) struct Wanted<'a> {
    /// Who needs it, such as `token "a"`.
    pub(crate) of: &'a str,
    /// What it is to them, such as `secret`; the keys are this, and this with `_file` and `_env`.
    pub(crate) what: &'static str,
    pub(crate) inline: Option<&'a Secret>,
    pub(crate) file: Option<&'a PathBuf>,
    pub(crate) variable: Option<&'a String>,
    /// Which texts are one.
    pub(crate) parse: fn(&str) -> Result<Secret, &'static str>,
}

impl Wanted<'_> {
    /// The secret, or `None` if nothing says where it is.
    ///
    /// # Errors
    /// What is wrong, in a sentence that names whose it is.
    pub(crate) fn fetch(
        &self,
        source: &Source,
        environment: &[(String, String)],
        report: &mut Report,
    ) -> Result<Option<Secret>, String> {
        let (of, what) = (self.of, self.what);
        let fetched = match (self.inline, self.file, self.variable) {
            (None, None, None) => return Ok(None),
            (Some(secret), None, None) => Ok(secret.clone()),
            (None, Some(path), None) => self.in_file(path, source, report),
            (None, None, Some(variable)) => self.in_environment(variable, environment),
            (Some(_), ..) | (None, Some(_), Some(_)) => {
                Err(format!("has more than one of {what}, {what}_file and {what}_env"))
            }
        };
        fetched.map(Some).map_err(|why| format!("{of} {why}"))
    }

    fn in_environment(&self, variable: &str, environment: &[(String, String)]) -> Result<Secret, String> {
        let what = self.what;
        let value = environment.iter().find(|(name, _)| name == variable).map(|(_, value)| value.as_str());
        let value = value.ok_or_else(|| format!("wants its {what} from {variable}, which is not set"))?;
        (self.parse)(value).map_err(|flaw| format!("wants its {what} from {variable}, which {flaw}"))
    }

    fn in_file(&self, path: &Path, source: &Source, report: &mut Report) -> Result<Secret, String> {
        let (shown, what) = (path.display(), self.what);
        let text = read_secret(path).map_err(|error| format!("wants its {what} from {shown}: {error}"))?;
        if readable_by_others(path) {
            let advice = format!("chmod 600 {shown}");
            report.warning(source, format!("the {what} of {} can be read by other users: {advice}", self.of));
        }
        let line = text.lines().next().unwrap_or_default();
        (self.parse)(line).map_err(|flaw| format!("wants its {what} from {shown}, whose first line {flaw}"))
    }
}

fn read_secret(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> bool {
    false
}
