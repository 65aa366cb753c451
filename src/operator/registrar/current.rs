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

/// The object as the rules see it; health comes from the catalog.
pub(super) fn current(observed: &ObservedObject, catalog: &Snapshot) -> CurrentObject {
    let mirrored = observed.parsed.mirrored.as_ref();
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

    use super::*;

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
