//! A service as the console keeps it: what its screens show of [`wire::Service`], so that ten thousand of them take little memory.
//! Everything else the console keeps as the wire types themselves.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::outcome::{Health, Reason};
use crate::model::time::UnixMs;
use crate::wire;
pub use crate::wire::events::ServerEvent;
pub use crate::wire::{HistoryEntry, Labels, Outcome, ProbingOfInstance, ProbingOfService, Sample, Streak};

/// A service. It is read as a [`wire::Service`], one at a time, and shown as YAML or JSON under the same names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(from = "wire::Service")]
pub struct Service {
    /// Identifies it to rows, marks and operations.
    pub id: Uuid,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// Version of its newest instance.
    pub version: Box<str>,
    /// A sentence for people, foreign.
    pub description: Box<str>,
    /// Health of all its instances together.
    #[serde(rename = "status")]
    pub health: Health,
    /// Why, usually a [`Reason`]; a newer server may know more.
    pub reason: Box<str>,
    /// `rest` or `manifest`.
    pub source: Box<str>,
    /// Revision of its last change.
    pub revision: u64,
    /// First registered.
    pub registered_at: Option<UnixMs>,
    /// Last change that a reader could notice.
    pub updated_at: Option<UnixMs>,
    /// Newest probe of any of its instances.
    pub last_health_check: Option<UnixMs>,
    /// Metadata, foreign.
    pub metadata: Labels,
    /// Its instances, healthy first.
    pub instances: Vec<Instance>,
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Instance {
    /// Name within the service.
    pub name: Box<str>,
    /// Where it is reached.
    pub base_url: Box<str>,
    /// Where it is probed; empty when that follows from the check.
    pub health_url: Box<str>,
    /// Health.
    #[serde(rename = "status")]
    pub health: Health,
    /// Why.
    pub reason: Box<str>,
    /// Since when.
    pub since: Option<UnixMs>,
    /// 0 to 1000; 0 = drained.
    pub weight: u16,
    /// Failure domain; empty when unknown.
    pub zone: Box<str>,
    /// Version.
    pub version: Box<str>,
    /// What `If-Match` compares on its removal.
    pub generation: u64,
}

impl From<wire::Service> for Service {
    fn from(read: wire::Service) -> Self {
        // Not `collect`, which may reuse the larger allocation of what was read.
        let mut instances = Vec::with_capacity(read.instances.len());
        instances.extend(read.instances.into_iter().map(Instance::from));
        Self {
            id: read.id,
            namespace: read.namespace,
            name: read.name,
            version: read.version,
            description: read.description,
            health: read.health,
            reason: read.reason,
            source: read.source,
            revision: read.revision,
            registered_at: read.registered_at,
            updated_at: read.updated_at,
            last_health_check: read.last_health_check,
            metadata: read.metadata,
            instances,
        }
    }
}

impl From<wire::Instance> for Instance {
    fn from(read: wire::Instance) -> Self {
        Self {
            name: read.name,
            base_url: read.base_url,
            health_url: read.health_url,
            health: read.health,
            reason: read.reason,
            since: read.since,
            weight: read.weight,
            zone: read.zone,
            version: read.version,
            generation: read.generation,
        }
    }
}

impl Service {
    /// Estimated memory, in bytes.
    pub fn memory(&self) -> usize {
        let texts = [&self.namespace, &self.name, &self.version, &self.description, &self.reason, &self.source];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        size_of::<Self>() + texts + self.metadata.memory() + self.instances.iter().map(Instance::memory).sum::<usize>()
    }

    /// Instances that are healthy.
    pub fn healthy(&self) -> usize {
        self.instances.iter().filter(|i| i.health == Health::Healthy).count()
    }

    /// Since when it has its health.
    pub fn since(&self) -> Option<UnixMs> {
        wire::service::since(self.health, self.instances.iter().map(|i| (i.health, i.since)))
    }

    /// The reason of its first faulty instance, else its own.
    pub fn why(&self) -> &str {
        let faulty = self.instances.iter().find(|i| i.health == Health::Unhealthy);
        faulty.map_or(&self.reason, |i| &i.reason)
    }

    /// Whether none of its instances has a check.
    pub fn is_unchecked(&self) -> bool {
        let unchecked = |i: &Instance| i.health == Health::Unknown && &*i.reason == Reason::NotChecked.as_str();
        !self.instances.is_empty() && self.instances.iter().all(unchecked)
    }

    /// Whether it or one of its instances is unhealthy.
    pub fn is_faulty(&self) -> bool {
        self.health == Health::Unhealthy || self.instances.iter().any(|i| i.health == Health::Unhealthy)
    }
}

impl Instance {
    fn memory(&self) -> usize {
        let texts = [&self.name, &self.base_url, &self.health_url, &self.reason, &self.zone, &self.version];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of `kept` with the value that it has in `read`; of lists each member.
    fn is_part_of(kept: &serde_json::Value, read: &serde_json::Value) -> bool {
        use serde_json::Value::{Array, Object};
        match (kept, read) {
            (Object(kept), Object(read)) => {
                kept.iter().all(|(key, value)| read.get(key).is_some_and(|read| is_part_of(value, read)))
            }
            (Array(kept), Array(read)) => {
                kept.len() == read.len() && kept.iter().zip(read).all(|(kept, read)| is_part_of(kept, read))
            }
            _ => kept == read,
        }
    }

    #[test]
    fn what_is_kept_of_a_service_has_the_names_and_values_that_it_was_read_with() {
        let text = |n: usize| -> Box<str> { format!("text {n}").into() };
        let labels: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        let instance = wire::Instance {
            name: text(1),
            base_url: text(2),
            health_url: text(3),
            health: Health::Unhealthy,
            reason: text(4),
            since: Some(UnixMs(5)),
            weight: 6,
            zone: text(7),
            version: text(8),
            description: text(9),
            metadata: labels.clone(),
            check: Some((&crate::model::check::Check::default()).into()),
            generation: 10,
            registered_at: Some(UnixMs(11)),
        };
        let service = wire::Service {
            id: Uuid::from_u128(12),
            name: text(13),
            version: text(14),
            description: text(15),
            base_url: text(16),
            health_url: text(17),
            health: Health::Unhealthy,
            metadata: labels,
            last_health_check: Some(UnixMs(18)),
            registered_at: Some(UnixMs(19)),
            updated_at: Some(UnixMs(20)),
            namespace: text(21),
            source: text(22),
            revision: 23,
            reason: text(24),
            picked: Some(text(25)),
            instances: vec![instance.clone(), instance],
        };
        let read = serde_json::to_string(&service).expect("JSON");
        let kept: Service = serde_json::from_str(&read).expect("a service");
        let kept = serde_json::to_value(&kept).expect("JSON");
        assert!(is_part_of(&kept, &serde_json::from_str(&read).expect("JSON")), "{kept} is not part of {read}");
        assert_eq!(kept["instances"][1]["reason"], "text 4");
    }
}
