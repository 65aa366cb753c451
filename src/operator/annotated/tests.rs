//! What annotated objects should say, over instances of every health.

use std::sync::Arc;

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::find::Target;
use super::kind::Kind;
use super::object::{Held, Seen};
use super::plan;
use crate::model::acknowledgement::Acknowledgement;
use crate::model::outcome::{Health, Reason};
use crate::model::service::{Instance, InstanceSpec, Service};
use crate::model::time::UnixMs;

const UP: (Health, Reason) = (Health::Healthy, Reason::Passed);
const DOWN: (Health, Reason) = (Health::Unhealthy, Reason::ConnectRefused);
const NEW: (Health, Reason) = (Health::Unknown, Reason::Probing);
const UNCHECKED: (Health, Reason) = (Health::Unknown, Reason::NotChecked);

fn instance(name: &str, url: &str, health: (Health, Reason)) -> Instance {
    Instance::sample(name, InstanceSpec::sample(url), health)
}

fn drained(mut instance: Instance) -> Instance {
    instance.spec = Arc::new(InstanceSpec { weight: 0, ..(*instance.spec).clone() });
    instance
}

fn service(instances: Vec<Instance>) -> Service {
    Service::sample("orders", instances)
}

/// An object of a kind, to which patches are applied.
struct Object(Kind, Value);

impl Object {
    fn new(kind: Kind, spec: &Value) -> Self {
        let annotations = json!({ "portolan.dev/service": "orders", "proxy.istio.io/health-checks-enabled": "true" });
        let metadata =
            json!({ "name": "vm", "namespace": "default", "resourceVersion": "1", "annotations": annotations });
        Self(kind, json!({ "metadata": metadata, "spec": spec }))
    }

    fn workload() -> Self {
        Self::new(Kind::WorkloadEntry, &json!({ "address": "192.0.2.1" }))
    }

    fn records(endpoints: &Value) -> Self {
        Self::new(Kind::DnsEndpoint, &json!({ "endpoints": endpoints }))
    }

    fn held(&self) -> Held {
        let object: DynamicObject = serde_json::from_value(self.1.clone()).expect("an object");
        Seen::of(self.0, &object).held.expect("annotated")
    }

    fn patch(&self, target: Target<'_>) -> Option<Vec<Value>> {
        plan::patch(self.0, &self.held(), target, UnixMs(1_000_000))
    }

    /// Writes what is planned; whether that was anything. Then nothing more is planned.
    fn write(&mut self, target: Target<'_>) -> bool {
        let Some(operations) = self.patch(target) else { return false };
        assert_eq!(operations[0]["path"], "/metadata/resourceVersion");
        assert_eq!(operations[0]["value"], self.1["metadata"]["resourceVersion"]);
        for operation in &operations[1..] {
            let path = operation["path"].as_str().expect("a path");
            let (parent, name) = path.rsplit_once('/').expect("a path");
            let parent = self.1.pointer_mut(parent).expect("it is there");
            parent[name.replace("~1", "/")] = operation["value"].clone();
        }
        assert_eq!(self.patch(target), None, "once is enough");
        true
    }

    fn over(&mut self, instances: Vec<Instance>) -> bool {
        self.write(Target::Found(&service(instances)))
    }

    fn condition(&self) -> (&str, &str) {
        let condition = &self.1["status"]["conditions"][0];
        (condition["status"].as_str().expect("given"), condition["reason"].as_str().expect("given"))
    }

    fn targets(&self) -> Value {
        self.1["spec"]["endpoints"][0]["targets"].clone()
    }

    fn note(&self) -> &str {
        self.1["metadata"]["annotations"]["portolan.dev/targets"].as_str().unwrap_or_default()
    }
}

fn at(health: (Health, Reason)) -> Instance {
    instance("a", "tcp://192.0.2.1:80", health)
}

#[test]
fn only_a_healthy_instance_that_is_not_drained_gets_traffic() {
    for (one, status, reason) in [
        (at(UP), "True", "Healthy"),
        (at(DOWN), "False", "ConnectRefused"),
        (at(NEW), "False", "Probing"),
        (at(UNCHECKED), "False", "NotChecked"),
        (drained(at(UP)), "False", "Drained"),
        (drained(at(NEW)), "False", "Drained"),
    ] {
        let mut object = Object::workload();
        assert!(object.over(vec![one]));
        assert_eq!(object.condition(), (status, reason));
    }
}

#[test]
fn an_acknowledgement_changes_nothing() {
    let mut object = Object::workload();
    object.over(vec![at(DOWN)]);
    let mut known = at(DOWN);
    let failure = known.failure().expect("it fails");
    let note = "on it".to_owned();
    let by = "ada".to_owned();
    known.acknowledged =
        Some(Arc::new(Acknowledgement { note, by, since: UnixMs(1), until: None, whole: false, failure }));
    assert!(!object.over(vec![known]));
}

#[test]
fn what_is_unknown_changes_no_condition_that_says_healthy_of_the_same_address() {
    let mut object = Object::workload();
    object.over(vec![at(UP)]);
    assert!(!object.over(vec![at(NEW)]), "a new leader knows nothing yet");
    assert!(!object.over(vec![at((Health::Unknown, Reason::Unproven))]));
    assert!(object.over(vec![at(UNCHECKED)]), "nothing will prove it");

    // The object names the instance, which has moved.
    object.1["metadata"]["annotations"]["portolan.dev/instance"] = json!("a");
    object.over(vec![at(UP)]);
    assert!(object.over(vec![instance("a", "tcp://192.0.2.2:80", NEW)]));
    assert_eq!(object.condition(), ("False", "Probing"));
}

#[test]
fn several_instances_at_its_address_must_all_be_healthy() {
    let both =
        |first, second| vec![instance("a", "tcp://192.0.2.1:80", first), instance("b", "tcp://192.0.2.1:81", second)];
    let mut object = Object::workload();
    for (instances, status, reason) in [
        (both(UP, UP), "True", "Healthy"),
        (both(UP, DOWN), "False", "ConnectRefused"),
        (both(DOWN, NEW), "False", "ConnectRefused"),
        (both(UP, UNCHECKED), "False", "NotChecked"),
    ] {
        object.over(instances);
        assert_eq!(object.condition(), (status, reason));
    }
}

#[test]
fn conditions_of_others_and_the_time_of_the_last_change_stay() {
    let mut object = Object::workload();
    let (other, double) = (json!({ "type": "Other", "x": [null] }), json!({ "type": "Healthy", "status": "True" }));
    object.1["status"] = json!({ "conditions": [double, other, double], "x": 1 });
    let since = json!("2026-01-01T00:00:00Z");
    object.1["status"]["conditions"][0]["lastTransitionTime"] = since.clone();
    assert!(object.over(vec![at(UP)]));
    let status = &object.1["status"];
    assert_eq!((status["x"].clone(), &status["conditions"][1]), (json!(1), &other));
    assert_eq!(status["conditions"].as_array().expect("a list").len(), 2, "one is enough");
    assert_eq!(status["conditions"][0]["lastTransitionTime"], since);
    object.over(vec![at(DOWN)]);
    assert_eq!(object.1["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:16:40Z");
}

#[test]
fn a_service_that_is_missing_or_invalid_is_a_reason() {
    for (target, reason) in [(Target::Missing, "ServiceNotFound"), (Target::Unusable, "ServiceInvalid")] {
        let mut object = Object::workload();
        assert!(object.write(target));
        assert_eq!(object.condition(), ("False", reason));
        let mut records = Object::records(&json!([{ "recordType": "A", "targets": ["192.0.2.9"] }]));
        assert!(records.write(target));
        assert_eq!(records.targets(), json!(["192.0.2.9"]));
        assert!(records.note().starts_with(reason) && records.note().ends_with("; the targets stay as they are"));
    }
}

#[test]
fn a_missing_service_or_a_wrong_name_is_never_only_worded_anew() {
    for (name, reason) in [("orders", "ServiceNotFound"), ("Orders DB", "InvalidAnnotation")] {
        let mut object = Object::workload();
        object.1["metadata"]["annotations"]["portolan.dev/service"] = json!(name);
        assert!(object.write(Target::Missing));
        object.1["status"]["conditions"][0]["message"] = json!("in the words of another version");
        assert!(!object.write(Target::Missing));
        for (field, value) in [("status", "True"), ("reason", "Healthy")] {
            object.1["status"]["conditions"][0][field] = json!(value);
            assert!(object.write(Target::Missing), "{field}");
        }
        assert_eq!(object.condition(), ("False", reason));

        let mut records = Object::records(&json!([{ "recordType": "A", "targets": ["192.0.2.9"] }]));
        records.1["metadata"]["annotations"]["portolan.dev/service"] = json!(name);
        for (note, writes) in [(format!("{reason}: in other words"), false), ("Written: the targets".to_owned(), true)]
        {
            records.1["metadata"]["annotations"]["portolan.dev/targets"] = json!(note);
            assert_eq!(records.write(Target::Missing), writes, "{note}");
        }
    }
}

#[test]
fn what_an_owner_says_is_worded_anew() {
    let mut object = Object::workload();
    object.over(vec![at(DOWN)]);
    object.1["status"]["conditions"][0]["message"] = json!("in the words of another version");
    assert!(object.over(vec![at(DOWN)]));
}

fn ip(name: &str, last: u8, health: (Health, Reason)) -> Instance {
    instance(name, &format!("tcp://192.0.2.{last}:80"), health)
}

#[test]
fn targets_are_in_order_of_their_numbers_and_each_once() {
    let mut object = Object::records(&json!([{ "dnsName": "x", "recordType": "A" }]));
    let all = || vec![ip("a", 10, UP), ip("b", 9, UP), instance("c", "tcp://192.0.2.9:81", UP), ip("d", 8, DOWN)];
    assert!(object.over(all()));
    assert_eq!(object.targets(), json!(["192.0.2.9", "192.0.2.10"]));
    object.1["spec"]["endpoints"][0]["targets"] = json!(["192.0.2.10", "192.0.2.9"]);
    assert!(!object.over(all()), "their order means nothing");
    object.1["spec"]["endpoints"][0]["targets"] = json!(["192.0.2.10", "192.0.2.9", "192.0.2.10"]);
    assert!(object.over(all()));
}

#[test]
fn a_target_that_is_listed_twice_does_not_stand_for_another() {
    let mut object = Object::records(&json!([{ "recordType": "A", "targets": ["192.0.2.11", "192.0.2.11"] }]));
    assert!(object.over(vec![ip("a", 11, UP), ip("b", 12, UP)]));
    assert_eq!(object.targets(), json!(["192.0.2.11", "192.0.2.12"]));
    object.1["spec"]["endpoints"][0]["targets"] = json!(["192.0.2.12", "192.0.2.12"]);
    assert!(object.over(vec![ip("a", 11, UP), ip("b", 12, UP)]), "its note says already that all is written");
    assert_eq!(object.targets(), json!(["192.0.2.11", "192.0.2.12"]));
}

#[test]
fn a_listed_target_stays_while_it_is_unknown_and_a_new_one_waits() {
    let mut object = Object::records(&json!([{ "recordType": "A", "targets": ["192.0.2.1", "192.0.2.9"] }]));
    assert!(object.over(vec![ip("a", 1, NEW), ip("b", 2, UP), ip("c", 3, NEW)]));
    assert_eq!(object.targets(), json!(["192.0.2.1", "192.0.2.2"]), "192.0.2.9 is not an instance's");
    assert!(object.over(vec![ip("a", 1, UNCHECKED), ip("b", 2, UP), ip("c", 3, UP)]));
    assert_eq!(object.targets(), json!(["192.0.2.2", "192.0.2.3"]));
}

#[test]
fn no_target_is_removed_while_none_is_healthy_unless_that_is_asked_for() {
    let endpoints = json!([{ "dnsName": "x", "recordType": "A", "targets": ["192.0.2.9"] }]);
    for (value, empties) in [(json!(null), false), (json!("Keep"), false), (json!("no"), false), (json!("Empty"), true)]
    {
        let mut object = Object::records(&endpoints);
        if value.is_string() {
            object.1["metadata"]["annotations"]["portolan.dev/when-all-down"] = value.clone();
        }
        object.over(vec![ip("a", 1, NEW), ip("b", 2, DOWN)]);
        assert_eq!(object.targets(), json!(["192.0.2.9"]), "it is not known yet whether one is healthy");
        object.over(vec![ip("a", 1, DOWN), drained(ip("b", 2, UP))]);
        assert_eq!(object.targets() == json!([]), empties, "{value}");
        let word = if value == "no" {
            "InvalidAnnotation"
        } else if empties {
            "NoneHealthy"
        } else {
            "KeptWhileDown"
        };
        assert!(object.note().starts_with(word), "{}", object.note());
    }
}

#[test]
fn each_type_of_record_has_its_own_targets() {
    let all = vec![
        ip("a", 1, UP),
        instance("b", "tcp://[2001:db8::1]:80", UP),
        instance("c", "tcp://b.example.com:80", UP),
        instance("d", "tcp://a.example.com:80", UP),
    ];
    for (record_type, before, after) in [
        ("A", json!([]), json!(["192.0.2.1"])),
        ("AAAA", json!(["2001:DB8:0::1"]), json!(["2001:DB8:0::1"])),
        ("CNAME", json!([]), json!(["a.example.com"])),
        ("CNAME", json!(["B.example.com."]), json!(["B.example.com."])),
        ("CNAME", json!(["z.example.com", "b.example.com"]), json!(["b.example.com"])),
        ("TXT", json!(["x"]), json!(["x"])),
        ("", json!(["x"]), json!(["x"])),
    ] {
        let mut object = Object::records(&json!([{ "recordType": record_type, "targets": before }]));
        object.over(all.clone());
        assert_eq!(object.targets(), after, "{record_type}");
    }
    let mut object = Object::records(&json!([{ "recordType": "TXT" }]));
    assert!(object.over(all) && object.note().starts_with("NothingToWrite: "));
}
