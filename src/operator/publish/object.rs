//! A slice as a Kubernetes object, written and read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint as EndpointObject, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use uuid::Uuid;

use super::pack::{Endpoint, EndpointState, Family, Group, Slice};
use crate::model::name::ServiceKey;
use crate::operator::crd::ServiceResource;

/// Who keeps a slice, by Kubernetes' convention.
pub(super) const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Our name there.
pub(super) const MANAGER: &str = "portolan.dev";
/// The core Service of a slice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const TCP: &str = "TCP";

/// The object that owns slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) key: ServiceKey,
    pub(super) uid: Uuid,
}

/// What is kept of a slice in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) uid: String,
    pub(super) revision: u64,
    /// The core Service; empty if it names none.
    pub(super) service: String,
    pub(super) content: Content,
}

/// Whose a slice is, and what of it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Written by Portolan: with its owner, unless somebody removed that, and the name of its port.
    Ours { owner: Option<Owner>, slice: Slice, port: String },
    /// Somebody else's: its addresses, each with its port; without one, it is for all.
    Foreign(Vec<(IpAddr, Option<u16>)>),
}

impl Held {
    /// Reads an object from the cluster.
    pub(super) fn read(object: &EndpointSlice) -> Self {
        let metadata = &object.metadata;
        let label =
            |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned().unwrap_or_default();
        let content = if label(MANAGER_LABEL) == MANAGER { ours(object) } else { Content::Foreign(addresses(object)) };
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            revision: metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
            service: label(SERVICE_LABEL),
            content,
        }
    }

    /// Its owner, if it is one of ours.
    pub(super) fn owner(&self) -> Option<&Owner> {
        match &self.content {
            Content::Ours { owner, .. } => owner.as_ref(),
            Content::Foreign(_) => None,
        }
    }
}

fn ours(object: &EndpointSlice) -> Content {
    let owner = owner(object);
    let port = match object.ports.as_deref() {
        Some([port]) => Some(port),
        _ => None,
    };
    let family = [Family::V4, Family::V6].into_iter().find(|family| family.as_str() == object.address_type);
    let number = port.and_then(|port| u16::try_from(port.port?).ok());
    let group = family.zip(number).map(|(family, port)| Group { family, port });
    let endpoints: Vec<Endpoint> = object.endpoints.iter().filter_map(read_endpoint).collect();
    let plain = port.is_some_and(|port| port.protocol.as_deref() == Some(TCP) && port.app_protocol.is_none());
    let intact = plain && endpoints.len() == object.endpoints.len();
    let slice = Slice { name: object.name_any(), group, endpoints, intact };
    Content::Ours { owner, slice, port: port.and_then(|port| port.name.clone()).unwrap_or_default() }
}

/// The owner, if it is the only one and written as by [`object`].
fn owner(object: &EndpointSlice) -> Option<Owner> {
    let [reference] = object.metadata.owner_references.as_deref()? else { return None };
    let namespace = object.metadata.namespace.as_deref()?.parse().ok()?;
    let key = ServiceKey::new(&namespace, &reference.name.parse().ok()?);
    let owner = Owner { key, uid: reference.uid.parse().ok()? };
    // Another release may have written another version.
    let group = |reference: &OwnerReference| reference.api_version.split_once('/').map(|(group, _)| group.to_owned());
    let ours = owner_reference(&owner);
    let same = OwnerReference { api_version: ours.api_version.clone(), ..reference.clone() };
    (group(reference) == group(&ours) && same == ours).then_some(owner)
}

/// An endpoint, if it is of the form that [`object`] writes.
fn read_endpoint(object: &EndpointObject) -> Option<Endpoint> {
    let [address] = &object.addresses[..] else { return None };
    let EndpointConditions { ready, serving, terminating } = object.conditions.clone()?;
    let state = EndpointState { serving: serving?, terminating: terminating? };
    let endpoint = Endpoint {
        address: address.parse().ok()?,
        hostname: object.hostname.clone()?,
        zone: object.zone.clone(),
        state,
    };
    (ready == Some(state.ready()) && *object == write_endpoint(&endpoint)).then_some(endpoint)
}

fn write_endpoint(endpoint: &Endpoint) -> EndpointObject {
    let Endpoint { address, hostname, zone, state } = endpoint;
    EndpointObject {
        addresses: vec![address.to_string()],
        hostname: Some(hostname.clone()),
        zone: zone.clone(),
        conditions: Some(EndpointConditions {
            // Absent would mean ready.
            ready: Some(state.ready()),
            serving: Some(state.serving),
            terminating: Some(state.terminating),
        }),
        ..EndpointObject::default()
    }
}

fn owner_reference(owner: &Owner) -> OwnerReference {
    OwnerReference {
        api_version: ServiceResource::api_version(&()).into_owned(),
        kind: ServiceResource::kind(&()).into_owned(),
        name: owner.key.name().to_owned(),
        uid: owner.uid.to_string(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The object to write; to replace one, its `before`.
pub(super) fn object(
    owner: &Owner,
    (service, port): (&str, &str),
    (name, group, endpoints): (&str, Group, &[Endpoint]),
    before: Option<&Held>,
) -> EndpointSlice {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(owner.key.namespace().to_owned()),
        uid: before.map(|before| before.uid.clone()),
        resource_version: before.map(|before| before.revision.to_string()),
        labels: Some(BTreeMap::from([label(SERVICE_LABEL, service), label(MANAGER_LABEL, MANAGER)])),
        owner_references: Some(vec![owner_reference(owner)]),
        ..ObjectMeta::default()
    };
    EndpointSlice {
        address_type: group.family.as_str().to_owned(),
        endpoints: endpoints.iter().map(write_endpoint).collect(),
        metadata,
        ports: Some(vec![EndpointPort {
            name: Some(port.to_owned()),
            port: Some(i32::from(group.port)),
            protocol: Some(TCP.to_owned()),
            app_protocol: None,
        }]),
    }
}

fn addresses(object: &EndpointSlice) -> Vec<(IpAddr, Option<u16>)> {
    let named = object.ports.iter().flatten().map(|port| port.port.and_then(|port| u16::try_from(port).ok()));
    let ports: Vec<Option<u16>> = named.collect();
    let ports = if ports.is_empty() { vec![None] } else { ports };
    let all = object.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let addresses = all.filter_map(|text| text.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
    addresses.flat_map(|ip| ports.iter().map(move |port| (ip, *port))).collect()
}
