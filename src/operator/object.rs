//! From a registration to the object that records it: the inverse of [`super::read`] for what comes over REST.

use kube::api::ObjectMeta;

use super::crd::{InstanceEntry, OwnerEntry, ServiceResource, ServiceSpec, SourceWord};
use super::read::check_spec;
use crate::model::name::InstanceName;
use crate::model::ports::Registration;
use crate::model::service::{InstanceSpec, Owner};

/// A new object with the one instance that `registration` names, as it is created in the API.
pub fn resource(registration: &Registration, owner: &Owner, generation: u64) -> ServiceResource {
    let metadata = ObjectMeta {
        name: Some(registration.service.to_string()),
        namespace: Some(registration.namespace.to_string()),
        ..ObjectMeta::default()
    };
    let instance = entry(&registration.instance, &registration.spec, owner, generation);
    let spec = ServiceSpec { source: SourceWord::Rest, instances: vec![instance], ..ServiceSpec::default() };
    ServiceResource { metadata, spec, status: None }
}

/// The instance's entry, whole: it replaces an older one of the name. `generation` is at most 2^63 - 1.
pub fn entry(name: &InstanceName, spec: &InstanceSpec, owner: &Owner, generation: u64) -> InstanceEntry {
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
        owner: match owner {
            Owner::Anonymous => None,
            Owner::Token { issuer, subject } => {
                Some(OwnerEntry { issuer: issuer.to_string(), subject: subject.to_string() })
            }
        },
        generation: Some(i64::try_from(generation).unwrap_or(i64::MAX)),
    }
}
