//! What the console knows of services, wherever it came from: the API's JSON and the store's rows both become this.

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

pub use super::labels::Labels;
use crate::model::outcome::{Health, Outcome, Reason, Transition};
use crate::model::probe::Sample;
use crate::model::time::UnixMs;

/// A service. The fields are those of the API's JSON.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Service {
    /// Its id, by which rows, marks and actions mean it.
    pub id: Uuid,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// Version of its newest instance.
    #[serde(default)]
    pub version: Box<str>,
    /// A sentence for people, foreign.
    #[serde(default)]
    pub description: Box<str>,
    /// Health of all its instances together.
    #[serde(rename = "status")]
    pub health: Health,
    /// Why, a word of the closed set; a newer server may know more words.
    #[serde(default)]
    pub reason: Box<str>,
    /// `rest` or `manifest`.
    #[serde(default)]
    pub source: Box<str>,
    /// Revision of its last change.
    #[serde(default)]
    pub revision: u64,
    /// First registered.
    #[serde(default)]
    pub registered_at: Option<UnixMs>,
    /// Last change that a reader could notice.
    #[serde(default)]
    pub updated_at: Option<UnixMs>,
    /// Newest probe of any of its instances.
    #[serde(default)]
    pub last_health_check: Option<UnixMs>,
    /// Labels, foreign.
    #[serde(default)]
    pub metadata: Labels,
    /// Its instances, healthy first.
    #[serde(default, deserialize_with = "just_enough")]
    pub instances: Vec<Instance>,
}

/// Most instances of a service that are read: four times what one may have.
const MOST_INSTANCES: usize = 1024;

/// A list without the room to grow that reading leaves behind: most have one member, and there are ten thousand of them.
fn just_enough<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut all = Vec::deserialize(deserializer)?;
    all.truncate(MOST_INSTANCES);
    all.shrink_to_fit();
    Ok(all)
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Instance {
    /// Name within the service.
    pub name: Box<str>,
    /// Where it is reached.
    pub base_url: Box<str>,
    /// Where it is probed; empty when that follows from the check.
    #[serde(default)]
    pub health_url: Box<str>,
    /// Health.
    #[serde(rename = "status")]
    pub health: Health,
    /// Why.
    #[serde(default)]
    pub reason: Box<str>,
    /// Since when.
    #[serde(default)]
    pub since: Option<UnixMs>,
    /// 0 to 1000; 0 = drained.
    #[serde(default)]
    pub weight: u16,
    /// Failure domain; empty when unknown.
    #[serde(default)]
    pub zone: Box<str>,
    /// Version.
    #[serde(default)]
    pub version: Box<str>,
    /// What `If-Match` compares on its removal.
    #[serde(default)]
    pub generation: u64,
}

impl Service {
    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        let texts = [&self.namespace, &self.name, &self.version, &self.description, &self.reason, &self.source];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        size_of::<Self>() + texts + self.metadata.weight() + self.instances.iter().map(Instance::weight).sum::<usize>()
    }

    /// Instances that are healthy.
    pub fn healthy(&self) -> usize {
        self.instances.iter().filter(|i| i.health == Health::Healthy).count()
    }

    /// Since when its health is as it is: of the instances with that health the oldest date when healthy, else the newest.
    pub fn since(&self) -> Option<UnixMs> {
        let same = self.instances.iter().filter(|i| i.health == self.health).filter_map(|i| i.since);
        if self.health == Health::Healthy { same.min() } else { same.max() }
    }

    /// Of a service that has a fault, the faulty instance's reason; else its own.
    pub fn why(&self) -> &str {
        let faulty = self.instances.iter().find(|i| i.health == Health::Unhealthy);
        faulty.map_or(&self.reason, |i| &i.reason)
    }

    /// Whether none of its instances is checked, on purpose.
    pub fn is_unchecked(&self) -> bool {
        let unchecked = |i: &Instance| i.health == Health::Unknown && &*i.reason == Reason::NotChecked.as_str();
        !self.instances.is_empty() && self.instances.iter().all(unchecked)
    }

    /// Whether something is wrong with it: it is unhealthy, or a part of it is.
    pub fn is_faulty(&self) -> bool {
        self.health == Health::Unhealthy || self.instances.iter().any(|i| i.health == Health::Unhealthy)
    }
}

impl Instance {
    fn weight(&self) -> usize {
        let texts = [&self.name, &self.base_url, &self.health_url, &self.reason, &self.zone, &self.version];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// What is known of the probing of a service's instances.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
pub struct Probing {
    /// One for each instance that is probed.
    pub instances: Vec<InstanceProbing>,
    /// Whether it is live from the prober; else from the store, at most 2 s old.
    #[serde(default)]
    pub live: bool,
}

impl Probing {
    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        let one = |of: &InstanceProbing| {
            let outcomes = [&of.last, &of.last_pass, &of.last_fail];
            let messages: usize = outcomes.iter().map(|outcome| outcome.as_ref().map_or(0, |o| o.message.len())).sum();
            let texts = of.instance.len() + of.held.as_ref().map_or(0, |held| held.len());
            size_of::<InstanceProbing>() + messages + texts + of.samples.capacity() * size_of::<Sample>()
        };
        size_of::<Self>() + self.instances.iter().map(one).sum::<usize>()
    }
}

/// What is known of the probing of one instance.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct InstanceProbing {
    /// Which.
    pub instance: Box<str>,
    /// Consecutive outcomes of one kind, the newest ones.
    pub streak: Streak,
    /// When the next probe is due, wall clock.
    #[serde(default)]
    pub next_due: Option<UnixMs>,
    /// Why its health does not follow the outcomes at the moment (flap hold, guard), when that is so.
    #[serde(default)]
    pub held: Option<Box<str>>,
    /// The newest outcome.
    #[serde(default)]
    pub last: Option<Outcome>,
    /// The newest passing one.
    #[serde(default)]
    pub last_pass: Option<Outcome>,
    /// The newest failing one: the first bad after the last good where that is known.
    #[serde(default)]
    pub last_fail: Option<Outcome>,
    /// The newest samples, oldest first.
    #[serde(default)]
    pub samples: Vec<Sample>,
}

/// Consecutive outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub struct Streak {
    /// Whether they passed.
    pub passing: bool,
    /// How many.
    pub count: u32,
    /// How many change the health.
    pub of: u32,
}

/// One entry of history.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Past {
    /// Its number: grows with time.
    pub id: i64,
    /// To which instance.
    pub instance: Box<str>,
    /// When.
    pub at: UnixMs,
    /// Health before.
    pub from: Health,
    /// Health after; none when it was removed.
    #[serde(default)]
    pub to: Option<Health>,
    /// Why.
    #[serde(default)]
    pub reason: Option<Box<str>>,
    /// One sentence.
    #[serde(default)]
    pub message: Box<str>,
    /// The probe that decided it.
    #[serde(default)]
    pub evidence: Option<Outcome>,
}

impl From<(i64, Box<str>, Transition)> for Past {
    fn from((id, instance, t): (i64, Box<str>, Transition)) -> Self {
        Self {
            id,
            instance,
            at: t.at,
            from: t.from,
            to: Some(t.to),
            reason: Some(t.reason.as_str().into()),
            message: t.message.into(),
            evidence: t.evidence,
        }
    }
}

/// Something that the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerEvent {
    /// When.
    pub at: UnixMs,
    /// Which part: `store`, `prober`, `guard`, `leader`, `mirror`, `installs`, …
    pub part: Box<str>,
    /// Whether the part is as it should be again.
    #[serde(default)]
    pub good: bool,
    /// One sentence.
    pub message: Box<str>,
}
