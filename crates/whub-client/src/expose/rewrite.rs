//! What an application says about its own paths, said so that it is true for callers.
//!
//! Behind a cut prefix an application that redirects to `/login` means `/NAME/login`, and a cookie for `/` is one for
//! `/NAME`. What it says about its own host and port means the caller's. Bodies are not touched.

/// The place of an application in the world of its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// What was cut off the path: empty, or `/NAME`.
    pub(super) prefix: &'a str,
    /// What stands before every path of the application itself: empty, or `/base`.
    pub(super) base: &'a str,
    /// Host and port by which the application knows itself.
    pub(super) own: &'a str,
    /// Host and port that the caller asked for; empty where none were.
    pub(super) asked: &'a str,
}

impl Place<'_> {
    /// `Location` and `Content-Location`; `None` where it is right as it is.
    pub(super) fn location(&self, value: &str) -> Option<String> {
        if value.starts_with('/') && !value.starts_with("//") {
            return self.path(value);
        }
        let (scheme, rest) = value.split_once("//")?;
        if !matches!(scheme, "" | "http:" | "https:") {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.eq_ignore_ascii_case(self.own) {
            // No caller can go there.
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            return Some(self.path(&path).unwrap_or(path));
        }
        if !self.asked.is_empty() && authority.eq_ignore_ascii_case(self.asked) {
            let path = self.path(if path.is_empty() { "/" } else { path })?;
            return Some(format!("{scheme}//{authority}{path}"));
        }
        None
    }

    /// `Set-Cookie`; `None` where it is right as it is.
    pub(super) fn cookie(&self, value: &str) -> Option<String> {
        let mut parts = value.split(';');
        let pair = parts.next().unwrap_or_default();
        // Browsers take these only with the path `/`.
        let is_bound = pair.trim_start().starts_with("__Host-");
        let mut changed = false;
        let mut cookie = pair.to_owned();
        for part in parts {
            let (name, setting) = part.split_once('=').unwrap_or((part, ""));
            let (name, setting) = (name.trim(), setting.trim());
            if name.eq_ignore_ascii_case("domain") && self.is_own_host(setting) {
                changed = true;
                continue;
            }
            cookie.push(';');
            let path = (name.eq_ignore_ascii_case("path") && setting.starts_with('/') && !is_bound)
                .then(|| self.path(setting))
                .flatten();
            match path {
                Some(path) => {
                    changed = true;
                    // `/NAME/` would not be sent to `/NAME` itself.
                    let path = if setting == "/" && !self.prefix.is_empty() { self.prefix } else { &path };
                    cookie.push_str(&format!(" Path={path}"));
                }
                None => cookie.push_str(part),
            }
        }
        changed.then_some(cookie)
    }

    /// A path of the application as callers know it; `None` where that is the same.
    fn path(&self, path: &str) -> Option<String> {
        if self.prefix.is_empty() && self.base.is_empty() {
            return None;
        }
        // An application that heeds X-Forwarded-Prefix has done it already.
        if !self.prefix.is_empty() && is_under(path, self.prefix) {
            return None;
        }
        let inner = if is_under(path, self.base) { &path[self.base.len()..] } else { path };
        let slash = if inner.starts_with('/') { "" } else { "/" };
        Some(format!("{}{slash}{inner}", self.prefix))
    }

    fn is_own_host(&self, domain: &str) -> bool {
        let host = self.own.rsplit_once(':').map_or(self.own, |(host, _)| host);
        domain.trim_start_matches('.').eq_ignore_ascii_case(host)
    }
}

fn is_under(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Place<'_> =
        Place { prefix: "/shop", base: "", own: "127.0.0.1:3000", asked: "hub.example:9482" };

    #[test]
    fn redirects_lead_back_into_the_application() {
        for (said, meant) in [
            ("/login?next=/cart", Some("/shop/login?next=/cart")),
            ("/", Some("/shop/")),
            ("/shopping", Some("/shop/shopping")),
            ("http://127.0.0.1:3000/login", Some("/shop/login")),
            ("http://127.0.0.1:3000", Some("/shop/")),
            ("//127.0.0.1:3000/x", Some("/shop/x")),
            ("http://HUB.example:9482/x", Some("http://HUB.example:9482/shop/x")),
            ("http://hub.example:9482", Some("http://hub.example:9482/shop/")),
            ("/shop/login", None),
            ("/shop", None),
            ("login", None),
            ("../x", None),
            ("", None),
            ("?page=2", None),
            ("https://elsewhere.example/x", None),
            ("mailto:me@127.0.0.1:3000", None),
        ] {
            assert_eq!(CUT.location(said).as_deref(), meant, "{said}");
        }
    }

    #[test]
    fn under_a_host_only_the_inner_host_is_hidden() {
        let place = Place { prefix: "", asked: "app.localhost:9482", ..CUT };
        for (said, meant) in [
            ("/login", None),
            ("http://127.0.0.1:3000/login?a", Some("/login?a")),
            ("http://127.0.0.1:3000?a", Some("/?a")),
            ("http://app.localhost:9482/x", None),
        ] {
            assert_eq!(place.location(said).as_deref(), meant, "{said}");
        }
    }

    #[test]
    fn the_base_of_the_application_is_hidden_too() {
        let place = Place { base: "/base", ..CUT };
        assert_eq!(place.location("/base/login").as_deref(), Some("/shop/login"));
        assert_eq!(place.location("/base").as_deref(), Some("/shop/"));
        assert_eq!(place.location("/elsewhere").as_deref(), Some("/shop/elsewhere"));
    }

    #[test]
    fn cookies_are_for_the_application_alone() {
        for (said, meant) in [
            ("a=b; Path=/; HttpOnly", Some("a=b; Path=/shop; HttpOnly")),
            ("a=b; HttpOnly; path=/admin", Some("a=b; HttpOnly; Path=/shop/admin")),
            ("a=b; Domain=127.0.0.1; Secure", Some("a=b; Secure")),
            ("a=b; Domain=example.com", None),
            ("a=b", None),
            ("a=b; Path=/shop", None),
            ("__Host-a=b; Path=/; Secure", None),
            ("a=\"x;y\"; Path=relative", None),
        ] {
            assert_eq!(CUT.cookie(said).as_deref(), meant, "{said}");
        }
    }
}
