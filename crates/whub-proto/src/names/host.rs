//! The host of a service that has one of its own: `//app.example.com/*rest`.
//!
//! Such services are reached under a name instead of below a path. A name has at least two labels, so that `//files`
//! stays the slip that it is, and is neither an address nor `localhost`: under those the hub itself is reached.

use std::borrow::Cow;

use super::NameError;

/// Longest name, bytes (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// Longest label, bytes.
const LABEL_BYTES_MAX: usize = 63;

/// The one spelling of a host that a service may have: lower case, without port and final dot.
///
/// Fails with [`NameError::BadHost`] for what is no name with two labels at least: addresses, `localhost`.
pub fn canonical(written: &str) -> Result<Cow<'_, str>, NameError> {
    let host = match written.split_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return Err(NameError::BadHost),
        None => written,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let labels = host.split('.').count();
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if labels < 2 || numeric || host.len() > HOST_BYTES_MAX || !host.split('.').all(is_label) {
        return Err(NameError::BadHost);
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(host.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(host))
}

fn is_label(label: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && label.bytes().all(legal)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        for (written, host) in [
            ("app.example.com", "app.example.com"),
            ("App.Example.COM:8080", "app.example.com"),
            ("app.localhost.", "app.localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("my_app.internal:", "my_app.internal"),
        ] {
            assert_eq!(canonical(written).as_deref(), Ok(host));
        }
        assert!(matches!(canonical("app.example.com:80"), Ok(Cow::Borrowed("app.example.com"))));
    }

    #[test]
    fn what_the_hub_itself_is_called_is_no_host_of_a_service() {
        for bad in [
            "",
            "localhost",
            "localhost:9482",
            "127.0.0.1",
            "1.2",
            "[::1]",
            "::1",
            "app",
            "a..b",
            ".a.b",
            "a.b..",
            "-a.b",
            "a-.b",
            "a.b:port",
            "a.b:80:80",
            "a b.c",
            "bücher.example",
            "*.example.com",
            "a%2eb.c",
            "user@a.b",
        ] {
            assert_eq!(canonical(bad), Err(NameError::BadHost), "{bad}");
        }
        assert_eq!(canonical(&format!("{}.b", "a".repeat(64))), Err(NameError::BadHost));
        assert_eq!(canonical(&format!("{}a", "a.".repeat(127))), Err(NameError::BadHost));
    }
}
