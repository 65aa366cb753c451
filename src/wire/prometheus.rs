//! Target groups of Prometheus's [HTTP service discovery](https://prometheus.io/docs/prometheus/latest/http_sd/): one for each instance.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::name::ServiceKey;
use crate::model::service::Instance;
use crate::model::url::Scheme;

/// Most labels that metadata become.
pub const MAX_METADATA_LABELS: usize = 32;
/// The prefix of labels that Prometheus drops after relabelling.
const META: &str = "__meta_portolan_";

/// An instance as something to scrape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TargetGroup)]
pub struct TargetGroup {
    /// Host and port of `base_url`; exactly one.
    targets: [String; 1],
    /// `__scheme__`, and what is known of the instance as labels that start with `__meta_portolan_`.
    labels: BTreeMap<String, String>,
}

impl TargetGroup {
    /// The group of an instance.
    pub fn of(service: &ServiceKey, instance: &Instance) -> Self {
        let (spec, base) = (&instance.spec, &instance.spec.base_url);
        let scheme = if *base.scheme() == Scheme::Https { "https" } else { "http" };
        let known = [
            ("namespace", service.namespace().to_owned()),
            ("name", service.name().to_owned()),
            ("instance", instance.name.to_string()),
            ("health", instance.health.to_string()),
            ("reason", instance.reason.to_string()),
            ("version", spec.version.clone()),
            ("zone", spec.zone.clone()),
            ("base_url", base.redacted().to_string()),
            ("drained", instance.is_drained().to_string()),
            // Commas on both sides, as other discoveries write them, so that `.*,canary,.*` matches one tag.
            ("tags", if spec.tags.is_empty() { String::new() } else { format!(",{},", spec.tags.join(",")) }),
        ];
        let known = known.into_iter().map(|(name, value)| (format!("{META}{name}"), value));
        let mut labels: BTreeMap<String, String> = known.collect();
        labels.insert("__scheme__".to_owned(), scheme.to_owned());
        for (key, value) in spec.metadata.iter().take(MAX_METADATA_LABELS) {
            // If two keys become the same label, the first in order counts.
            labels.entry(format!("{META}metadata_{}", sanitised(key))).or_insert_with(|| value.clone());
        }
        Self { targets: [format!("{}:{}", base.host(), base.port())], labels }
    }
}

/// A key as part of a label's name: letters, digits and underscores.
fn sanitised(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
