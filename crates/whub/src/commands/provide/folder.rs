//! `--files DIR` as a service: methods, redirects, and files as they are read.

use whub_client::{Reply, Request, ServiceError};

use super::files::{Files, Found};
use crate::stream;

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
            _ => return Ok(Reply::status(405).header("allow", "GET, HEAD")),
        };
        let rest = request.rest().unwrap_or_default();
        if rest.is_empty() && !request.path().ends_with('/') {
            return Ok(redirect(&request));
        }
        let found = tokio::task::spawn_blocking(move || self.0.find(&rest)).await;
        match found.map_err(|_| ServiceError::internal("the files cannot be read"))? {
            Found::Nothing => Err(ServiceError::not_found(format!("there is no file at {}", request.path()))),
            Found::Folder => {
                Ok(Reply::status(308).header("location", with_slash(request.path(), request.query())))
            }
            Found::File { file, bytes, content_type } => {
                let reply = if head_only {
                    Reply::status(200)
                } else {
                    Reply::stream(stream::read(tokio::fs::File::from_std(file)))
                };
                let reply =
                    reply.header("content-type", content_type).header("content-length", bytes.to_string());
                // Browsers shall not guess another type than the one that was said.
                Ok(reply.header("x-content-type-options", "nosniff"))
            }
        }
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
