//! `--files DIR` as a service: methods, redirects, conditions, ranges, and files as they are read.

use std::{fs::File, time::SystemTime};

use whub_client::{Reply, Request, ServiceError};

use super::{
    files::{Files, Found},
    parts::Parts,
    ranges::{self, Ranges, Span},
    validator::{Validator, Verdict},
};

/// Methods that are answered.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// Answers calls with the files of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder(Files);

impl Folder {
    pub(crate) fn new(files: Files) -> Self {
        Self(files)
    }

    pub(crate) async fn answer(self, request: Request) -> Result<Reply, ServiceError> {
        // Plain calls have no method and mean GET.
        let head_only = match request.method() {
            "GET" | "" => false,
            "HEAD" => true,
            "OPTIONS" => return Ok(Reply::status(204).header("allow", METHODS)),
            _ => return Ok(Reply::status(405).header("allow", METHODS)),
        };
        let rest = request.rest().unwrap_or_default();
        if rest.is_empty() && !request.path().ends_with('/') {
            return Ok(redirect(&request));
        }
        let found = tokio::task::spawn_blocking(move || self.0.find(&rest)).await;
        match found.map_err(|_| ServiceError::internal("the files cannot be read"))? {
            Found::Nothing => Err(ServiceError::not_found(format!("there is no file at {}", request.path()))),
            Found::Folder => Ok(redirect(&request)),
            Found::File { file, metadata, content_type } => {
                let validator = Validator::of(&metadata, SystemTime::now());
                Ok(Version { file, total: metadata.len(), content_type, validator }
                    .answer(&request, head_only))
            }
        }
    }
}

/// A file as it was when it was opened.
struct Version {
    file: File,
    total: u64,
    content_type: &'static str,
    validator: Validator,
}

impl Version {
    fn answer(self, request: &Request, head_only: bool) -> Reply {
        match self.validator.judge(request.headers()) {
            Verdict::Go => {}
            Verdict::NotModified => return self.mark(Reply::status(304)),
            Verdict::Failed => return Reply::status(412),
        }
        if head_only {
            return self.describe(Reply::status(200), self.content_type, self.total);
        }
        // Only GET has ranges (RFC 9110, section 14.2).
        let said = request.headers().get("range").filter(|_| self.validator.is_same_range(request.headers()));
        match ranges::parse(said, self.total) {
            Ranges::Whole => self.whole(),
            Ranges::Outside => {
                self.mark(Reply::status(416)).header("content-range", format!("bytes */{}", self.total))
            }
            Ranges::Parts(spans) => self.partial(&spans),
        }
    }

    fn whole(self) -> Reply {
        let reply = self.describe(Reply::status(200), self.content_type, self.total);
        // A length of zero needs no reading.
        if self.total == 0 {
            reply
        } else {
            reply.with_stream(Parts::one(Span { begin: 0, bytes: self.total }).read(self.file))
        }
    }

    fn partial(self, spans: &[Span]) -> Reply {
        let reply = Reply::status(206);
        if let [span] = spans {
            let reply = self.describe(reply, self.content_type, span.bytes);
            let reply = reply.header("content-range", span.content_range(self.total));
            return reply.with_stream(Parts::one(*span).read(self.file));
        }
        let (parts, content_type) = Parts::several(spans, self.total, self.content_type);
        self.describe(reply, &content_type, parts.bytes()).with_stream(parts.read(self.file))
    }

    /// What belongs to every answer that has a body, or would have one.
    fn describe(&self, reply: Reply, content_type: &str, bytes: u64) -> Reply {
        let reply = reply.header("content-type", content_type).header("content-length", bytes.to_string());
        // Browsers shall not guess another type than the one that was said.
        self.mark(reply).header("x-content-type-options", "nosniff")
    }

    /// What tells this version from others. Caches ask each time, which the tag makes cheap: a file changes without
    /// notice.
    fn mark(&self, reply: Reply) -> Reply {
        let reply = reply.header("etag", self.validator.tag.clone());
        let reply = reply.header("last-modified", self.validator.last_modified());
        reply.header("accept-ranges", "bytes").header("cache-control", "no-cache")
    }
}

/// The pattern under which a folder is registered: the remainder of the path names the file.
pub(crate) fn pattern(pattern: &str) -> String {
    let last = pattern.rsplit('/').next().unwrap_or_default();
    if last.starts_with('*') {
        pattern.to_owned()
    } else {
        format!("{}/*file", pattern.trim_end_matches('/'))
    }
}

/// A folder's own path ends with a slash, or the relative links of its index go astray.
fn redirect(request: &Request) -> Reply {
    Reply::status(308).header("location", with_slash(request.path(), request.query()))
}

/// The path's last segment with a slash, as a reference relative to it, so that it holds under any prefix that a proxy
/// may have put before it.
fn with_slash(path: &str, query: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("./{last}/{query}")
}

#[cfg(test)]
mod tests {
    use super::{pattern, with_slash};

    #[test]
    fn a_pattern_gets_a_remainder() {
        assert_eq!(pattern("/docs"), "/docs/*file");
        assert_eq!(pattern("docs/"), "docs/*file");
        assert_eq!(pattern("/docs/*rest"), "/docs/*rest");
        assert_eq!(pattern("/:site/docs"), "/:site/docs/*file");
    }

    #[test]
    fn redirects_are_relative() {
        assert_eq!(with_slash("/docs/a:b", ""), "./a:b/");
        assert_eq!(with_slash("/docs", "x=1"), "./docs/?x=1");
    }
}
