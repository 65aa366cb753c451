//! What is kept of an annotated object. Pure.

use std::net::IpAddr;

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::kind::Kind;
use crate::model::name::{InstanceName, Namespace, ServiceKey};
use crate::model::text;

/// Names the service, in the same namespace.
pub(super) const SERVICE: &str = "portolan.dev/service";
/// Names one of its instances.
pub(super) const INSTANCE: &str = "portolan.dev/instance";
/// What a DNSEndpoint's targets become when no instance is healthy: `Keep` or `Empty`.
pub(super) const WHEN_ALL_DOWN: &str = "portolan.dev/when-all-down";
/// Written by Portolan on a DNSEndpoint, which has no conditions.
pub(super) const TARGETS: &str = "portolan.dev/targets";
/// Without it, Istio takes a WorkloadEntry for healthy.
const ISTIO_CHECKED: &str = "proxy.istio.io/health-checks-enabled";
/// What Go's `strconv.ParseBool` takes for true.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
/// Longest foreign text that is repeated, in characters.
const MAX_TEXT: usize = 100;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectRef {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An object from a list or a watch.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) object: ObjectRef,
    pub(super) revision: u64,
    /// None if it names no service, or is being deleted.
    pub(super) held: Option<Held>,
}

/// An annotated object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) uid: String,
    pub(super) revision: u64,
    /// The service that it names, or what is wrong with the name.
    pub(super) service: Result<ServiceKey, String>,
    /// The instance that it names, if it does, or what is wrong with the name.
    pub(super) instance: Option<Result<InstanceName, String>>,
    pub(super) content: Content,
}

/// What of the object matters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Workload(Workload),
    Records(Records),
}

/// A machine of a mesh.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Workload {
    pub(super) addresses: Vec<Address>,
    /// Empty if it names none.
    pub(super) ports: Vec<u16>,
    /// The mesh does not read the condition.
    pub(super) is_ignored: bool,
    pub(super) has_status: bool,
    /// As they are, whoever wrote them.
    pub(super) conditions: Vec<Value>,
}

/// Where a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Ip(IpAddr),
    Name(String),
}

/// Records of a DNS zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Records {
    /// In the order of `spec.endpoints`.
    pub(super) endpoints: Vec<Endpoint>,
    /// Whether no target is to be left when no instance is healthy; none if the annotation says neither.
    pub(super) empties: Option<bool>,
    /// What Portolan noted last.
    pub(super) note: Option<String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) record_type: String,
    pub(super) targets: Vec<String>,
}

impl Seen {
    /// Keeps what matters of an object of this kind.
    pub(super) fn of(kind: Kind, object: &DynamicObject) -> Self {
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let held = object.metadata.deletion_timestamp.is_none().then(|| Held::read(kind, &namespace, object)).flatten();
        Self { object: ObjectRef { kind, namespace, name: object.name_any() }, revision: revision(object), held }
    }
}

impl Held {
    fn read(kind: Kind, namespace: &str, object: &DynamicObject) -> Option<Self> {
        let annotation = |name: &str| object.annotations().get(name).map(|value| value.trim());
        let service = annotation(SERVICE)?;
        let content = match kind {
            Kind::WorkloadEntry => {
                let is_checked = annotation(ISTIO_CHECKED).is_some_and(|value| TRUE.contains(&value));
                Content::Workload(Workload { is_ignored: !is_checked, ..workload_entry(&object.data) })
            }
            Kind::ExternalWorkload => Content::Workload(external_workload(&object.data)),
            Kind::DnsEndpoint => Content::Records(Records {
                endpoints: endpoints(&object.data),
                empties: match annotation(WHEN_ALL_DOWN) {
                    None | Some("Keep") => Some(false),
                    Some("Empty") => Some(true),
                    Some(_) => None,
                },
                note: annotation(TARGETS).map(str::to_owned),
            }),
        };
        Some(Self {
            uid: object.uid().unwrap_or_default(),
            revision: revision(object),
            service: named(SERVICE, service).and_then(|name| {
                let namespace: Namespace = namespace.parse().map_err(|error| format!("its namespace: {error}"))?;
                Ok(ServiceKey::new(&namespace, &name))
            }),
            instance: annotation(INSTANCE).map(|name| named(INSTANCE, name)),
            content,
        })
    }
}

fn revision(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(annotation: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|error| text::escape(&format!("correct the annotation {annotation}: {error}"), 2 * MAX_TEXT))
}

fn workload_entry(data: &Value) -> Workload {
    let spec = &data["spec"];
    let ports = spec["ports"].as_object().into_iter().flat_map(|ports| ports.values());
    let addresses = spec["address"].as_str().and_then(address);
    with_conditions(data, addresses.into_iter().collect(), ports.filter_map(port).collect())
}

fn external_workload(data: &Value) -> Workload {
    let spec = &data["spec"];
    let ips = items(&spec["workloadIPs"]).filter_map(|entry| entry["ip"].as_str().and_then(address));
    let ports = items(&spec["ports"]).filter_map(|entry| port(&entry["port"]));
    with_conditions(data, ips.collect(), ports.collect())
}

fn with_conditions(data: &Value, addresses: Vec<Address>, ports: Vec<u16>) -> Workload {
    let conditions = items(&data["status"]["conditions"]).cloned().collect();
    Workload { addresses, ports, is_ignored: false, has_status: data["status"].is_object(), conditions }
}

fn endpoints(data: &Value) -> Vec<Endpoint> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let endpoint = |entry: &Value| Endpoint {
        name: text::escape(&text(&entry["dnsName"]), MAX_TEXT),
        record_type: text(&entry["recordType"]),
        targets: items(&entry["targets"]).map(text).collect(),
    };
    items(&data["spec"]["endpoints"]).map(endpoint).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok())
}

/// None for a Unix socket.
fn address(text: &str) -> Option<Address> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(Address::Ip(ip.to_canonical())),
        Err(_) if text.is_empty() || text.contains('/') => None,
        Err(_) => Some(Address::Name(host_name(text))),
    }
}

/// A host name as it is compared.
pub(super) fn host_name(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(kind: Kind, object: Value) -> Seen {
        Seen::of(kind, &serde_json::from_value(object).expect("an object"))
    }

    fn object(annotations: &Value, rest: &Value) -> Value {
        let mut object = json!({ "metadata": {
            "name": "vm.one", "namespace": "shop", "uid": "1", "resourceVersion": "7", "annotations": annotations,
        } });
        object.as_object_mut().expect("an object").extend(rest.as_object().expect("fields").clone());
        object
    }

    #[test]
    fn only_annotated_objects_that_stay_are_kept() {
        assert_eq!(seen(Kind::WorkloadEntry, object(&json!({}), &json!({}))).held, None);
        let mut ending = object(&json!({ SERVICE: "orders" }), &json!({}));
        assert!(seen(Kind::WorkloadEntry, ending.clone()).held.is_some());
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(seen(Kind::WorkloadEntry, ending).held, None);
    }

    #[test]
    fn a_name_that_none_can_have_is_reported() {
        let held = seen(Kind::DnsEndpoint, object(&json!({ SERVICE: "Orders DB", INSTANCE: "a_b" }), &json!({}))).held;
        let held = held.expect("annotated");
        let wrong = held.service.expect_err("no name");
        assert!(wrong.contains(SERVICE) && wrong.contains("orders-db"), "{wrong}");
        assert!(held.instance.expect("given").is_err());
    }

    #[test]
    fn a_workload_entry_has_an_address_ports_and_conditions() {
        let rest = json!({
            "spec": { "address": "192.0.2.1", "ports": { "http": 80, "odd": 70_000 } },
            "status": { "conditions": [{ "type": "Other", "status": "True" }] },
        });
        let held = seen(Kind::WorkloadEntry, object(&json!({ SERVICE: "orders", ISTIO_CHECKED: "t" }), &rest)).held;
        let Content::Workload(workload) = held.expect("annotated").content else { panic!("a workload") };
        assert_eq!(workload.addresses, [Address::Ip([192, 0, 2, 1].into())]);
        assert_eq!((&*workload.ports, workload.conditions.len()), (&[80][..], 1));
        assert!(workload.has_status && !workload.is_ignored);
        for (text, is) in [("unix:///a", None), ("", None), ("DB.corp.", Some(Address::Name("db.corp".into())))] {
            assert_eq!(address(text), is, "{text}");
        }
    }

    #[test]
    fn an_external_workload_has_up_to_two_addresses() {
        let rest = json!({ "spec": { "workloadIPs": [{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }], "ports": [{ "port": 80 }] } });
        let held = seen(Kind::ExternalWorkload, object(&json!({ SERVICE: "orders" }), &rest)).held.expect("annotated");
        let Content::Workload(workload) = held.content else { panic!("a workload") };
        assert_eq!((workload.addresses.len(), &*workload.ports, workload.has_status), (2, &[80][..], false));
        assert!(!workload.is_ignored);
    }
}
