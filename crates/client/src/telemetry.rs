//! The metrics of a client: with the feature `metrics`, through the facade of that name.

use bayeux_proto::client::Event;

#[cfg(feature = "metrics")]
use metrics::{Counter, Gauge};

/// The counters of one client. Each carries the label `endpoint`, the server's URL without secrets.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// Messages that reached a receiver's queue or were on their way into it.
    pub(crate) received: Counter,
    /// Messages sent, those of the protocol among them.
    pub(crate) sent: Counter,
    /// Calls that failed.
    pub(crate) failed_calls: Counter,
    connected: Gauge,
    is_connected: bool,
    losses: Counter,
    retries: Counter,
    rehandshakes: Counter,
    refused_restorations: Counter,
    transport_changes: Counter,
    gaps: Counter,
    dropped: Counter,
    closed: Counter,
}

impl Telemetry {
    pub(crate) fn new(endpoint: &str) -> Self {
        let count = |name| counter(name, endpoint);
        Self {
            received: count("bayeux_messages_received_total"),
            sent: count("bayeux_messages_sent_total"),
            failed_calls: count("bayeux_calls_failed_total"),
            connected: gauge("bayeux_connected", endpoint),
            is_connected: false,
            losses: count("bayeux_connections_lost_total"),
            retries: count("bayeux_retries_total"),
            rehandshakes: count("bayeux_rehandshakes_total"),
            refused_restorations: count("bayeux_resubscriptions_refused_total"),
            transport_changes: count("bayeux_transport_changes_total"),
            gaps: count("bayeux_gaps_possible_total"),
            dropped: count("bayeux_messages_dropped_total"),
            closed: count("bayeux_closed_total"),
        }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Connected { .. } => self.set_connected(true),
            Event::Lost { .. } => {
                self.set_connected(false);
                self.losses.increment(1);
            }
            Event::Retrying { .. } => self.retries.increment(1),
            Event::Rehandshaken => self.rehandshakes.increment(1),
            Event::Resubscribed { outcome: Err(_), .. } => self.refused_restorations.increment(1),
            Event::TransportChanged { .. } => self.transport_changes.increment(1),
            Event::GapPossible { .. } => self.gaps.increment(1),
            Event::SlowConsumer { dropped, .. } => self.dropped.increment(*dropped),
            Event::Closed(_) => {
                self.set_connected(false);
                self.closed.increment(1);
            }
            _ => {}
        }
    }

    /// Several clients of one server share the gauge: each adds and takes away what is its own.
    fn set_connected(&mut self, now: bool) {
        match (self.is_connected, now) {
            (false, true) => self.connected.increment(1.0),
            (true, false) => self.connected.decrement(1.0),
            _ => {}
        }
        self.is_connected = now;
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.set_connected(false);
    }
}

#[cfg(feature = "metrics")]
fn counter(name: &'static str, endpoint: &str) -> Counter {
    metrics::counter!(name, "endpoint" => endpoint.to_owned())
}

#[cfg(feature = "metrics")]
fn gauge(name: &'static str, endpoint: &str) -> Gauge {
    metrics::gauge!(name, "endpoint" => endpoint.to_owned())
}

/// Counts nothing.
#[cfg(not(feature = "metrics"))]
#[derive(Debug)]
pub(crate) struct Counter;

#[cfg(not(feature = "metrics"))]
impl Counter {
    pub(crate) fn increment(&self, _: u64) {}
}

/// Shows nothing.
#[cfg(not(feature = "metrics"))]
#[derive(Debug)]
struct Gauge;

#[cfg(not(feature = "metrics"))]
impl Gauge {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
}

#[cfg(not(feature = "metrics"))]
fn counter(_: &'static str, _: &str) -> Counter {
    Counter
}

#[cfg(not(feature = "metrics"))]
fn gauge(_: &'static str, _: &str) -> Gauge {
    Gauge
}
