//! What may be shown of headers and queries.

use serde_json::{Map, Value, json};

/// What stands in the place of a secret.
const HIDDEN: &str = "[redacted]";

/// Words whose presence in a name makes the value a secret.
const SECRET_WORDS: [&str; 19] = [
    "auth",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "apikey",
    "api-key",
    "api_key",
    "session",
    "credential",
    "signature",
    "jwt",
    "csrf",
    "xsrf",
    "dpop",
    "access-key",
    "private-key",
    "passphrase",
];

/// Names of query parameters that are secrets although no word tells.
const SECRET_PARAMETERS: [&str; 9] = ["key", "code", "sig", "jwt", "pass", "pwd", "state", "nonce", "otp"];

/// Headers whose values are URLs, with queries of their own.
const URLS: [&str; 4] = ["referer", "location", "content-location", "origin"];

/// Hides secrets.
#[derive(Debug)]
pub(crate) struct Redactor {
    /// Further header names, lower case.
    more: Vec<String>,
}

impl Redactor {
    pub(crate) fn new(more: &[String]) -> Self {
        Self { more: more.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Headers as an object; a name that repeats has a list.
    pub(crate) fn headers(&self, headers: &[(Box<str>, Box<str>)]) -> Value {
        let mut object = Map::new();
        for (name, value) in headers {
            let value = self.header(name, value);
            match object.get_mut(&**name) {
                None => {
                    object.insert(name.to_string(), value.into());
                }
                Some(Value::Array(values)) => values.push(value.into()),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        Value::Object(object)
    }

    /// What may be shown of one.
    pub(crate) fn header(&self, name: &str, value: &str) -> String {
        let name = name.to_ascii_lowercase();
        if is_secret(&name) || self.more.contains(&name) {
            return HIDDEN.to_owned();
        }
        if URLS.contains(&name.as_str()) { url(value) } else { value.to_owned() }
    }
}

/// A raw query whose secret parameters have no value.
pub(crate) fn query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret_parameter(name) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// A URL without the password in its authority, and with its query redacted.
fn url(url: &str) -> String {
    let (url, fragment) = url.split_once('#').map_or((url, ""), |(url, _)| (url, "#[redacted]"));
    let (place, asked) = url.split_once('?').map_or((url, None), |(place, asked)| (place, Some(asked)));
    let place = match place.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            match rest[..end].rfind('@') {
                Some(at) => format!("{scheme}://{HIDDEN}@{}", &rest[at + 1..]),
                None => place.to_owned(),
            }
        }
        None => place.to_owned(),
    };
    match asked {
        Some(asked) => format!("{place}?{}{fragment}", query(asked)),
        None => format!("{place}{fragment}"),
    }
}

fn is_secret(name: &str) -> bool {
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn is_secret_parameter(raw: &str) -> bool {
    // `%74oken` is `token` to those who read it.
    let name = percent_encoding::percent_decode_str(raw).decode_utf8_lossy().to_ascii_lowercase();
    is_secret(&name) || SECRET_PARAMETERS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_whatever_they_are_called() {
        let redactor = Redactor::new(&["X-Internal".to_owned()]);
        for name in [
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-csrf-token",
            "x-amz-security-token",
            "x-hub-signature-256",
            "www-authenticate",
            "x-goog-iap-jwt-assertion",
            "x-csrf",
            "dpop",
            "x-access-key",
            "x-internal",
        ] {
            assert_eq!(redactor.header(name, "s3cret"), HIDDEN, "{name}");
        }
        assert_eq!(redactor.header("content-type", "text/plain"), "text/plain");
    }

    #[test]
    fn queries_keep_what_is_no_secret() {
        for (raw, shown) in [
            ("", ""),
            ("a=1&b", "a=1&b"),
            ("a=1&token=x&b=2", "a=1&token=[redacted]&b=2"),
            ("%74oken=x", "%74oken=[redacted]"),
            ("access_token=x=y", "access_token=[redacted]"),
            ("KEY=x", "KEY=[redacted]"),
            ("monkey=x", "monkey=x"),
        ] {
            assert_eq!(query(raw), shown);
        }
    }

    #[test]
    fn urls_lose_their_passwords() {
        for (raw, shown) in [
            ("https://h/p?x=1", "https://h/p?x=1"),
            ("https://u:p@h/p?token=x#access_token=y", "https://[redacted]@h/p?token=[redacted]#[redacted]"),
            ("/there?code=1", "/there?code=[redacted]"),
            ("https://h/a@b", "https://h/a@b"),
        ] {
            assert_eq!(url(raw), shown);
        }
    }

    #[test]
    fn headers_that_repeat_are_lists() {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let headers = [pair("a", "1"), pair("b", "2"), pair("a", "3"), pair("cookie", "x")];
        let shown = Redactor::new(&[]).headers(&headers);
        assert_eq!(shown, json!({ "a": ["1", "3"], "b": "2", "cookie": HIDDEN }));
    }
}
