//! Services and their instances, after validation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::acknowledgement::{Acknowledgement, Failure};
use super::check::{AnyCheck, Check, CheckError, CheckKind, HeartbeatCheck, MAX_NAMED_CHECKS, NamedCheck, Plan};
use super::name::{CheckName, InstanceName, ServiceKey};
use super::outcome::{Health, Reason};
use super::replica::Replica;
use super::time::UnixMs;
use super::url::EndpointUrl;

/// Most instances of one service.
pub const MAX_INSTANCES_PER_SERVICE: usize = 256;
/// Longest version, in characters.
pub const MAX_VERSION: usize = 64;
/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 1024;
/// Most metadata entries of one instance.
pub const MAX_METADATA: usize = 64;
/// Longest metadata key, in characters.
pub const MAX_METADATA_KEY: usize = 63;
/// Longest metadata value, in characters.
pub const MAX_METADATA_VALUE: usize = 1024;
/// Longest zone, in characters.
pub const MAX_ZONE: usize = 63;
/// Largest weight; 0 drains an instance.
pub const MAX_WEIGHT: u16 = 1000;
/// Most tags of one instance.
pub const MAX_TAGS: usize = 64;
/// Longest tag, in bytes.
pub const MAX_TAG: usize = 512;
/// Longest external id, in bytes.
pub const MAX_EXTERNAL_ID: usize = 512;
/// Bounds of `deregister_after_seconds`.
pub const DEREGISTER_AFTER: std::ops::RangeInclusive<u32> = 60..=31_536_000;
/// Longest reason of a drain, in characters.
pub const MAX_DRAIN_REASON: usize = 256;
/// Longest message of a warning, in characters.
pub const MAX_WARNING: usize = 256;
/// Weight of an instance that gives none.
pub const DEFAULT_WEIGHT: u16 = 100;

/// Where a service comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Registered over HTTP.
    Rest,
    /// Applied as a custom resource.
    Manifest,
}

impl Source {
    /// Its name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Manifest => "manifest",
        }
    }
}

/// Longest issuer and subject of an owner, in characters.
pub const MAX_OWNER: usize = 256;

/// Who registered an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Unknown, because auth was off.
    Anonymous,
    /// A token's holder, or with [`CERTIFICATE_ISSUER`](super::owner::CERTIFICATE_ISSUER) a certificate's.
    Token {
        /// The `iss` claim, empty when absent.
        issuer: Arc<str>,
        /// The `sub` claim.
        subject: Arc<str>,
    },
}

impl Owner {
    /// The stored form: `anonymous`, or `token:<issuer>\n<subject>` (neither can contain a line break).
    pub fn to_stored(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Token { issuer, subject } => format!("token:{issuer}\n{subject}"),
        }
    }

    /// Parses the stored form; `None` for anything else.
    pub fn from_stored(text: &str) -> Option<Self> {
        if text == "anonymous" {
            return Some(Self::Anonymous);
        }
        let (issuer, subject) = text.strip_prefix("token:")?.split_once('\n')?;
        Some(Self::Token { issuer: issuer.into(), subject: subject.into() })
    }
}

/// The content of one instance's registration. Registering equal content is a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Where clients reach it.
    pub base_url: EndpointUrl,
    /// Where it is probed, if not at `base_url`.
    pub health_url: Option<EndpointUrl>,
    /// How it is probed.
    pub check: Check,
    /// Further checks, ordered by name; at most seven.
    pub checks: Vec<NamedCheck>,
    /// At most [`MAX_TAGS`] free texts for selection, each at most [`MAX_TAG`] bytes, none twice.
    pub tags: Vec<String>,
    /// Its name in another system, verbatim; at most [`MAX_EXTERNAL_ID`] bytes.
    pub external_id: Option<String>,
    /// Seconds of uninterrupted failure after which it is removed, in [`DEREGISTER_AFTER`].
    pub deregister_after_seconds: Option<u32>,
    /// Any text of at most [`MAX_VERSION`] characters, matched as semver if possible; may be empty.
    pub version: String,
    /// For people; at most [`MAX_DESCRIPTION`] characters, may be empty.
    pub description: String,
    /// At most [`MAX_METADATA`] labels for selection.
    pub metadata: BTreeMap<String, String>,
    /// 0 to [`MAX_WEIGHT`]; 0 means drained.
    pub weight: u16,
    /// The failure domain; empty if unknown.
    pub zone: String,
}

impl InstanceSpec {
    /// An instance at `base_url` with defaults for everything else: no health URL, the default check and weight, empty texts.
    pub fn at(base_url: EndpointUrl) -> Self {
        Self {
            base_url,
            health_url: None,
            check: Check::default(),
            checks: Vec::new(),
            tags: Vec::new(),
            external_id: None,
            deregister_after_seconds: None,
            version: String::new(),
            description: String::new(),
            metadata: BTreeMap::new(),
            weight: DEFAULT_WEIGHT,
            zone: String::new(),
        }
    }

    /// How to probe it. [`Plan::Unchecked`] if kind and URLs do not fit, which registration refuses.
    pub fn plan(&self, default_interval: Duration) -> Plan {
        self.check.plan(&self.base_url, self.health_url.as_ref(), default_interval).unwrap_or(Plan::Unchecked)
    }

    /// Every check, the plain one first. The position of each is stable within a generation. A further check with an `http.path` probes that
    /// path on the base URL's host and port.
    pub fn all_checks(&self) -> impl Iterator<Item = AnyCheck<'_>> {
        let health = self.health_url.as_ref();
        let plain = AnyCheck { name: None, advisory: false, url: health, check: &self.check };
        let named = self.checks.iter().map(move |named| AnyCheck {
            name: Some(&named.name),
            advisory: named.advisory,
            // A path is for the base URL's host and port.
            url: named.url.as_ref().or(health.filter(|_| !named.check.has_path())),
            check: &named.check,
        });
        std::iter::once(plain).chain(named)
    }

    /// Whether its checks fit its URLs and each other; see [`InstanceSpec::check_problems`].
    ///
    /// # Errors
    /// A sentence that begins with the field, `check: …` or `checks.NAME: …`.
    pub fn accept_checks(&self) -> Result<(), String> {
        if self.checks.len() > MAX_NAMED_CHECKS {
            return Err(format!("checks: at most {MAX_NAMED_CHECKS}, this has {}", self.checks.len()));
        }
        let Some((at, problem)) = self.check_problems().into_iter().next() else { return Ok(()) };
        let named = at.checked_sub(1).and_then(|at| self.checks.get(at));
        Err(named.map_or_else(|| format!("check: {problem}"), |named| format!("checks.{}: {problem}", named.name)))
    }

    /// What is wrong with its checks, each sentence with the check's position: a setting out of its bounds, a kind that does not fit its URLs,
    /// a further check that checks nothing, a name that is given twice or is `default`, and a second heartbeat.
    pub fn check_problems(&self) -> Vec<(usize, String)> {
        let (mut heartbeats, mut problems) = (0, Vec::new());
        for (at, check) in self.all_checks().enumerate() {
            heartbeats += usize::from(check.check.is_heartbeat());
            let sooner = self.checks.iter().take(at.saturating_sub(1)).any(|sooner| Some(&sooner.name) == check.name);
            let wrong = match check.name {
                Some(name) if name.is_default() => Some("this is the name of the plain `check`; give another"),
                Some(_) if sooner => Some("the name is given twice; rename one"),
                _ if check.check.is_heartbeat() && heartbeats > 1 => {
                    Some("one heartbeat is enough, since the program reports once for all; leave this out")
                }
                _ => None,
            };
            let wrong = wrong.map_or_else(|| self.misfit(&check), |wrong| Some(wrong.to_owned()));
            problems.extend(wrong.map(|wrong| (at, wrong)));
        }
        problems
    }

    /// What is wrong with one of its checks, whatever the others are.
    fn misfit(&self, check: &AnyCheck<'_>) -> Option<String> {
        if let Err(error) = check.check.accept() {
            return Some(error);
        }
        match self.try_plan_of(check, Duration::ZERO) {
            Err(CheckError::TwoPaths) if check.name.is_some() => {
                Some("give either url or http.path, not both: a url has its path".to_owned())
            }
            Err(error) => Some(error.to_string()),
            Ok(Plan::Unchecked) if check.name.is_some() => {
                Some("it checks nothing: give http, tcp, grpc or heartbeat, or a url".to_owned())
            }
            Ok(_) => None,
        }
    }

    /// How one of its checks is carried out; see [`InstanceSpec::plan`].
    pub fn plan_of(&self, check: &AnyCheck<'_>, default_interval: Duration) -> Plan {
        self.try_plan_of(check, default_interval).unwrap_or(Plan::Unchecked)
    }

    /// How one of its checks is carried out.
    ///
    /// # Errors
    /// [`CheckError`] if its kind and its URLs do not fit.
    pub fn try_plan_of(&self, check: &AnyCheck<'_>, default_interval: Duration) -> Result<Plan, CheckError> {
        check.check.plan(&self.base_url, check.url, default_interval)
    }

    /// Health and reason before the first conclusive outcome.
    pub fn unproved(&self, default_interval: Duration) -> (Health, Reason) {
        let decides =
            |check: &AnyCheck<'_>| !check.advisory && !matches!(self.plan_of(check, default_interval), Plan::Unchecked);
        let has_any = self.all_checks().any(|check| decides(&check));
        (Health::Unknown, if has_any { Reason::Probing } else { Reason::NotChecked })
    }

    /// The heartbeat check among its checks; there is at most one.
    pub fn heartbeat(&self) -> Option<HeartbeatCheck> {
        self.all_checks().find_map(|any| match any.check.kind {
            Some(CheckKind::Heartbeat(heartbeat)) => Some(heartbeat),
            _ => None,
        })
    }

    /// Whether it wants to be removed once it is gone for long: with a heartbeat check, or `deregister_after_seconds`.
    pub fn asks_for_removal(&self) -> bool {
        self.deregister_after_seconds.is_some() || self.heartbeat().is_some()
    }

    /// Whether a change from `old` needs a new generation, because a URL or the check differs.
    pub fn probes_differ(&self, old: &Self) -> bool {
        self.base_url != old.base_url
            || self.health_url != old.health_url
            || self.check != old.check
            || self.checks != old.checks
    }
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The store's key: stable as long as the instance exists, and greater than every earlier one.
    pub id: InstanceId,
    /// Its name.
    pub name: InstanceName,
    /// What was registered.
    pub spec: Arc<InstanceSpec>,
    /// Who registered it.
    pub owner: Owner,
    /// Grows when its URL or check changes; outcomes of an older generation are dropped. Unique in the store.
    pub generation: u64,
    /// In cluster mode, the generation that readers see, the same on every replica; 0 for a manifest's instance.
    pub fence: Option<u64>,
    /// First registered.
    pub created_at: UnixMs,
    /// Its health.
    pub health: Health,
    /// The reason of its health.
    pub reason: Reason,
    /// When it got this health, wall clock.
    pub since: UnixMs,
    /// The reason as a sentence. It is for an object's status, so only the replica that decided the health keeps it.
    pub message: Option<Arc<str>>,
    /// The check that decides its health, and whose reason it shows.
    pub decided_by: CheckName,
    /// What does not pass although it is usable.
    pub warning: Option<Arc<Warning>>,
    /// The checks that do not pass besides the one that decides an unhealthy instance and the one of the warning; by position.
    pub also_failing: Box<[CheckName]>,
    /// The version that its answers report.
    pub observed_version: Option<Arc<str>>,
    /// Set while it is out of selection on purpose. Not part of what was registered, so that a renewal does not end it.
    pub drain: Option<Arc<Drain>>,
    /// Set while somebody knows about its failure. Not part of what was registered, either.
    pub acknowledged: Option<Arc<Acknowledgement>>,
}

/// Something that does not pass, but does not make an instance unusable: an advisory check, or a heartbeat's own warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The check.
    pub check: CheckName,
    /// Why.
    pub reason: Reason,
    /// One sentence, at most [`MAX_WARNING`] characters, built by Portolan or escaped.
    pub message: String,
}

/// Why and how long an instance is out of selection on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// For people, at most [`MAX_DRAIN_REASON`] characters.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub since: UnixMs,
    /// When it ends by itself; none if it does not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<UnixMs>,
}

impl Instance {
    /// An anonymous instance that was first registered at `at`, with the health that it has had since then, in its first generation.
    pub fn new(
        id: InstanceId,
        name: InstanceName,
        spec: Arc<InstanceSpec>,
        (health, reason): (Health, Reason),
        at: UnixMs,
    ) -> Self {
        Self {
            id,
            name,
            spec,
            owner: Owner::Anonymous,
            generation: 1,
            fence: None,
            created_at: at,
            health,
            reason,
            since: at,
            message: None,
            decided_by: CheckName::default(),
            warning: None,
            also_failing: Box::default(),
            observed_version: None,
            drain: None,
            acknowledged: None,
        }
    }

    /// Whether it has no check, so that its health is unknown on purpose.
    pub fn is_unchecked(&self) -> bool {
        self.health == Health::Unknown && self.reason == Reason::NotChecked
    }

    /// Whether it is out of selection on purpose: drained, or with a weight of 0.
    pub fn is_drained(&self) -> bool {
        self.drain.is_some() || self.spec.weight == 0
    }

    /// What fails of it now; none if it neither fails nor warns.
    pub fn failure(&self) -> Option<Failure> {
        let down = (self.health == Health::Unhealthy).then(|| (self.decided_by.clone(), self.since));
        let warning = self.warning.as_ref().map(|warning| warning.check.clone());
        Failure::of(down, warning, &self.also_failing)
    }

    /// The generation that readers see and `If-Match` names.
    pub fn shown_generation(&self) -> u64 {
        self.fence.unwrap_or(self.generation)
    }
}

/// The store's integer key of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub i64);

/// One check of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId {
    /// The instance.
    pub instance: InstanceId,
    /// Its position among the instance's checks, 0 for the plain one; see [`InstanceSpec::all_checks`].
    pub position: u8,
}

impl CheckId {
    /// The plain check of the instance with that number.
    pub fn plain(instance: i64) -> Self {
        Self { instance: InstanceId(instance), position: 0 }
    }
}

/// A named thing in a namespace, with its instances in order of name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// A UUIDv7 from the first registration; in cluster mode, the object's uid.
    pub id: Uuid,
    /// Namespace and name.
    pub key: ServiceKey,
    /// Where it came from.
    pub source: Source,
    /// First registered.
    pub registered_at: UnixMs,
    /// Last change that readers could notice.
    pub updated_at: UnixMs,
    /// The revision of that change; in cluster mode, the object's.
    pub revision: u64,
    /// The position of that change in this store's order of changes. Standalone, it equals the revision.
    pub sequence: u64,
    /// In cluster mode, the replica that decided its health, until a status write has published it.
    pub unreported: Option<Replica>,
    /// 1 to [`MAX_INSTANCES_PER_SERVICE`], ordered by name.
    pub instances: Vec<Instance>,
}

impl Service {
    /// The combined health of its instances; see [`health_of`].
    pub fn health(&self) -> Health {
        health_of(self.instances.iter())
    }

    /// Whether none of its instances has a check.
    pub fn is_unchecked(&self) -> bool {
        !self.instances.is_empty() && self.instances.iter().all(Instance::is_unchecked)
    }

    /// The instance whose URLs stand for the service's; see [`front_of`].
    pub fn front(&self) -> Option<&Instance> {
        front_of(self.instances.iter())
    }

    /// The instance with that name.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|i| i.name.as_str() == name)
    }
}

/// The instance whose URLs stand for the service's: the first healthy one, ordered by weight (largest first) and name; if none is healthy, the
/// first in that order. Drained instances come last.
pub fn front_of<'a>(instances: impl Iterator<Item = &'a Instance>) -> Option<&'a Instance> {
    let order = |i: &&Instance| {
        (i.health != Health::Healthy || i.is_drained(), std::cmp::Reverse(i.spec.weight), i.name.clone())
    };
    instances.min_by_key(order)
}

/// The reason of a service with these instances: that of the first in [`front_of`]'s order that has the service's health.
pub fn reason_of<'a>(instances: impl Iterator<Item = &'a Instance> + Clone) -> Reason {
    let health = health_of(instances.clone());
    front_of(instances.filter(|i| i.health == health)).map_or(Reason::Probing, |i| i.reason)
}

/// The order in which a service shows its instances: healthy ones first, drained ones last among those of a kind, then by weight (largest
/// first) and name.
pub fn shown_order(instance: &Instance) -> (bool, bool, std::cmp::Reverse<u16>, InstanceName) {
    let Instance { health, spec, name, .. } = instance;
    (*health != Health::Healthy, instance.is_drained(), std::cmp::Reverse(spec.weight), name.clone())
}

/// The instance that was registered last; its version, description and metadata stand for the service's. Ids decide, because they only grow,
/// while the wall clock may be set back. In cluster mode each replica has its own ids, so the fence decides, which all replicas know.
pub fn newest_of<'a>(instances: impl Iterator<Item = &'a Instance>) -> Option<&'a Instance> {
    instances.max_by_key(|i| (i.fence.map(|fence| (fence, i.name.as_str())), i.id))
}

/// Healthy if any instance is; unhealthy if none is healthy and one is unhealthy; otherwise unknown.
pub fn health_of<'a>(instances: impl Iterator<Item = &'a Instance>) -> Health {
    let mut health = Health::Unknown;
    for instance in instances {
        match instance.health {
            Health::Healthy => return Health::Healthy,
            Health::Unhealthy => health = Health::Unhealthy,
            Health::Unknown => {}
        }
    }
    health
}

/// The acknowledgement of a service with these instances: the newest one, if each instance that fails has one.
pub fn acknowledgement_of<'a>(instances: impl Iterator<Item = &'a Instance>) -> Option<&'a Arc<Acknowledgement>> {
    let mut newest: Option<&Arc<Acknowledgement>> = None;
    for instance in instances.filter(|instance| instance.failure().is_some()) {
        let one = instance.acknowledged.as_ref()?;
        newest = newest.filter(|newest| newest.since >= one.since).or(Some(one));
    }
    newest
}
