//! `portolan_mirror_stale_seconds`: computed at each scrape, so it grows while nothing else happens.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::model::ports::Freshness;

/// The collector of the mirror's staleness: 0 while it is current.
pub struct Staleness(Arc<dyn Freshness>);

impl Staleness {
    /// Reads `freshness` at each scrape.
    pub fn new(freshness: Arc<dyn Freshness>) -> Self {
        Self(freshness)
    }
}

impl std::fmt::Debug for Staleness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Staleness").field(&self.0.stale_for()).finish()
    }
}

impl Collector for Staleness {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Time since the mirror was last known to be current, 0 while it is";
        let age = self.0.stale_for().map_or(0.0, |age| age.as_secs_f64());
        let gauge = encoder.encode_descriptor("mirror_stale", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(age).encode(gauge)
    }
}
