//! `portolan_service_instances{namespace,service,health}`: read from the catalog at each scrape, so it is never behind and
//! holds no more series than three a service.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::catalog::Catalog;
use crate::model::outcome::Health;

/// The collector of every service's instances by health.
#[derive(Debug)]
pub struct ServiceInstances {
    catalog: Arc<Catalog>,
}

impl ServiceInstances {
    /// Reads from `catalog`.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }
}

impl Collector for ServiceInstances {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Instances of each service, by health";
        let mut family = encoder.encode_descriptor("service_instances", help, None, MetricType::Gauge)?;
        let snapshot = self.catalog.snapshot();
        for entry in snapshot.newest_first(None) {
            let service = entry.service();
            for health in Health::ALL {
                let count = service.instances.iter().filter(|i| i.health == *health).count();
                let labels = [
                    ("namespace", service.key.namespace()),
                    ("service", service.key.name()),
                    ("health", health.as_str()),
                ];
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
