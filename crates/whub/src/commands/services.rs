//! `whub services`: who provides what, and how it does.

use clap::Args;
use serde_json::Value;

use crate::{
    commands::table::{duration, table, time_of_day},
    exit::Failure,
    hub::HubArgs,
    output,
    runtime::{self, stop},
    watch::Watch,
};

/// Show who provides what, and how it does
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Services {
    /// One service, by its pattern or by a path that it takes; all if it is left out
    path: Option<String>,

    /// Print JSON; with --watch, one object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Go on, and tell of providers that come or go, until Ctrl-C; a hub that is gone is waited for
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub services
  whub services /math/add            the service that takes this path, with its providers
  whub services '/math/:op' --watch
  whub services --json | jq '.services[] | select(.errors > 0)'

Shown are the services that the token may call or provide. HEALTH is that of the best provider: open, full (as many
calls as it wants), or failing (half of its calls in the last minute or so failed, and not by their callers' fault).";

impl Services {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            if !self.watch {
                return self.show(&self.hub.get(&self.url("")).await?);
            }
            tokio::select! {
                ended = self.go_on() => ended,
                () = stop() => Ok(()),
            }
        })
    }

    fn url(&self, more: &str) -> String {
        let path = self.path.as_deref().unwrap_or_default();
        let separator = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        format!("/v1/services{separator}{}{more}", escaped(path))
    }

    async fn go_on(&self) -> Result<(), Failure> {
        let mut news = Watch::begin(self.hub.http()?, self.url("?watch")).await?;
        loop {
            let (name, told) = news.next().await?;
            match name.as_str() {
                "services" | "service" => self.show(&told)?,
                "came" | "left" if self.json => output::print_json(&told)?,
                "came" | "left" => output::print(&format!("{}\n", output::one_line(line(&told).trim_end())))?,
                "gap" => output::note(&format!("{} changes were too many to show", told["count"])),
                // News are open; what is not known here is not worth a line.
                _ => {}
            }
        }
    }

    fn show(&self, told: &Value) -> Result<(), Failure> {
        if self.json {
            return output::print_json(told);
        }
        match told["services"].as_array() {
            Some(services) => output::print(&list(services)),
            None => output::print(&whole(told)),
        }
    }
}

/// A path as it may stand in a request line. What is escaped already stays, so that `%2F` keeps its meaning.
fn escaped(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'<' | b'>');
    let bytes = path
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    bytes.collect()
}

/// All services, one a line.
fn list(services: &[Value]) -> String {
    if services.is_empty() {
        return "nobody provides a service that you may call or provide\n".to_owned();
    }
    let heading = ["SERVICE", "HEALTH", "PROVIDERS", "IN FLIGHT", "WAITING", "CALLS", "ERRORS", "P50", "P99"];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(services.iter().map(|service| {
        let number = |name: &str| service[name].as_u64().unwrap_or(0).to_string();
        [
            text(service, "pattern"),
            text(service, "health"),
            number("providers"),
            number("inflight"),
            number("waiting"),
            number("calls"),
            number("errors"),
            quantile(service, "p50"),
            quantile(service, "p99"),
        ]
    }));
    table(&rows, [false, false, true, true, true, true, true, true, true])
}

/// One service with its providers.
fn whole(service: &Value) -> String {
    let number = |name: &str| service[name].as_u64().unwrap_or(0);
    let mut shown = format!(
        "{}\n\nhealth       {}\naccess       {}\nchosen       {}\n",
        text(service, "pattern"),
        text(service, "health"),
        text(service, "access"),
        text(service, "choose"),
    );
    for (name, label) in [
        ("inflight", "in flight"),
        ("waiting", "waiting"),
        ("calls", "calls"),
        ("errors", "errors"),
        ("moved", "moved"),
        ("waited", "had to wait"),
        ("unavailable", "unavailable"),
    ] {
        shown.push_str(&format!("{label:12} {}\n", number(name)));
    }
    for (code, count) in service["errors_by_code"].as_object().into_iter().flatten() {
        shown.push_str(&format!("  {code}: {count}\n"));
    }
    shown.push_str(&histogram(&service["latency_buckets"]));
    let providers = service["provided_by"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !providers.is_empty() {
        shown.push_str(&format!("\n{}", provider_table(providers)));
        shown.extend(providers.iter().filter_map(about));
    }
    for left in service["left_lately"].as_array().into_iter().flatten() {
        let time = time_of_day(left["time_ms"].as_u64().unwrap_or(0));
        let finishes = match left["inflight"].as_u64() {
            None | Some(0) => String::new(),
            Some(calls) => format!(", and finishes the calls that it has: {calls}"),
        };
        shown.push_str(&format!("{} left at {time} UTC{finishes}\n", who(left)));
    }
    shown
}

fn provider_table(providers: &[Value]) -> String {
    let heading =
        ["PROVIDER", "VERSION", "GROUP", "HEALTH", "WEIGHT", "IN FLIGHT", "CALLS", "ERRORS", "P50", "P99"];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(providers.iter().map(|provider| {
        let number = |name: &str| provider[name].as_u64().unwrap_or(0);
        let inflight = match number("inflight_max") {
            0 => number("inflight").to_string(),
            most => format!("{}/{most}", number("inflight")),
        };
        [
            who(provider),
            text(provider, "version"),
            text(provider, "group"),
            text(provider, "health"),
            number("weight").to_string(),
            inflight,
            number("calls").to_string(),
            number("errors").to_string(),
            quantile(provider, "p50"),
            quantile(provider, "p99"),
        ]
    }));
    table(&rows, [false, false, false, false, true, true, true, true, true, true])
}

/// What a provider says of itself in words of its own.
fn about(provider: &Value) -> Option<String> {
    let mut said = text(provider, "description");
    for (name, value) in provider["metadata"].as_object().into_iter().flatten() {
        let one = std::slice::from_ref(value);
        for value in value.as_array().map_or(one, Vec::as_slice) {
            said.push_str(&format!("  {name}={}", value.as_str().unwrap_or_default()));
        }
    }
    let said = said.trim_start();
    (!said.is_empty()).then(|| format!("{}\n", output::one_line(&format!("{}: {said}", who(provider)))))
}

/// How long answers took to begin, a bar for each power of two that holds any.
fn histogram(buckets: &Value) -> String {
    const BAR: u64 = 40;
    let mut octaves: Vec<(f64, u64)> = Vec::new();
    for bucket in buckets.as_array().into_iter().flatten() {
        let (Some(end), Some(count)) = (bucket[0].as_f64(), bucket[1].as_u64()) else { continue };
        let end = end.max(0.001).log2().ceil().exp2();
        match octaves.last_mut() {
            Some((last, sum)) if *last == end => *sum += count,
            _ => octaves.push((end, count)),
        }
    }
    let Some(most) = octaves.iter().map(|(_, count)| *count).max() else { return String::new() };
    let mut shown = "\nlatency\n".to_owned();
    for (end, count) in octaves {
        let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0));
        shown.push_str(&format!("  up to {:>8}  {count:>8}  {bar}\n", duration(end)));
    }
    shown
}

/// A change on one line.
fn line(told: &Value) -> String {
    let time = time_of_day(told["time_ms"].as_u64().unwrap_or(0));
    let providers = told["providers"].as_u64().unwrap_or(0);
    let plural = if providers == 1 { "" } else { "s" };
    format!(
        "{time}  {:4}  {}  {}  {providers} provider{plural}\n",
        text(told, "event"),
        text(told, "pattern"),
        who(&told["provider"])
    )
}

/// What a provider calls itself, and what the hub does.
fn who(provider: &Value) -> String {
    let (name, client) = (text(provider, "name"), text(provider, "client"));
    match (name.as_str(), client.as_str()) {
        ("", "") => "?".to_owned(),
        ("", client) => client.to_owned(),
        (name, "") => name.to_owned(),
        (name, client) => format!("{name} ({client})"),
    }
}

fn quantile(of: &Value, name: &str) -> String {
    let latency = &of["latency_ms"];
    if latency["count"].as_u64().unwrap_or(0) == 0 {
        return "-".to_owned();
    }
    duration(latency[name].as_f64().unwrap_or(0.0))
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_are_listed() {
        let services = [json!({
            "pattern": "/math/:op", "health": "open", "providers": 2, "inflight": 1, "waiting": 0, "calls": 7,
            "errors": 1, "latency_ms": { "count": 7, "p50": 1.25, "p99": 12.0 },
        })];
        let expected = "SERVICE    HEALTH  PROVIDERS  IN FLIGHT  WAITING  CALLS  ERRORS      P50      P99\n\
                        /math/:op  open            2          1        0      7       1  1.25 ms  12.0 ms\n";
        assert_eq!(list(&services), expected);
        assert!(list(&[]).starts_with("nobody provides"));
    }

    #[test]
    fn a_service_is_shown_with_its_providers_and_how_long_it_takes() {
        let service = json!({
            "pattern": "/a", "health": "full", "calls": 3, "errors_by_code": { "internal": 1 },
            "latency_buckets": [[0.9, 1], [1.0, 1], [7.5, 4]],
            "provided_by": [{ "client": "c-1", "name": "north", "inflight": 1, "inflight_max": 4,
                               "description": "adds\nup", "metadata": { "zone": ["a", "b"] } }],
            "left_lately": [{ "client": "c-3", "name": "", "time_ms": 0, "inflight": 2 }, { "client": "c-2", "name": "", "time_ms": 0 }],
        });
        let shown = whole(&service);
        assert!(
            shown.starts_with("/a\n\nhealth       full\n") && shown.contains("  internal: 1\n"),
            "{shown}"
        );
        assert!(shown.contains(&format!("  up to  1.00 ms         2  {}\n", "#".repeat(20))), "{shown}");
        assert!(shown.contains(&format!("  up to  8.00 ms         4  {}\n", "#".repeat(40))), "{shown}");
        assert!(shown.contains("north (c-1)") && shown.contains("1/4"), "{shown}");
        assert!(shown.contains("\nnorth (c-1): adds\\nup  zone=a  zone=b\n"), "{shown}");
        assert!(
            shown.contains("c-3 left at 00:00:00.000 UTC, and finishes the calls that it has: 2\n"),
            "{shown}"
        );
        assert!(shown.ends_with("c-2 left at 00:00:00.000 UTC\n"), "{shown}");
    }

    #[test]
    fn paths_stay_what_they_are() {
        assert_eq!(escaped("math/:op"), "math/:op");
        assert_eq!(escaped("a%2Fb/*rest"), "a%2Fb/*rest");
        assert_eq!(escaped("ü x?"), "%C3%BC%20x%3F");
    }
}
