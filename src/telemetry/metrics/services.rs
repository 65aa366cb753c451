//! `portolan_service_instances{namespace,service,health}`: read from the catalog at each scrape, so it is always current, with four series
//! per service. It is rendered while it is sent: for ten thousand services it is megabytes.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::Snapshot;
use crate::catalog::snapshot::Order;
use crate::model::outcome::Health;
use crate::model::service::{Instance, Service};

/// The `health` label of instances that have no check on purpose.
const NOT_CHECKED: &str = "not_checked";
/// Bytes rendered at once.
const PIECE: usize = 32 * 1024;

/// The series of a snapshot, as an iterator of pieces.
#[derive(Debug)]
pub struct ServiceInstances {
    snapshot: Arc<Snapshot>,
    after: Option<Order>,
    /// The description before the first series.
    head: Option<String>,
}

impl ServiceInstances {
    /// The series of `snapshot`.
    pub fn of(snapshot: Arc<Snapshot>) -> Self {
        let head = encode_descriptor("service_instances", "Instances of each service, by health.");
        Self { snapshot, after: None, head: Some(head) }
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        let mut line = String::new();
        let series = self.snapshot.newest_first(self.after).map(|entry| {
            line.clear();
            write(entry.service(), &mut line);
            line.len()
        });
        self.head.as_ref().map_or(0, String::len) + series.sum::<usize>()
    }

    /// Whether no piece is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Iterator for ServiceInstances {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = self.head.take().unwrap_or_default();
        for entry in self.snapshot.newest_first(self.after) {
            let service = entry.service();
            write(service, &mut out);
            self.after = Some((service.registered_at, service.id));
            if out.len() >= PIECE {
                break;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}

/// [OpenMetrics 1.0](https://prometheus.io/docs/specs/om/open_metrics_spec/#metricfamily).
fn encode_descriptor(name: &str, help: &str) -> String {
    format!("# HELP portolan_{name} {help}\n# TYPE portolan_{name} gauge\n")
}

/// Names are RFC 1123 labels, which need no escaping.
fn write(service: &Service, out: &mut String) {
    let (namespace, name) = (service.key.namespace(), service.key.name());
    let mut line = |health: &str, count: usize| {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "portolan_service_instances{{namespace=\"{namespace}\",service=\"{name}\",health=\"{health}\"}} {count}"
        );
    };
    for health in Health::ALL {
        let of_it = |i: &&Instance| i.health == *health && !i.is_unchecked();
        line(health.as_str(), service.instances.iter().filter(of_it).count());
    }
    line(NOT_CHECKED, service.instances.iter().filter(|i| i.is_unchecked()).count());
}
