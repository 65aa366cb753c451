//! The series of each service: `portolan_service_instances{namespace,service,health}`, and the counters of known and unhealthy time, whose
//! rates give the availability.
//!
//! They are read from the catalog at each scrape, so they are always current: seven for each service. They are rendered while they are sent:
//! for ten thousand services they are megabytes.
//!
//! And `portolan_certificate_expiry_seconds{namespace,service}`: when the first certificate of a service expires, in Unix time, as other
//! exporters report it. Only services whose servers show certificates have this one.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::certificates::Certificates;
use crate::catalog::snapshot::Order;
use crate::catalog::{Entry, Snapshot};
use crate::model::outcome::Health;
use crate::model::service::Instance;

/// The `health` label of instances that have no check on purpose.
const NOT_CHECKED: &str = "not_checked";
/// The `health` of instances that discovery leaves out on purpose.
const DRAINED: &str = "drained";
/// Bytes rendered at once.
const PIECE: usize = 32 * 1024;

/// A metric with series for each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Instances,
    KnownSeconds,
    UnhealthySeconds,
}

/// The series of a snapshot, as an iterator of pieces.
#[derive(Debug)]
pub struct ServiceInstances {
    snapshot: Arc<Snapshot>,
    /// The moment up to which the counters count: all pieces agree on it.
    now: Instant,
    as_text: bool,
    /// The families that are left, the next one last.
    families: Vec<Family>,
    after: Option<Order>,
    /// The description before the first series of a family.
    head: Option<String>,
}

impl ServiceInstances {
    /// The series of `snapshot`; in the text format 0.0.4, or else in OpenMetrics.
    pub fn of(snapshot: Arc<Snapshot>, as_text: bool) -> Self {
        let families = vec![Family::UnhealthySeconds, Family::KnownSeconds, Family::Instances];
        let mut series = Self { snapshot, now: Instant::now(), as_text, families, after: None, head: None };
        series.head = series.families.last().map(|family| family.head(as_text));
        series
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        let mut line = String::new();
        let mut after = self.after;
        let mut len = self.head.as_ref().map_or(0, String::len);
        for (left, family) in self.families.iter().rev().enumerate() {
            if left > 0 {
                len += family.head(self.as_text).len();
            }
            for entry in self.snapshot.newest_first(after.take()) {
                line.clear();
                family.write(entry, self.now, &mut line);
                len += line.len();
            }
        }
        len
    }

    /// Whether no piece is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Iterator for ServiceInstances {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = String::new();
        while let Some(family) = self.families.last().copied() {
            out.push_str(&self.head.take().unwrap_or_default());
            for entry in self.snapshot.newest_first(self.after) {
                let service = entry.service();
                family.write(entry, self.now, &mut out);
                self.after = Some((service.registered_at, service.id));
                if out.len() >= PIECE {
                    return Some(out.into());
                }
            }
            self.families.pop();
            self.after = None;
            self.head = self.families.last().map(|family| family.head(self.as_text));
        }
        (!out.is_empty()).then(|| out.into())
    }
}

/// The series of the certificates of a snapshot's services; empty where none is known.
pub fn certificates(certificates: &Certificates, snapshot: &Snapshot) -> String {
    let known = certificates.known();
    let mut out = String::new();
    if known.is_empty() {
        return out;
    }
    out.push_str(&encode_descriptor(
        "certificate_expiry_seconds",
        "gauge",
        "When the first certificate of a service expires, in Unix time.",
        false,
    ));
    for entry in snapshot.newest_first(None) {
        let service = entry.service();
        let first = service.instances.iter().filter_map(|instance| known.get(&instance.id)).min();
        if let Some(first) = first {
            let (namespace, name) = (service.key.namespace(), service.key.name());
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "portolan_certificate_expiry_seconds{{namespace=\"{namespace}\",service=\"{name}\"}} {}",
                first.0.div_euclid(1000)
            );
        }
    }
    out
}

impl Family {
    const fn name(self) -> &'static str {
        match self {
            Self::Instances => "portolan_service_instances",
            Self::KnownSeconds => "portolan_service_known_seconds",
            Self::UnhealthySeconds => "portolan_service_unhealthy_seconds",
        }
    }

    fn head(self, as_text: bool) -> String {
        match self {
            Self::Instances => encode_descriptor(
                "service_instances",
                "gauge",
                "Instances of each service, by health; drained ones apart.",
                as_text,
            ),
            Self::KnownSeconds => {
                let help = "Time in which a service was proved up or down, since the process started.";
                encode_descriptor("service_known_seconds", "counter", help, as_text)
            }
            Self::UnhealthySeconds => {
                let help = "Time in which a service was proved down, since the process started.";
                encode_descriptor("service_unhealthy_seconds", "counter", help, as_text)
            }
        }
    }

    /// Its series of one service. Names are RFC 1123 labels, which need no escaping.
    fn write(self, entry: &Entry, now: Instant, out: &mut String) {
        let service = entry.service();
        let (name, namespace, service_name) = (self.name(), service.key.namespace(), service.key.name());
        let counter = |time: Duration, out: &mut String| {
            let (seconds, millis) = (time.as_secs(), time.subsec_millis());
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{name}_total{{namespace=\"{namespace}\",service=\"{service_name}\"}} {seconds}.{millis:03}"
            );
        };
        match self {
            Self::KnownSeconds => counter(entry.accrual().at(now).0, out),
            Self::UnhealthySeconds => counter(entry.accrual().at(now).1, out),
            Self::Instances => {
                let mut line = |health: &str, count: usize| {
                    let _ = writeln!(
                        out,
                        "{name}{{namespace=\"{namespace}\",service=\"{service_name}\",health=\"{health}\"}} {count}"
                    );
                };
                for health in Health::ALL {
                    let of_it = |i: &&Instance| i.health == *health && !i.is_unchecked() && !i.is_drained();
                    line(health.as_str(), service.instances.iter().filter(of_it).count());
                }
                let in_use = |i: &&Instance| !i.is_drained();
                line(NOT_CHECKED, service.instances.iter().filter(in_use).filter(|i| i.is_unchecked()).count());
                line(DRAINED, service.instances.iter().filter(|i| i.is_drained()).count());
            }
        }
    }
}

/// A description: of a counter, OpenMetrics names the family and the text format the series
/// ([OpenMetrics 1.0](https://prometheus.io/docs/specs/om/open_metrics_spec/#metricfamily)).
fn encode_descriptor(name: &str, kind: &str, help: &str, as_text: bool) -> String {
    let is_counter = kind == "counter";
    let suffix = if as_text && is_counter { "_total" } else { "" };
    let unit = if as_text || !is_counter { String::new() } else { format!("# UNIT portolan_{name} seconds\n") };
    format!("# HELP portolan_{name}{suffix} {help}\n# TYPE portolan_{name}{suffix} {kind}\n{unit}")
}
