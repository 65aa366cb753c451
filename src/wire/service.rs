//! A service and its instances.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::words::{health, known_or_default, reason};
use super::{Acknowledgement, Check, Drain, Metadata, NamedCheck, Owner, Warning};
use crate::model::check;
use crate::model::outcome::Health;
use crate::model::service::{self, newest_of};
use crate::model::time::UnixMs;
use crate::model::url::EndpointUrl;

/// Most instances of a service that are read: four times what one may have.
const MAX_INSTANCES: usize = 1024;
/// Most tags and further checks of an instance that are read: four times what one may have of tags.
const MAX_OF_INSTANCE: usize = 256;

/// A named thing in a namespace, with its instances. `base_url` and `health_url` are those of its first healthy instance;
/// `version`, `description` and `metadata` those of its newest one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Stable as long as the service is registered.
    #[serde(default)]
    #[schema(required = true)]
    pub id: Uuid,
    /// Its name, unique in its namespace.
    #[serde(default)]
    #[schema(required = true)]
    pub name: Box<str>,
    /// Its newest instance's version.
    #[serde(default)]
    #[schema(required = true)]
    pub version: Box<str>,
    /// Its newest instance's description.
    #[serde(default)]
    #[schema(required = true)]
    pub description: Box<str>,
    /// Where it is reached.
    #[serde(default)]
    #[schema(required = true)]
    pub base_url: Box<str>,
    /// Where it is probed; empty when it is not.
    #[serde(default)]
    #[schema(required = true)]
    pub health_url: Box<str>,
    /// Healthy if any instance is, unhealthy if none is and one is unhealthy, else unknown.
    #[serde(default, rename = "status", deserialize_with = "known_or_default")]
    #[schema(required = true, schema_with = health)]
    pub health: Health,
    /// Its newest instance's metadata.
    #[serde(default)]
    #[schema(required = true, value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// The newest probe; null before the first, and in a cluster on every replica but the one that leads (see `Portolan-Probed-Elsewhere`).
    #[serde(default)]
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub last_health_check: Option<UnixMs>,
    /// First registered.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub registered_at: Option<UnixMs>,
    /// Last change that a reader could notice.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub updated_at: Option<UnixMs>,
    /// The boundary of names and of who may see them.
    #[serde(default)]
    #[schema(required = true)]
    pub namespace: Box<str>,
    /// `rest` or `manifest`.
    #[serde(default)]
    #[schema(required = true, example = "rest")]
    pub source: Box<str>,
    /// Grows with each change that a reader could notice.
    #[serde(default)]
    #[schema(required = true)]
    pub revision: u64,
    /// Why it has its status.
    #[serde(default)]
    #[schema(required = true, schema_with = reason)]
    pub reason: Box<str>,
    /// Set while each of its instances that fails or warns is acknowledged; the newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Box<Acknowledgement>>,
    /// With `pick=weighted`, the instance that was drawn: the answer holds no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked: Option<Box<str>>,
    /// Healthy ones first.
    #[serde(default, deserialize_with = "bounded")]
    #[schema(required = true)]
    pub instances: Vec<Instance>,
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its name, unique in its service.
    #[serde(default)]
    #[schema(required = true)]
    pub name: Box<str>,
    /// Where it is reached.
    #[serde(default)]
    #[schema(required = true)]
    pub base_url: Box<str>,
    /// Where it is probed; empty when it is not.
    #[serde(default)]
    #[schema(required = true)]
    pub health_url: Box<str>,
    /// Its health.
    #[serde(default, rename = "status", deserialize_with = "known_or_default")]
    #[schema(required = true, schema_with = health)]
    pub health: Health,
    /// Why.
    #[serde(default)]
    #[schema(required = true, schema_with = reason)]
    pub reason: Box<str>,
    /// Since when.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub since: Option<UnixMs>,
    /// Its share under `pick=weighted`; with 0 it is never selected. See also `drain`.
    #[serde(default)]
    #[schema(required = true)]
    pub weight: u16,
    /// Failure domain; empty when unknown.
    #[serde(default)]
    #[schema(required = true)]
    pub zone: Box<str>,
    /// Its version.
    #[serde(default)]
    #[schema(required = true)]
    pub version: Box<str>,
    /// A sentence for people.
    #[serde(default)]
    #[schema(required = true)]
    pub description: Box<str>,
    /// For selection.
    #[serde(default)]
    #[schema(required = true, value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// How it is probed; absent when that follows from its URLs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// For `If-Match` on its removal: grows when its URL or check changes.
    #[serde(default)]
    #[schema(required = true)]
    pub generation: u64,
    /// First registered.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub registered_at: Option<UnixMs>,
    /// Free texts, for selection by `tag`.
    #[serde(default, deserialize_with = "few", skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    pub tags: Box<[Box<str>]>,
    /// Its name in another system, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Box<str>>,
    /// Checks beside `check`, ordered by name.
    #[serde(default, deserialize_with = "few", skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<NamedCheck>>)]
    pub checks: Box<[NamedCheck]>,
    /// After how long without a pass or a heartbeat it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after_seconds: Option<u32>,
    /// What does not pass, although the instance can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Box<Warning>>,
    /// The checks that do not pass besides the one that decides its status and the one of the warning.
    #[serde(default, deserialize_with = "few", skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    pub also_failing: Box<[Box<str>]>,
    /// Set while it is out of selection on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Box<Drain>>,
    /// The version that its answers report, if a check reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_version: Option<Box<str>>,
    /// The check that decides its status; absent when that is `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Box<str>>,
    /// Set while somebody knows about its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Box<Acknowledgement>>,
    /// Who registered it; absent where that is unknown, as with auth off or from a manifest. With auth on it is shown like evidence: only to a
    /// token with the scope `read` that covers the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<Owner>>,
}

impl Service {
    /// When it became what it is.
    pub fn since(&self) -> Option<UnixMs> {
        since(self.health, self.instances.iter().map(|i| (i.health, i.since)))
    }

    /// A service with all its instances, and the newest probe of any of them.
    pub fn new(known: &service::Service, last_health_check: Option<UnixMs>) -> Self {
        let newest = newest_of(known.instances.iter()).map(|newest| &*newest.spec);
        let front = known.front();
        let mut instances: Vec<&service::Instance> = known.instances.iter().collect();
        instances.sort_by_key(|i| service::shown_order(i));
        Self {
            id: known.id,
            name: known.key.name().into(),
            version: newest.map(|spec| spec.version.as_str().into()).unwrap_or_default(),
            description: newest.map(|spec| spec.description.as_str().into()).unwrap_or_default(),
            base_url: front.map(|front| front.spec.base_url.as_str().into()).unwrap_or_default(),
            health_url: front.map(health_url).unwrap_or_default(),
            health: service::health_of(known.instances.iter()),
            metadata: newest.map(|spec| (&spec.metadata).into()).unwrap_or_default(),
            last_health_check,
            registered_at: Some(known.registered_at),
            updated_at: Some(known.updated_at),
            namespace: known.key.namespace().into(),
            source: known.source.as_str().into(),
            revision: known.revision,
            reason: service::reason_of(known.instances.iter()).as_str().into(),
            acknowledged: service::acknowledgement_of(known.instances.iter()).map(|known| Box::new((&**known).into())),
            picked: None,
            instances: instances.into_iter().map(Instance::from).collect(),
        }
    }
}

/// When a service became what it is: of the instances with its health the oldest date when healthy, else the newest.
pub fn since(health: Health, instances: impl Iterator<Item = (Health, Option<UnixMs>)>) -> Option<UnixMs> {
    let same = instances.filter(|(of, _)| *of == health).filter_map(|(_, since)| since);
    if health == Health::Healthy { same.min() } else { same.max() }
}

impl From<&service::Instance> for Instance {
    fn from(known: &service::Instance) -> Self {
        let spec = &known.spec;
        Self {
            name: known.name.as_str().into(),
            base_url: spec.base_url.as_str().into(),
            health_url: health_url(known),
            health: known.health,
            reason: known.reason.as_str().into(),
            since: Some(known.since),
            weight: spec.weight,
            zone: spec.zone.as_str().into(),
            version: spec.version.as_str().into(),
            description: spec.description.as_str().into(),
            metadata: (&spec.metadata).into(),
            check: (spec.check != check::Check::default()).then(|| (&spec.check).into()),
            generation: known.shown_generation(),
            registered_at: Some(known.created_at),
            tags: spec.tags.iter().map(|tag| tag.as_str().into()).collect(),
            external_id: spec.external_id.as_deref().map(Into::into),
            checks: spec.checks.iter().map(Into::into).collect(),
            deregister_after_seconds: spec.deregister_after_seconds,
            warning: known.warning.as_deref().map(|warning| Box::new(warning.into())),
            also_failing: known.also_failing.iter().map(|check| check.as_str().into()).collect(),
            drain: known.drain.as_deref().map(|drain| Box::new(drain.into())),
            observed_version: known.observed_version.as_deref().map(Into::into),
            decided_by: (!known.decided_by.is_default()).then(|| known.decided_by.as_str().into()),
            acknowledged: known.acknowledged.as_deref().map(|known| Box::new(known.into())),
            owner: Owner::of(&known.owner).map(Box::new),
        }
    }
}

fn health_url(instance: &service::Instance) -> Box<str> {
    instance.spec.health_url.as_ref().map(EndpointUrl::as_str).unwrap_or_default().into()
}

/// Reads the first instances of a list without end.
fn bounded<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<Instance>, D::Error> {
    json.deserialize_seq(First(MAX_INSTANCES, PhantomData))
}

/// Reads the first entries of a list without end.
fn few<'de, T: Deserialize<'de>, D: Deserializer<'de>>(json: D) -> Result<Box<[T]>, D::Error> {
    json.deserialize_seq(First(MAX_OF_INSTANCE, PhantomData)).map(Vec::into_boxed_slice)
}

/// Reads so many entries of a list, and skips the rest.
struct First<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < self.0 {
            let Some(entry) = list.next_element()? else { return Ok(entries) };
            entries.push(entry);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(entries)
    }
}
