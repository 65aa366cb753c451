//! From an object to what the rules see of it, and back.

use std::collections::HashMap;
use std::sync::Arc;

use super::merge::{CurrentObject, ObjectInstance};
use crate::catalog::Snapshot;
use crate::model::mirror::MirroredInstance;
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::Health;
use crate::model::service::Owner;
use crate::operator::crd::{InstanceEntry, ServiceResource, ServiceSpec, SourceValue};
use crate::operator::ingest::ObservedObject;
use crate::operator::registrar::object;

/// The generation of an entry that had none, smaller than any that is given.
const FIRST: i64 = 1;

/// The object as the rules see it: as it is written, whatever the policies of its namespace leave out. Health comes from the catalog.
pub(super) fn current(observed: &ObservedObject, catalog: &Snapshot) -> CurrentObject {
    let mirrored = observed.without_policies().mirrored.as_ref();
    let beyond = observed.parsed.governed.as_ref().map_or(&[][..], |governed| &governed.beyond);
    let read: HashMap<&str, &MirroredInstance> =
        mirrored.iter().flat_map(|mirrored| &mirrored.instances).map(|of| (of.name.as_str(), of)).collect();
    let shown = catalog.get(observed.key().as_str());
    let shown = |name: &InstanceName| shown.and_then(|entry| entry.service().instance(name.as_str()));
    let instance = |entry: &InstanceEntry| {
        let name = entry.name.parse().ok()?;
        let read = read.get(entry.name.as_str());
        let (spec, drain) = (read.map(|of| Arc::clone(&of.spec)), read.and_then(|of| of.drain.clone()));
        let generation = entry.generation.and_then(|n| u64::try_from(n).ok());
        let shown = shown(&name);
        let healthy = shown.is_some_and(|instance| instance.health == Health::Healthy);
        let unhealthy_since = shown.filter(|instance| instance.health == Health::Unhealthy).map(|i| i.since);
        Some(ObjectInstance {
            healthy,
            unhealthy_since,
            owner: owner(entry),
            generation,
            spec,
            drain,
            beyond_limit: beyond.contains(&name),
            changed: false,
            redrained: false,
            name,
        })
    };
    let entries = observed.object.iter();
    let mut instances: Vec<ObjectInstance> =
        entries.flat_map(|object| &object.spec.instances).filter_map(instance).collect();
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    CurrentObject { id: observed.id(), source: observed.parsed.source, deleting: observed.parsed.deleting, instances }
}

fn owner(entry: &InstanceEntry) -> Owner {
    match &entry.owner {
        None => Owner::Anonymous,
        Some(owner) => Owner::Token { issuer: owner.issuer.as_str().into(), subject: owner.subject.as_str().into() },
    }
}

/// A new object with these instances.
pub(super) fn created(key: &ServiceKey, instances: &[ObjectInstance]) -> ServiceResource {
    object::resource(key, version(instances), instances.iter().filter_map(entry).collect())
}

/// The newest instance's version, as the catalog shows it; kept at the service so that `kubectl get` has it in a column.
fn version(instances: &[ObjectInstance]) -> Option<String> {
    let newest = instances.iter().max_by_key(|instance| (instance.generation.unwrap_or(0), &instance.name))?;
    newest.spec.as_ref().map(|spec| spec.version.clone()).filter(|version| !version.is_empty())
}

/// The object with these instances instead of its own. Entries that did not change stay as they are. If a manifest was applied over the
/// object before the definition refused that, it takes the form of a registration again: without what a manifest says for all instances,
/// and with a generation for each.
pub(super) fn replaced(object: &ServiceResource, instances: &[ObjectInstance]) -> ServiceResource {
    let mut object = object.clone();
    let old = std::mem::take(&mut object.spec.instances);
    let mut old: HashMap<String, InstanceEntry> = old.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    let kept = |entry: InstanceEntry| InstanceEntry { generation: entry.generation.or(Some(FIRST)), ..entry };
    let pick = |instance: &ObjectInstance| {
        let entry = if instance.changed { entry(instance) } else { old.remove(instance.name.as_str()).map(kept) };
        entry.map(|entry| if instance.redrained { object::redrained(entry, instance.drain.as_deref()) } else { entry })
    };
    let entries = instances.iter().filter_map(pick).collect();
    object.spec = ServiceSpec {
        source: SourceValue::Rest,
        version: version(instances),
        instances: entries,
        ..ServiceSpec::default()
    };
    object
}

/// A changed instance's entry; it has a spec and a generation.
fn entry(instance: &ObjectInstance) -> Option<InstanceEntry> {
    let ObjectInstance { name, spec, owner, generation, drain, .. } = instance;
    Some(object::entry(name, spec.as_ref()?, owner, (*generation)?, drain.as_deref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::merge::{Done, Generations, Merged, ObjectChange, Op, Request, merge};
    use super::*;
    use crate::catalog::Epoch;
    use crate::model::ports::{Caller, Registration, WriteError};
    use crate::model::registration::Limits;
    use crate::model::samples::Anywhere;
    use crate::model::service::InstanceSpec;
    use crate::model::time::UnixMs;
    use crate::model::url::EndpointUrl;
    use crate::operator::kubernetes::follow::News;
    use crate::operator::namespaces::{KnownNamespace, KnownPolicy, PolicySettings, Table};
    use crate::operator::read::raw::RawObject;

    /// The registrations a, b and c of a service, of which the last is drained, where a policy allows a service two instances.
    fn beyond_a_limit() -> CurrentObject {
        let instance = |name| json!({"name": name, "baseUrl": "http://10.0.0.5:80", "generation": 7});
        let mut drained = instance("c");
        drained["drain"] = json!({"reason": "disk", "by": "ann", "since": "2026-01-02T03:04:05Z"});
        let object = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": {
                "name": "users", "namespace": "shop", "uid": "01900000-0000-7000-8000-000000000001", "resourceVersion": "41",
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"source": "Rest", "instances": [instance("a"), instance("b"), drained]},
        });
        let policy = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "NamespacePolicy", "metadata": {"name": "two"},
            "spec": {"checks": {"limits": {"maxInstancesPerService": 2}}},
        });
        let mut table = Table::new(&PolicySettings { policies: true, selector: None });
        let policy = serde_json::from_value(policy).expect("a policy");
        table.on_policies(News::Listed(None, vec![KnownPolicy::of(policy)]));
        let shop = KnownNamespace { name: "shop".to_owned(), labels: [].into() };
        table.on_namespaces(News::Listed(None, vec![shop]));
        let raw: RawObject = serde_json::from_str(&object.to_string()).expect("an object");
        let mut observed = ObservedObject::new(raw, &Anywhere).expect("a name, a uid and a revision");
        observed.govern(&table.view());
        let shown = observed.parsed.mirrored.as_ref().map(|mirrored| mirrored.instances.len());
        assert_eq!(shown, Some(2), "the policy counts");
        current(&observed, &Snapshot::empty(Epoch::random(), 1))
    }

    #[test]
    fn an_instance_beyond_the_limit_of_a_policy_is_refused_and_stays_as_it_is() {
        let object = beyond_a_limit();
        assert_eq!(object.instances[2].drain.as_ref().map(|drain| drain.reason.as_str()), Some("disk"));
        let register = |name: &str, weight, per_service| -> Merged {
            let url = EndpointUrl::base("http://10.0.0.5:80").expect("a URL");
            let registration = Registration {
                namespace: "shop".parse().expect("a label"),
                service: "users".parse().expect("a label"),
                instance: name.parse().expect("a label"),
                derived: false,
                spec: InstanceSpec { weight, ..InstanceSpec::at(url) },
            };
            let (key, caller) = (registration.key(), Caller { owner: Owner::Anonymous, admin: false });
            let call = Request { op: Op::Register(Box::new(registration)), caller };
            let limits = Limits { max_services: 0, services: 0, max_instances: 10, instances: 2, per_service };
            merge(&key, Some(&object), &[call], limits, &mut Generations(0), UnixMs(0))
        };
        for weight in [100, 1] {
            let merged = register("c", weight, Some(2));
            assert!(matches!(merged.change, ObjectChange::Nothing), "nothing is written: {:?}", merged.change);
            assert_eq!(merged.answers, [Err(WriteError::FullByPolicy(2))]);
        }
        // The last one once the limit is gone, but before the object was read without it.
        for (name, per_service) in [("b", Some(2)), ("c", None)] {
            let merged = register(name, 100, per_service);
            assert!(matches!(merged.change, ObjectChange::Nothing), "{:?}", merged.change);
            let renewed = Done::Registered {
                instance: name.parse().expect("a label"),
                generation: 7,
                renewed: true,
                replaced: Vec::new(),
            };
            assert_eq!(merged.answers, [Ok(renewed)]);
        }
        let merged = register("b", 1, Some(2));
        assert!(matches!(merged.change, ObjectChange::Replace(_)), "one that is shown changes: {merged:?}");
    }

    #[test]
    fn an_object_that_a_manifest_changed_takes_its_form_again() {
        let object = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": {"name": "users", "namespace": "shop", "labels": {"tier": "gold"}},
            "spec": {
                "source": "Rest", "description": "ours", "metadata": {"a": "b"}, "check": {"tcp": {}},
                "instances": [{"name": "a", "baseUrl": "http://h:1"}, {"name": "b", "baseUrl": "http://h:2", "generation": 7}],
            },
        });
        let object: ServiceResource = serde_json::from_value(object).expect("an object");
        let instance = |name: &str| ObjectInstance {
            name: name.parse().expect("a label"),
            owner: Owner::Anonymous,
            generation: None,
            spec: None,
            healthy: false,
            unhealthy_since: None,
            drain: None,
            beyond_limit: false,
            changed: false,
            redrained: false,
        };
        let replaced = replaced(&object, &[instance("a"), instance("b")]);
        let spec = serde_json::to_value(&replaced.spec).expect("JSON");
        let instances = json!([
            {"name": "a", "baseUrl": "http://h:1", "generation": 1}, {"name": "b", "baseUrl": "http://h:2", "generation": 7},
        ]);
        assert_eq!(spec, json!({"source": "Rest", "instances": instances}));
        assert_eq!(replaced.metadata, object.metadata);
    }
}
