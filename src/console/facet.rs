//! What instances have in common: the dimensions by which services are grouped, and what the failing share.
//!
//! In: services. Out: groups, and the value that is much likelier among the failing instances than among all. Both are made from scratch by
//! passes over all services, at most once a second and never for a key, see `app`.

use std::collections::HashMap;
use std::sync::Arc;

use super::data::{Instance, Service};
use super::status::Status;
use crate::model::outcome::Health;
use crate::model::time::UnixMs;

/// Most failing instances that are looked at; of more, a sample that is spread over all.
const MAX_FAILING: usize = 4096;
/// Most values of which it is counted how common they are among all instances.
const MAX_CANDIDATES: usize = 24;
/// Fewest failing instances that share something.
const MIN_SHARED: usize = 3;
/// Least share of the failing instances, in percent.
const MIN_COVERED: usize = 30;
/// How many times likelier a value is among the failing than among all, at least.
const MIN_LIFT: f64 = 1.5;
/// How many times likelier an instance with the value fails than one without it, at least.
const MIN_RISK: f64 = 2.0;
/// Most likely chance that as many of the failing have the value although it has nothing to do with it.
const MAX_CHANCE: f64 = 0.02;
/// With more failing instances than these, what is so much likelier is not a chance.
const MAX_WEIGHED: usize = 64;
/// What a reason counts beside other values: every failing instance has one, and no healthy instance has the same.
const REASON_WEIGHT: f64 = 0.3;
/// Most groups of a pivot, the worst.
pub const MAX_GROUPS: usize = 1000;
/// Most label keys that are dimensions, the commonest.
const MAX_LABELS: usize = 16;
/// Most different label keys that are counted.
const MAX_KEYS: usize = 512;

/// A property of instances by which services are grouped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Host of the address.
    Host,
    /// Failure domain.
    Zone,
    /// Namespace.
    Namespace,
    /// Version.
    Version,
    /// Why it has its health.
    Reason,
    /// Who answers for it, see [`Instance::owner`].
    Owner,
    /// A label of the metadata.
    Label(Arc<str>),
}

impl Dimension {
    /// Those that are no label.
    pub const FIXED: &[Self] = &[Self::Namespace, Self::Host, Self::Zone, Self::Version, Self::Reason, Self::Owner];

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::Zone => "zone",
            Self::Namespace => "namespace",
            Self::Version => "version",
            Self::Reason => "reason",
            Self::Owner => "owner",
            Self::Label(key) => key,
        }
    }

    /// The dimension of a name: a fixed one, else a label.
    pub fn named(name: &str) -> Self {
        let fixed = Self::FIXED.iter().find(|of| of.name() == name || (name == "ns" && **of == Self::Namespace));
        fixed.cloned().unwrap_or_else(|| Self::Label(name.into()))
    }

    /// An instance's value; none where it has none.
    pub fn value<'a>(&self, service: &'a Service, instance: &'a Instance) -> Option<&'a str> {
        let value = match self {
            Self::Host => instance.host(),
            Self::Zone => &instance.zone,
            Self::Namespace => &service.namespace,
            Self::Version => &instance.version,
            Self::Reason => &instance.reason,
            Self::Owner => instance.owner(),
            Self::Label(key) => instance.metadata.get(key)?,
        };
        Some(value).filter(|value| !value.is_empty())
    }

    /// The filter that lists the services with that value; none where the value cannot be written in one.
    pub fn filter(&self, value: &str) -> Option<String> {
        if value.chars().any(|c| c.is_whitespace() || c == '|') {
            return None;
        }
        Some(match self {
            Self::Host => format!("host={value}"),
            Self::Zone => format!("zone=={value}"),
            Self::Namespace => format!("ns=={value}"),
            Self::Version => format!("version=={value}"),
            Self::Reason => format!("reason=={value}"),
            Self::Owner => format!("owner=={value}"),
            Self::Label(key) => format!("-l {key}={value}"),
        })
    }
}

/// The dimensions of these services: the fixed ones, of owners only where one is known, and the commonest labels in order of name.
pub fn dimensions<'a>(services: impl Iterator<Item = &'a Service>) -> Vec<Dimension> {
    let mut keys: HashMap<&str, usize> = HashMap::new();
    let mut owned = false;
    for (key, _) in services
        .inspect(|service| owned |= service.instances.iter().any(|instance| !instance.owner().is_empty()))
        .flat_map(|service| service.metadata.iter())
    {
        if keys.len() < MAX_KEYS || keys.contains_key(key) {
            *keys.entry(key).or_default() += 1;
        }
    }
    let mut keys: Vec<(&str, usize)> = keys.into_iter().collect();
    keys.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
    keys.truncate(MAX_LABELS);
    keys.sort_unstable();
    let labels = keys.into_iter().map(|(key, _)| Dimension::Label(key.into()));
    let fixed = Dimension::FIXED.iter().filter(|of| **of != Dimension::Owner || owned);
    fixed.cloned().chain(labels).collect()
}

/// What the failing instances share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// In which dimension.
    pub dimension: Dimension,
    /// The value.
    pub value: Box<str>,
    /// How many failing instances have it.
    pub failing: usize,
    /// Of how many that fail.
    pub of: usize,
    /// How many instances have it.
    pub all: usize,
    /// When half of them had failed.
    pub since: Option<UnixMs>,
    /// Why most of them fail, where most agree.
    pub reason: Option<Box<str>>,
}

type Failing<'a> = (&'a Service, &'a Instance);

/// The value that the failing instances share, if there is one. All of this must hold for it:
///
/// - at least three failing instances have it, of three services (of two for a host or a zone), and at least 30 % of those that fail;
/// - it is 1.5 times as common among the failing as among all, and an instance that has it fails twice as often as one that has not;
/// - drawing as many instances from all by lot would give as many with the value in 2 % of the draws at most: six of eight that fail in a
///   zone of eight of twenty are enough (1.5 %), four of eight are not.
///
/// If several qualify, it is the one that covers most of the failing and is the least common among the others.
pub fn shared<'a>(services: impl Iterator<Item = &'a Service> + Clone) -> Option<Shared> {
    let instances = services.flat_map(|service| service.instances.iter().map(move |instance| (service, instance)));
    let (mut all, mut failing): (usize, Vec<Failing<'_>>) = (0, Vec::new());
    for (service, instance) in instances.clone() {
        all += 1;
        if instance.is_faulty() {
            failing.push((service, instance));
        }
    }
    let of = failing.len();
    if of < MIN_SHARED {
        return None;
    }
    let sampled: Vec<Failing<'_>> = failing.iter().step_by(of.div_ceil(MAX_FAILING)).copied().collect();
    let seen = sampled.len();
    let mut counted = candidates(sampled.iter().copied(), seen);
    // An instance's value of a dimension is read once, however many of its values are candidates.
    counted.sort_by(|a, b| a.0.cmp(&b.0));
    for (service, instance) in instances {
        for alike in counted.chunk_by_mut(|a, b| a.0 == b.0) {
            let found = alike.first().and_then(|(dimension, ..)| dimension.value(service, instance));
            alike.iter_mut().filter(|(_, value, ..)| found == Some(&**value)).for_each(|(.., common)| *common += 1);
        }
    }
    let best = counted.into_iter().filter_map(|(dimension, value, failing, common)| {
        if !spans_services(&sampled, &dimension, &value) {
            return None;
        }
        let lift = ratio(failing, seen) / ratio(common, all);
        // From a sample: an estimate of all that fail with the value.
        let inside = (failing * of).div_ceil(seen).min(common);
        let risk = ratio(inside, common) / ratio(of - inside.min(of), all - common);
        let by_chance = || seen <= MAX_WEIGHED && chance(failing, seen, common, all) > MAX_CHANCE;
        if lift < MIN_LIFT || risk < MIN_RISK || by_chance() {
            return None;
        }
        let weight = if dimension == Dimension::Reason { REASON_WEIGHT } else { 1.0 };
        // What most of them share says more than what a few share exactly.
        let covered = ratio(failing, seen);
        Some((covered * covered * lift.ln() * weight, dimension, value, common))
    });
    let (_, dimension, value, common) = best.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)))?;
    let having: Vec<Failing<'_>> =
        failing.into_iter().filter(|(service, instance)| dimension.value(service, instance) == Some(&value)).collect();
    let reason = commonest(having.iter().map(|(_, instance)| &*instance.reason));
    let reason =
        reason.filter(|(reason, n)| n * 5 >= having.len() * 4 && *reason != &*value).map(|(reason, _)| reason.into());
    let since = median(having.iter().filter_map(|(_, instance)| instance.since).collect());
    Some(Shared { dimension, failing: having.len(), of, all: common, since, reason, value })
}

/// How likely at least `hits` of `drawn` instances have a value that `common` of `all` have, if they are drawn by lot: the upper tail of the
/// hypergeometric distribution.
fn chance(hits: usize, drawn: usize, common: usize, all: usize) -> f64 {
    let others = all - common.min(all);
    // Of k with the value, relative to the likeliest smallest k; the sum of all makes it a probability.
    let least = drawn.saturating_sub(others);
    let (mut weight, mut tail, mut sum) = (1.0, 0.0, 0.0);
    for k in least..=drawn.min(common) {
        sum += weight;
        tail += if k >= hits { weight } else { 0.0 };
        weight *= ratio(common - k, k + 1) * ratio(drawn - k, others + k + 1 - drawn);
    }
    tail / sum
}

/// Whether enough services have failing instances with the value: those of one service share nearly everything.
fn spans_services(failing: &[Failing<'_>], dimension: &Dimension, value: &str) -> bool {
    let least = if matches!(dimension, Dimension::Host | Dimension::Zone) { 2 } else { MIN_SHARED };
    let mut seen: Vec<uuid::Uuid> = Vec::with_capacity(least);
    for (service, instance) in failing {
        if seen.len() < least && dimension.value(service, instance) == Some(value) && !seen.contains(&service.id) {
            seen.push(service.id);
        }
    }
    seen.len() == least
}

type Counted = (Dimension, Box<str>, usize, usize);

/// The values that enough failing instances have, the commonest first, and 0 for how many have them among all.
fn candidates<'a>(failing: impl Iterator<Item = Failing<'a>>, seen: usize) -> Vec<Counted> {
    let mut fixed: HashMap<(&Dimension, &str), usize> = HashMap::new();
    let mut labels: HashMap<(&str, &str), usize> = HashMap::new();
    for (service, instance) in failing {
        for dimension in Dimension::FIXED {
            if let Some(value) = dimension.value(service, instance) {
                *fixed.entry((dimension, value)).or_default() += 1;
            }
        }
        for label in instance.metadata.iter() {
            *labels.entry(label).or_default() += 1;
        }
    }
    let enough = |n: &usize| *n >= MIN_SHARED && n * 100 >= seen * MIN_COVERED;
    let fixed = fixed.into_iter().filter(|(_, n)| enough(n)).map(|((of, value), n)| (of.clone(), value.into(), n, 0));
    let labels = labels.into_iter().filter(|(_, n)| enough(n));
    let labels = labels.map(|((key, value), n)| (Dimension::Label(key.into()), value.into(), n, 0));
    let mut all: Vec<Counted> = fixed.chain(labels).collect();
    all.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    all.truncate(MAX_CANDIDATES);
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts of instances are far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn commonest<'a>(values: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(a.0)))
}

fn median(mut times: Vec<UnixMs>) -> Option<UnixMs> {
    let middle = times.len() / 2;
    (middle < times.len()).then(|| *times.select_nth_unstable(middle).1)
}

/// The services that have one value in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// The value; empty for those that have none.
    pub value: Box<str>,
    /// Services that are down.
    pub down: usize,
    /// Services of which an instance fails.
    pub degraded: usize,
    /// The healthy ones.
    pub healthy: usize,
    /// Neither: unknown, not checked, drained.
    pub other: usize,
    /// Why most of the failing instances fail.
    pub reason: Box<str>,
    /// When half of the failing instances had failed.
    pub since: Option<UnixMs>,
}

impl Group {
    /// All services.
    pub fn services(&self) -> usize {
        self.down + self.degraded + self.healthy + self.other
    }
}

/// The services by their value of a dimension, the worst first. A service whose instances differ is in several groups.
pub fn groups<'a>(dimension: &Dimension, services: impl Iterator<Item = &'a Service>) -> Vec<Group> {
    let mut found: HashMap<&str, (Group, Vec<&Instance>)> = HashMap::new();
    for service in services {
        let status = Status::of(service);
        let values = service.instances.iter().map(|instance| dimension.value(service, instance).unwrap_or_default());
        for (n, (value, instance)) in values.clone().zip(&service.instances).enumerate() {
            let (group, failing) = found.entry(value).or_default();
            if instance.health == Health::Unhealthy && instance.is_faulty() {
                failing.push(instance);
            }
            if values.clone().take(n).any(|before| before == value) {
                continue;
            }
            *match status {
                Status::Down => &mut group.down,
                Status::Degraded => &mut group.degraded,
                Status::Healthy | Status::Slow => &mut group.healthy,
                Status::Drained | Status::Unknown | Status::NotChecked => &mut group.other,
            } += 1;
        }
    }
    let mut groups: Vec<Group> = found
        .into_iter()
        .map(|(value, (group, failing))| Group {
            value: value.into(),
            reason: commonest(failing.iter().map(|i| &*i.reason)).map_or("", |(reason, _)| reason).into(),
            since: median(failing.iter().filter_map(|i| i.since).collect()),
            ..group
        })
        .collect();
    groups.sort_by(|a, b| {
        let key = |g: &Group| (std::cmp::Reverse((g.down, g.degraded, g.services())), g.value.clone());
        key(a).cmp(&key(b))
    });
    groups.truncate(MAX_GROUPS);
    groups
}
