//! A service as the console keeps it: what its screens show of [`wire::Service`], so that ten thousand of them take little memory.
//! Everything else the console keeps as the wire types themselves.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::outcome::{Health, Reason};
use crate::model::time::UnixMs;
use crate::wire;
pub use crate::wire::events::ServerEvent;
pub use crate::wire::{
    Acknowledgement, Availability, Drain, HistoryEntry, Metadata, Outage, Outcome, ProbingOfInstance, ProbingOfService,
    Sample, Streak, Warning,
};

/// The label that names who answers for an instance which no token registered, as one from a manifest.
const OWNER: &str = "owner";

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
    pub metadata: Metadata,
    /// Who knows about everything that fails of it, foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Box<Acknowledgement>>,
    /// Its instances, the worst first, see [`Instance::rank`].
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
    /// Its own sentence for people, foreign.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: Box<str>,
    /// Its own labels, foreign.
    pub metadata: Metadata,
    /// Its tags, foreign.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tags: Box<[Box<str>]>,
    /// What another system calls it, foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Box<str>>,
    /// The version that its probes read, foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_version: Option<Box<str>>,
    /// How it is probed; none when that follows from its URLs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<wire::Check>,
    /// Checks beside it, ordered by name, as they were written.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub checks: Box<[wire::NamedCheck]>,
    /// The check that decides its health; none when that is the plain one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Box<str>>,
    /// What `If-Match` compares on its removal.
    pub generation: u64,
    /// First registered.
    pub registered_at: Option<UnixMs>,
    /// What does not pass although it is usable, foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<Box<Warning>>,
    /// Why it is out of selection on purpose, foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Box<Drain>>,
    /// Who knows about its failure, foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Box<Acknowledgement>>,
    /// Whose token registered it, foreign; none where that is unknown, or not for this reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<wire::Owner>>,
}

impl From<wire::Service> for Service {
    fn from(read: wire::Service) -> Self {
        // Not `collect`, which may reuse the larger allocation of what was read.
        let mut instances = Vec::with_capacity(read.instances.len());
        instances.extend(read.instances.into_iter().map(|instance| Instance::read(instance, &read.metadata)));
        let mut service = Self {
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
            acknowledged: read.acknowledged,
            instances,
        };
        service.arrange();
        service
    }
}

impl Instance {
    /// From what was read; labels that are those of the service are kept once.
    fn read(read: wire::Instance, of_service: &Metadata) -> Self {
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
            description: read.description,
            metadata: if read.metadata == *of_service { of_service.clone() } else { read.metadata },
            check: read.check,
            checks: read.checks,
            decided_by: read.decided_by,
            tags: read.tags,
            external_id: read.external_id,
            observed_version: read.observed_version,
            generation: read.generation,
            registered_at: read.registered_at,
            warning: read.warning,
            drain: read.drain,
            acknowledged: read.acknowledged,
            owner: read.owner,
        }
    }
}

impl Service {
    /// Estimated memory, in bytes.
    pub fn memory(&self) -> usize {
        let texts = [&self.namespace, &self.name, &self.version, &self.description, &self.reason, &self.source];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let known = self.acknowledged.as_deref().map_or(0, memory_of);
        let instances: usize = self.instances.iter().map(Instance::memory).sum();
        size_of::<Self>() + texts + self.metadata.memory() + known + instances
    }

    /// Puts the worst instance first, see [`Instance::rank`].
    pub fn arrange(&mut self) {
        self.instances.sort_by(|a, b| (a.rank(), &a.name).cmp(&(b.rank(), &b.name)));
    }

    /// Instances that are healthy.
    pub fn healthy(&self) -> usize {
        self.instances.iter().filter(|i| i.health == Health::Healthy).count()
    }

    /// Instances that are listed to those who ask for healthy ones.
    pub fn serving(&self) -> usize {
        self.instances.iter().filter(|i| i.serves()).count()
    }

    /// The moment of the last change that a reader would mean: when an instance failed, else recovered or became what it is, or when one
    /// was drained since.
    pub fn since(&self) -> Option<UnixMs> {
        let newest =
            |wanted: fn(&Instance) -> bool| self.instances.iter().filter(|i| wanted(i)).filter_map(|i| i.since).max();
        let changed = if self.is_faulty() { newest(Instance::is_faulty) } else { newest(|_| true) };
        changed.max(self.instances.iter().filter_map(Instance::drained_since).max())
    }

    /// The instance that its row is about: the worst.
    pub fn worst(&self) -> Option<&Instance> {
        self.instances.first()
    }

    /// The reason of the instance that its row is about, else its own.
    pub fn why(&self) -> &str {
        self.worst().map_or(&self.reason, |i| &i.reason)
    }

    /// The first warning of an instance.
    pub fn warning(&self) -> Option<&Warning> {
        self.instances.iter().find_map(|i| i.warning.as_deref())
    }

    /// Whether none of its instances has a check.
    pub fn is_unchecked(&self) -> bool {
        !self.instances.is_empty() && self.instances.iter().all(Instance::is_unchecked)
    }

    /// Whether an instance fails that nobody has drained, or it is down for a reason that no instance shows.
    pub fn is_faulty(&self) -> bool {
        let fails = |i: &Instance| i.health == Health::Unhealthy;
        self.instances.iter().any(Instance::is_faulty)
            || self.health == Health::Unhealthy && !self.instances.iter().any(fails)
    }

    /// Whether it has a fault, and somebody knows about all that fails of it.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged.is_some() && self.is_faulty()
    }

    /// Whether nothing fails or serves, since what could is drained: every healthy instance, or all of them.
    pub fn is_drained(&self) -> bool {
        let all = !self.instances.is_empty() && self.instances.iter().all(Instance::is_drained);
        self.serving() == 0 && !self.is_faulty() && (all || self.healthy() > 0)
    }
}

impl Instance {
    /// Whether it fails and nobody has drained it.
    pub fn is_faulty(&self) -> bool {
        self.health == Health::Unhealthy && !self.is_drained()
    }

    /// Whether it fails or warns.
    pub fn fails(&self) -> bool {
        self.health == Health::Unhealthy || self.warning.is_some()
    }

    /// Whether it is out of selection on purpose.
    pub fn is_drained(&self) -> bool {
        self.drain.is_some() || self.weight == 0
    }

    /// Whether it has no check, on purpose.
    pub fn is_unchecked(&self) -> bool {
        self.health == Health::Unknown && &*self.reason == Reason::NotChecked.as_str()
    }

    /// Whether those who ask for healthy instances get it.
    pub fn serves(&self) -> bool {
        self.health == Health::Healthy && !self.is_drained()
    }

    /// When it was drained, where that is known: a weight of 0 has no date.
    pub fn drained_since(&self) -> Option<UnixMs> {
        self.drain.as_ref().and_then(|drain| drain.since)
    }

    /// Host and port of its URLs: where it is reached, and where it is probed when that is elsewhere.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        [&self.base_url, &self.health_url].into_iter().filter(|url| !url.is_empty()).map(|url| {
            let rest = url.split_once("://").map_or(&**url, |(_, rest)| rest);
            rest.split(['/', '?', '#']).next().unwrap_or(rest)
        })
    }

    /// The host of its address, without the port.
    pub fn host(&self) -> &str {
        let of = self.authorities().next().unwrap_or_default();
        match of.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => of,
        }
    }

    /// The ports of its URLs: those that are written, else those of the scheme.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        [&self.base_url, &self.health_url].into_iter().zip(self.authorities()).filter_map(|(url, of)| {
            let written = of.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            written.or(match url.split_once("://")?.0 {
                "http" => Some(80),
                "https" => Some(443),
                _ => None,
            })
        })
    }

    /// Why and by which operator it was drained, where that is known.
    pub fn drain_words(&self) -> String {
        self.drain.as_ref().map_or_else(String::new, |drain| format!("{}; by {}", drain.reason, drain.by))
    }

    /// Who answers for it: the subject of the token that registered it, else its label `owner`; empty where neither is known.
    pub fn owner(&self) -> &str {
        let subject = self.owner.as_ref().map(|owner| &*owner.subject);
        subject.or_else(|| self.metadata.get(OWNER)).unwrap_or_default()
    }

    /// The same in full: the token's issuer after its subject. Foreign text.
    pub fn owner_words(&self) -> String {
        self.owner.as_ref().map_or_else(|| self.owner().to_owned(), ToString::to_string)
    }

    /// Its place among the instances of its service: those that fail first, those that somebody knows about after the others; then those that
    /// are not proved, drained and healthy ones.
    /// Instances of one rank follow by name, so that they move only when their state changes.
    pub fn rank(&self) -> u8 {
        match (self.health, self.is_drained()) {
            (Health::Unhealthy, false) if self.acknowledged.is_none() => 0,
            (Health::Unhealthy, false) => 1,
            (Health::Unknown, false) => 2,
            (_, true) => 3,
            (Health::Healthy, false) => 4,
        }
    }

    fn memory(&self) -> usize {
        let texts =
            [&self.name, &self.base_url, &self.health_url, &self.reason, &self.zone, &self.version, &self.description];
        let check = self.check.as_ref().map_or(0, |check| check.get().len());
        let checks: usize = self.checks.iter().map(|check| size_of::<wire::NamedCheck>() + check.get().len()).sum();
        let check = check + checks + self.decided_by.as_ref().map_or(0, |name| name.len());
        let warning = self.warning.as_ref().map_or(0, |w| size_of::<Warning>() + w.reason.len() + w.message.len());
        let drain = self.drain.as_ref().map_or(0, |d| size_of::<Drain>() + d.reason.len() + d.by.len());
        let known = self.acknowledged.as_deref().map_or(0, memory_of);
        let tags = self.tags.iter().map(|tag| size_of::<Box<str>>() + tag.len()).sum::<usize>();
        let more =
            [&self.external_id, &self.observed_version].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let owner =
            self.owner.as_ref().map_or(0, |owner| size_of::<wire::Owner>() + owner.issuer.len() + owner.subject.len());
        let texts = texts.iter().map(|text| text.len()).sum::<usize>() + tags + more + owner;
        size_of::<Self>() + texts + self.metadata.memory() + check + warning + drain + known
    }
}

fn memory_of(known: &Acknowledgement) -> usize {
    size_of::<Acknowledgement>() + known.note.len() + known.by.len()
}

/// `by ops: disk ordered`.
pub fn known_words(known: &Acknowledgement) -> String {
    format!("by {}: {}", known.by, known.note)
}

/// The probing of the check that decides an instance's health, else of its first check.
pub fn deciding<'a>(known: &'a ProbingOfService, of: &Instance) -> Option<&'a ProbingOfInstance> {
    let mut checks = known.instances.iter().filter(|known| known.instance == of.name).peekable();
    let first = checks.peek().copied();
    checks.find(|known| known.check == of.decided_by).or(first)
}

/// When the certificate that an instance shows expires, as the newest probe that saw one says.
pub fn certificate(of: &ProbingOfInstance) -> Option<UnixMs> {
    let seen = [&of.last, &of.last_pass, &of.last_fail].into_iter().flatten();
    seen.filter_map(|outcome| Some((outcome.at, outcome.certificate_expires_at?))).max().map(|(_, expires)| expires)
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
        let labels: Metadata = [("a", "1"), ("b", "2")].into_iter().collect();
        let drain = Drain { reason: text(33), by: text(34), since: Some(UnixMs(35)), until: Some(UnixMs(36)) };
        let known = Acknowledgement { note: text(26), by: text(27), since: Some(UnixMs(28)), until: Some(UnixMs(29)) };
        let instance = wire::Instance {
            name: text(1),
            acknowledged: Some(Box::new(known.clone())),
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
            warning: Some(Box::new(Warning { check: text(30), reason: text(31), message: text(32) })),
            drain: Some(Box::new(drain)),
            owner: Some(Box::new(wire::Owner { issuer: text(37), subject: text(38) })),
            ..wire::Instance::default()
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
            acknowledged: Some(Box::new(known)),
            instances: vec![instance.clone(), instance],
        };
        let read = serde_json::to_string(&service).expect("JSON");
        let kept: Service = serde_json::from_str(&read).expect("a service");
        let kept = serde_json::to_value(&kept).expect("JSON");
        assert!(is_part_of(&kept, &serde_json::from_str(&read).expect("JSON")), "{kept} is not part of {read}");
        assert_eq!(kept["instances"][1]["reason"], "text 4");
    }
}
