//! `/` and `/dashboard`: a plain page that says what this is and how it fares.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use crate::http::body::HttpBody;
use crate::http::visit::Visit;
use crate::report::queued;

const STYLE: &str = include_str!("page.css");

/// The page; `is_known`: whoever asks may see numbers.
pub(super) fn show(visit: &Visit, is_known: bool) -> Response<HttpBody> {
    let hub = &visit.node.hub;
    let mut html = String::with_capacity(4096);
    // Writing to a string does not fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>whub · {node}</title><style>{STYLE}</style></head><body><main>\
         <h1>whub</h1><p class=\"lead\">Node <strong>{node}</strong> is {state}. {agent}</p>",
        node = escape(&hub.node),
        state = if visit.node.is_stopping() { "stopping" } else { "up" },
        agent = escape(&hub.agent),
    );
    if is_known {
        write_numbers(visit, &mut html);
    } else {
        html.push_str("<p>Send a token (<code>Authorization: Bearer …</code>) to see more.</p>");
    }
    html.push_str(
        "<h2>Use it</h2><dl>\
         <dt>Call a service</dt><dd><code>curl -d hello http://HOST/echo</code></dd>\
         <dt>Publish</dt><dd><code>curl -d hello http://HOST/v1/publish/news</code></dd>\
         <dt>Subscribe</dt><dd><code>curl -N http://HOST/v1/subscribe/news</code></dd>\
         </dl><nav aria-label=\"Operations\"><a href=\"/healthz\">health</a> <a href=\"/readyz\">readiness</a> \
         <a href=\"/metrics\">metrics</a> <a href=\"/v1/status\">status as JSON</a> \
         <a href=\"/v1/services\">services as JSON</a></nav></main></body></html>\n",
    );
    let mut response = Response::new(HttpBody::full(Bytes::from(html)));
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn write_numbers(visit: &Visit, html: &mut String) {
    let (node, hub) = (&visit.node, &visit.node.hub);
    let rows = [
        ("Up for", uptime(node.started.elapsed().as_secs())),
        ("Sessions", node.sessions().to_string()),
        ("Services", hub.services.list().len().to_string()),
        ("Filters subscribed to", hub.channels.filters().to_string()),
        ("Halves waiting for a partner", hub.pairs.waiting().to_string()),
        ("Rooms", hub.rooms.len().to_string()),
        ("Members of rooms", hub.rooms.members().to_string()),
        ("Calls answered", hub.counters.calls_answered.read().to_string()),
        ("Messages published", hub.counters.published.read().to_string()),
        ("Deliveries queued", queued(&hub.counters).to_string()),
    ];
    html.push_str("<h2>Now</h2><table><tbody>");
    for (name, value) in rows {
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</tbody></table>");
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape("<b>\"&"), "&lt;b&gt;&quot;&amp;");
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(uptime(59), "59 s");
        assert_eq!(uptime(3599), "59 min");
        assert_eq!(uptime(90_061), "1 d 1 h");
    }
}
