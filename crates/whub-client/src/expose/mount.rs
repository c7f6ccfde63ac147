//! Where an application is reached on the hub: below a path, or under a host name of its own.

use whub_proto::names::{Pattern, canonical_host};

use crate::error::Error;
use crate::serve::Request;

/// One pattern under which the application is registered, and what of its paths the application sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) pattern: String,
    /// Cut off every path: `/NAME`. Empty where nothing is.
    pub(super) prefix: String,
    /// The pattern has a host of its own, behind which nothing is cut.
    pub(super) has_host: bool,
}

impl Mount {
    /// Below `/NAME`.
    pub(super) fn path(name: &str, keep_prefix: bool) -> Result<Self, Error> {
        let name = name.trim_matches('/');
        let literal = !name.split('/').any(|segment| segment.starts_with([':', '*']));
        if name.is_empty() || !literal {
            let reason = format!(
                "`{name}` is no name for an application: write it as it stands in the path, such as shop"
            );
            return Err(Error::invalid(reason));
        }
        let pattern = Pattern::parse(&format!("/{name}/*rest"))?;
        let shown = pattern.as_str();
        let prefix = if keep_prefix { "" } else { shown.trim_end_matches("/*rest") };
        Ok(Self { pattern: shown.to_owned(), prefix: escaped(prefix), has_host: false })
    }

    /// Under a host of its own.
    pub(super) fn host(host: &str) -> Result<Self, Error> {
        let named = canonical_host(host)?;
        let pattern = Pattern::parse(&format!("//{named}/*rest"))?;
        Ok(Self { pattern: pattern.as_str().to_owned(), prefix: String::new(), has_host: true })
    }

    /// The application's own path for a request: `/`, `/a%20b/`.
    pub(super) fn inner_path(&self, request: &Request) -> String {
        if self.prefix.is_empty() && !self.has_host {
            return request.path().to_owned();
        }
        format!("/{}", request.rest().unwrap_or_default())
    }

    /// Whether the path is the prefix without the slash after it: relative links on a page there lead astray.
    pub(super) fn lacks_slash(&self, request: &Request) -> bool {
        !self.prefix.is_empty()
            && !request.path().ends_with('/')
            && request.rest().is_some_and(|rest| rest.is_empty())
    }
}

/// As it stands in URLs and header fields: what is not ASCII becomes an escape.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_patterns_and_prefixes() {
        for (name, pattern, prefix) in [
            ("shop", "/shop/*rest", "/shop"),
            ("/shop/", "/shop/*rest", "/shop"),
            ("team/shop", "/team/shop/*rest", "/team/shop"),
            ("caf%C3%A9", "/café/*rest", "/caf%C3%A9"),
        ] {
            let mount = Mount::path(name, false).expect(name);
            assert_eq!((mount.pattern.as_str(), mount.prefix.as_str()), (pattern, prefix));
            assert_eq!(Mount::path(name, true).unwrap().prefix, "");
        }
        let mount = Mount::host("App.example.com:80").unwrap();
        assert_eq!((mount.pattern.as_str(), mount.prefix.as_str()), ("//app.example.com/*rest", ""));
        for bad in ["localhost", "127.0.0.1", "app", "a/b.c", ":host", "*.example.com"] {
            assert!(Mount::host(bad).is_err(), "{bad}");
        }
        for bad in ["", "/", ":id", "*rest", "a/*rest", "v1", "a/../b"] {
            assert!(Mount::path(bad, false).is_err(), "{bad}");
        }
    }
}
