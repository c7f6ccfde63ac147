//! The CGI side of a command: the environment that tells of the request, and the header block that may open the output
//! (RFC 3875).

use std::ffi::OsString;

/// What a call says, as far as a command is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The part of the raw path that is the service's own; empty where the pattern has no `*rest`.
    pub(crate) script: String,
    /// What follows it, raw.
    pub(crate) path: String,
    pub(crate) query: String,
    /// `http` or `https`, or empty where the call did not come over HTTP.
    pub(crate) scheme: String,
    /// Host and port that the caller asked for.
    pub(crate) authority: String,
    /// Address of the caller, as far as the hub trusts it.
    pub(crate) peer: String,
    /// The authenticated caller; empty for anonymous ones.
    pub(crate) user: String,
    /// What `:name` of the pattern took, decoded.
    pub(crate) params: Vec<(String, String)>,
    /// Names in lower case; a name may come several times.
    pub(crate) headers: Vec<(String, String)>,
}

/// The variables of a call. None holds a zero byte, which no environment can carry.
pub(crate) fn environment(asked: &Asked) -> Vec<(String, OsString)> {
    let (address, port) = address(&asked.peer);
    let (server, server_port) = host(&asked.authority, &asked.scheme);
    let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
    let said = [
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_SOFTWARE", concat!("whub/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("SERVER_PROTOCOL", "HTTP/1.1".to_owned()),
        ("SERVER_NAME", server),
        ("SERVER_PORT", server_port),
        ("REQUEST_METHOD", if asked.method.is_empty() { "GET".to_owned() } else { asked.method.clone() }),
        ("REQUEST_SCHEME", asked.scheme.clone()),
        ("REQUEST_URI", format!("{}{}{query}", asked.script, asked.path)),
        ("SCRIPT_NAME", asked.script.clone()),
        ("PATH_INFO", asked.path.clone()),
        ("QUERY_STRING", asked.query.clone()),
        ("REMOTE_ADDR", address),
        ("REMOTE_PORT", port),
        ("REMOTE_USER", asked.user.clone()),
    ];
    let mut variables: Vec<(String, OsString)> =
        said.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    if asked.scheme == "https" {
        variables.push(("HTTPS".to_owned(), "on".into()));
    }
    for (name, value) in &asked.params {
        variables.push((format!("PARAM_{}", name.to_ascii_uppercase().replace('-', "_")), value.into()));
    }
    for (name, value) in &asked.headers {
        let Some(variable) = variable(name) else { continue };
        // Of a repeated header all values count, as in a list (RFC 9110, section 5.2).
        match variables.iter_mut().find(|(known, _)| *known == variable) {
            Some((_, known)) => {
                known.push(", ");
                known.push(value);
            }
            None => variables.push((variable, value.into())),
        }
    }
    variables.retain(|(_, value)| !value.as_encoded_bytes().contains(&0));
    variables
}

/// The variable of a header. `Proxy` has none, because `HTTP_PROXY` steers many a program; nor has a name with `_`,
/// which could not be told from one with `-`.
fn variable(header: &str) -> Option<String> {
    if header.eq_ignore_ascii_case("proxy")
        || !header.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return None;
    }
    let name = header.to_ascii_uppercase().replace('-', "_");
    Some(if matches!(name.as_str(), "CONTENT_TYPE" | "CONTENT_LENGTH") {
        name
    } else {
        format!("HTTP_{name}")
    })
}

/// Address and port of a peer; one over a Unix socket has no port.
fn address(peer: &str) -> (String, String) {
    match peer.parse::<std::net::SocketAddr>() {
        Ok(peer) => (peer.ip().to_string(), peer.port().to_string()),
        Err(_) => (peer.to_owned(), String::new()),
    }
}

/// Name and port of the server as the caller named it.
fn host(authority: &str, scheme: &str) -> (String, String) {
    let default = match scheme {
        "https" => "443",
        "http" => "80",
        _ => "",
    };
    let named = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let (name, port) = named.unwrap_or((authority, default));
    (name.to_owned(), port.to_owned())
}

/// The header block of an output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Where the body begins.
    pub(crate) bytes: usize,
}

/// What is wrong with a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error(
        "a line before the empty one is no header: with --cgi the output begins with `Name: value` lines"
    )]
    NoHeader,
    #[error("the status is no number from 200 to 599")]
    Status,
}

/// Reads the header block that `printed` begins with; nothing while its empty line has not come. Lines end with LF or
/// CR LF.
pub(crate) fn head(printed: &[u8]) -> Result<Option<Head>, HeadError> {
    let mut head = Head { status: 0, headers: Vec::new(), bytes: 0 };
    loop {
        let rest = &printed[head.bytes..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        head.bytes += end + 1;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.is_empty() {
            break;
        }
        let (name, value) = header(line).ok_or(HeadError::NoHeader)?;
        match name.as_str() {
            "status" => head.status = status(&value).ok_or(HeadError::Status)?,
            _ => head.headers.push((name, value)),
        }
    }
    if head.status == 0 {
        // A script that only says where to go means a redirect (RFC 3875, section 6.2.3).
        head.status = if head.headers.iter().any(|(name, _)| name == "location") { 302 } else { 200 };
    }
    Ok(Some(head))
}

fn header(line: &[u8]) -> Option<(String, String)> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) || value.contains(|c: char| c.is_control() && c != '\t')
    {
        return None;
    }
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn status(value: &str) -> Option<u16> {
    let number = value.split(' ').next()?.parse().ok()?;
    (200..=599).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(asked: &Asked, name: &str) -> Option<String> {
        let found = environment(asked).into_iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_string().unwrap())
    }

    #[test]
    fn the_environment_tells_of_the_request() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked = Asked {
            method: "POST".to_owned(),
            script: "/shell".to_owned(),
            path: "/a%2Fb".to_owned(),
            query: "x=1&y".to_owned(),
            scheme: "https".to_owned(),
            authority: "[::1]:9482".to_owned(),
            peer: "192.0.2.1:4711".to_owned(),
            user: "ann".to_owned(),
            params: vec![pair("file-name", "a b")],
            headers: vec![
                pair("content-type", "text/plain"),
                pair("x-tag", "one"),
                pair("x-tag", "$(two)"),
                pair("x-zero", "a\0b"),
                pair("proxy", "http://evil"),
                pair("x_tag", "three"),
            ],
        };
        for (name, value) in [
            ("REQUEST_METHOD", Some("POST")),
            ("REQUEST_URI", Some("/shell/a%2Fb?x=1&y")),
            ("SCRIPT_NAME", Some("/shell")),
            ("PATH_INFO", Some("/a%2Fb")),
            ("QUERY_STRING", Some("x=1&y")),
            ("SERVER_NAME", Some("[::1]")),
            ("SERVER_PORT", Some("9482")),
            ("REMOTE_ADDR", Some("192.0.2.1")),
            ("REMOTE_PORT", Some("4711")),
            ("REMOTE_USER", Some("ann")),
            ("HTTPS", Some("on")),
            ("PARAM_FILE_NAME", Some("a b")),
            ("CONTENT_TYPE", Some("text/plain")),
            ("HTTP_X_TAG", Some("one, $(two)")),
            ("HTTP_X_ZERO", None),
            ("HTTP_PROXY", None),
        ] {
            assert_eq!(told(&asked, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_header_block_is_read_up_to_its_empty_line() {
        let read = |text: &str| head(text.as_bytes());
        let of = |status, pairs: &[(&str, &str)], bytes| {
            let headers =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Ok(Some(Head { status, headers, bytes }))
        };
        assert_eq!(read("\nbody"), of(200, &[], 1));
        assert_eq!(read("Content-Type: text/html\n\nbody"), of(200, &[("content-type", "text/html")], 25));
        assert_eq!(read("Status: 404 Not Found\r\nX-A:b\r\n\r\n"), of(404, &[("x-a", "b")], 32));
        assert_eq!(read("Location: /there\n\n"), of(302, &[("location", "/there")], 18));
        assert_eq!(read("Status: 201\nLocation: /there\n\n"), of(201, &[("location", "/there")], 30));
        assert_eq!(read("Content-Type: text/html\n"), Ok(None));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("hello\n\n"), Err(HeadError::NoHeader));
        assert_eq!(read("bad name: x\n\n"), Err(HeadError::NoHeader));
        assert_eq!(read("X: a\rb\n\n"), Err(HeadError::NoHeader));
        for status in ["99", "101", "600", "many", ""] {
            assert_eq!(read(&format!("Status: {status}\n\n")), Err(HeadError::Status), "{status}");
        }
    }
}
