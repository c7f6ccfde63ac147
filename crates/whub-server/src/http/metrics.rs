//! `/metrics`: every counter, as Prometheus reads it.

use std::fmt;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::http::body::HttpBody;
use crate::node::Node;
use crate::report::queued;

/// The metrics now.
pub(super) fn show(node: &Node) -> Response<HttpBody> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::take(node)));
    let mut metrics = String::with_capacity(8 * 1024);
    // Writing to a string does not fail.
    let _ = text::encode(&mut metrics, &registry);
    let mut response = Response::new(HttpBody::full(Bytes::from(metrics)));
    let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// All numbers of one moment.
#[derive(Debug)]
struct Snapshot {
    counters: Vec<(String, &'static str, u64)>,
    gauges: Vec<(&'static str, &'static str, i64)>,
}

impl Snapshot {
    fn take(node: &Node) -> Self {
        let core = node.hub.counters.each();
        let own = node.http.each().into_iter();
        let mut counters: Vec<_> =
            core.chain(own).map(|(name, help, value)| (format!("whub_{name}"), help.trim(), value)).collect();
        let at_the_door = "Connections at the listeners.";
        counters.extend(
            node.transport.iter().map(|(name, value)| (format!("whub_transport_{name}"), at_the_door, value)),
        );
        let hub = &node.hub;
        let routes = node.routes.all();
        let down = routes.iter().filter(|route| !route.is_up()).count();
        let sockets: usize = routes.iter().map(|route| route.sockets()).sum();
        let gauges = [
            ("whub_sessions", "Sessions that are there.", node.sessions() as u64),
            ("whub_services", "Patterns that are provided.", hub.services.list().len() as u64),
            ("whub_filters", "Filters that are subscribed to.", hub.channels.filters() as u64),
            (
                "whub_pair_seats_away",
                "Seats in pairs that are kept for clients whose connection was lost.",
                hub.seats_away() as u64,
            ),
            ("whub_pairs_waiting", "Halves of pairs that wait for a partner.", hub.pairs.waiting() as u64),
            ("whub_rooms", "Rooms, those included that nobody is in.", hub.rooms.len() as u64),
            ("whub_rooms_empty", "Rooms that are kept although nobody is in them.", hub.rooms.kept() as u64),
            ("whub_room_members", "Members of all rooms.", hub.rooms.members() as u64),
            ("whub_endpoints", "Endpoints of the gateway.", routes.len() as u64),
            ("whub_endpoints_down", "Endpoints of which no upstream is up.", down as u64),
            ("whub_gateway_sockets", "Connections to endpoints that are under way.", sockets as u64),
            ("whub_deliveries_queued", "Deliveries that wait in mailboxes.", queued(&hub.counters)),
            ("whub_uptime_seconds", "Time since the start.", node.started.elapsed().as_secs()),
            ("whub_stopping", "1 once the node has begun to stop.", node.is_stopping().into()),
        ];
        let gauges = gauges.map(|(name, help, value)| (name, help, i64::try_from(value).unwrap_or(i64::MAX)));
        Self { counters, gauges: gauges.into() }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in &self.counters {
            let counter = ConstCounter::new(*value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        for (name, help, value) in &self.gauges {
            let gauge = ConstGauge::new(*value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
