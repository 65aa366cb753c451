//! `portolan_objects_rejected{namespace}`, counted at each scrape: always current, and without series for namespaces that have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Shared;

/// Reads the objects of an ingest.
#[derive(Debug)]
pub(super) struct Rejected(pub(super) Arc<Shared>);

impl Collector for Rejected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let objects = self.0.objects.load();
        let mut namespaces: BTreeMap<&str, i64> = BTreeMap::new();
        for observed in objects.values().filter(|observed| observed.parsed.is_rejected()) {
            *namespaces.entry(observed.key().namespace()).or_default() += 1;
        }
        let help = "Objects that cannot be used as written, wholly or in part";
        let mut family = encoder.encode_descriptor("objects_rejected", help, None, MetricType::Gauge)?;
        for (namespace, count) in namespaces {
            ConstGauge::new(count).encode(family.encode_family(&[("namespace", namespace)])?)?;
        }
        Ok(())
    }
}
