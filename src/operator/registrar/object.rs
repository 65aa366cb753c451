//! From a registration to the object that records it: the inverse of [`crate::operator::read`] for objects of source Rest.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;

use crate::model::name::{InstanceName, ServiceKey};
use crate::model::service::{Drain, InstanceSpec, Owner};
use crate::operator::crd::{
    InstanceEntry, OwnerEntry, ServiceResource, ServiceSpec, SourceValue, check_spec, checks_spec, drain_entry,
};

/// Tells people and tools that Portolan manages the object
/// ([recommended labels](https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/)).
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "portolan");

/// A new object with these instances. `version` is what `kubectl get` shows.
pub fn resource(key: &ServiceKey, version: Option<String>, instances: Vec<InstanceEntry>) -> ServiceResource {
    let (label, value) = MANAGED_BY;
    let metadata = ObjectMeta {
        name: Some(key.name().to_owned()),
        namespace: Some(key.namespace().to_owned()),
        labels: Some(BTreeMap::from([(label.to_owned(), value.to_owned())])),
        ..ObjectMeta::default()
    };
    let spec = ServiceSpec { source: SourceValue::Rest, version, instances, ..ServiceSpec::default() };
    ServiceResource { metadata, spec, status: None }
}

/// The entry with another drain, or none.
pub fn redrained(entry: InstanceEntry, drain: Option<&Drain>) -> InstanceEntry {
    InstanceEntry { drain: drain.map(drain_entry), ..entry }
}

/// The complete entry of an instance. `generation` is at most 2^63 - 1.
pub fn entry(
    name: &InstanceName,
    spec: &InstanceSpec,
    owner: &Owner,
    generation: u64,
    drain: Option<&Drain>,
) -> InstanceEntry {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    InstanceEntry {
        name: name.to_string(),
        base_url: spec.base_url.as_str().to_owned(),
        health_url: spec.health_url.as_ref().map(|url| url.as_str().to_owned()),
        weight: Some(spec.weight.into()),
        zone: text(&spec.zone),
        version: text(&spec.version),
        description: text(&spec.description),
        metadata: (!spec.metadata.is_empty()).then(|| spec.metadata.clone()),
        check: check_spec(&spec.check),
        checks: checks_spec(&spec.checks),
        tags: spec.tags.clone(),
        external_id: spec.external_id.clone(),
        drain: drain.map(drain_entry),
        // The model's bounds lie far below 2^31.
        deregister_after_seconds: spec.deregister_after_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
        owner: match owner {
            Owner::Anonymous => None,
            Owner::Token { issuer, subject } => {
                Some(OwnerEntry { issuer: issuer.to_string(), subject: subject.to_string() })
            }
        },
        generation: Some(i64::try_from(generation).unwrap_or(i64::MAX)),
    }
}
