//! Where the application is: `http://host:port/base`, `https`, a Unix socket, or only a port.

use whub_transport::{ServerUrl, UrlError};

use crate::error::Error;

/// An application's address, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppUrl {
    /// As the dialler takes it; its path means nothing here.
    pub(super) server: ServerUrl,
    /// What stands before every path of the application: empty, or begins with `/` and does not end with one.
    base: String,
}

impl AppUrl {
    /// Parses `http://127.0.0.1:3000`, `https://app.internal/base`, `ws` and `wss` as their like, `unix:/run/app.sock`,
    /// `localhost:3000` and `3000`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let full = match text.split_once(':') {
            _ if text.parse::<u16>().is_ok() => format!("http://127.0.0.1:{text}"),
            Some(("http" | "https" | "ws" | "wss" | "unix", _)) => text.to_owned(),
            Some((_, rest)) if rest.starts_with("//") => return Err(Error::invalid(SCHEMES)),
            Some(_) | None => format!("http://{text}"),
        };
        let server: ServerUrl = full.parse().map_err(|error| Error::invalid(complaint(&error)))?;
        let base = match server.socket() {
            Some(_) => "",
            None => full.splitn(4, '/').nth(3).unwrap_or_default(),
        };
        let base = base.trim_end_matches('/');
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        Ok(Self { server, base })
    }

    /// The value of `Host` that the application knows itself by.
    pub(super) fn authority(&self) -> String {
        self.server.authority()
    }

    /// What stands before every path of the application.
    pub(super) fn base(&self) -> &str {
        &self.base
    }
}

/// As people know it; a URL holds no secret, its parser sees to that.
impl std::fmt::Display for AppUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.server.socket() {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => {
                let scheme = if self.server.tls() { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", self.authority(), self.base)
            }
        }
    }
}

const SCHEMES: &str = "an application is a URL that begins with http:// or https://, a Unix socket such as \
                       unix:/run/app.sock, or the number of a port";

#[expect(clippy::wildcard_enum_match_arm, reason = "the others say it well enough")]
fn complaint(error: &UrlError) -> String {
    match error {
        UrlError::NoScheme | UrlError::Scheme(_) => SCHEMES.to_owned(),
        UrlError::User => {
            "the URL of an application holds no user or password: they would end up in logs".to_owned()
        }
        UrlError::Query => "the URL of an application has no `?` or `#` part".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_as_people_write_them() {
        for (text, shown, authority, base) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000", "127.0.0.1:3000", ""),
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000", "127.0.0.1:3000", ""),
            ("https://App.internal/base/", "https://app.internal/base", "app.internal", "/base"),
            ("ws://localhost:80/a/b", "http://localhost/a/b", "localhost", "/a/b"),
            ("3000", "http://127.0.0.1:3000", "127.0.0.1:3000", ""),
            ("localhost:8080/x", "http://localhost:8080/x", "localhost:8080", "/x"),
            ("[::1]:8080", "http://[::1]:8080", "[::1]:8080", ""),
            ("unix:/run/app.sock", "unix:/run/app.sock", "localhost", ""),
        ] {
            let url = AppUrl::parse(text).expect(text);
            assert_eq!(
                (url.to_string().as_str(), url.authority().as_str(), url.base()),
                (shown, authority, base)
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("ftp://x", "begins with http://"),
            ("tcp://x:1", "begins with http://"),
            ("http://user:secret@x", "no user or password"),
            ("http://x?y", "no `?`"),
            ("http://x:0", "port 0"),
            ("", "host is missing"),
        ] {
            let error = AppUrl::parse(text).expect_err(text);
            assert!(error.reason().contains(part) && !error.reason().contains("secret"), "{error}");
        }
    }
}
