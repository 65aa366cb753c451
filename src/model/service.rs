//! Services and their instances, after validation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check::{Check, Plan};
use super::name::{InstanceName, ServiceKey};
use super::outcome::{Health, Reason};
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

/// Who registered an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Unknown, because auth was off.
    Anonymous,
    /// A token's issuer (may be empty) and subject.
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

    /// Health and reason before the first conclusive probe.
    pub fn unproved(&self, default_interval: Duration) -> (Health, Reason) {
        match self.plan(default_interval) {
            Plan::Probe(..) => (Health::Unknown, Reason::Probing),
            Plan::Unchecked => (Health::Unknown, Reason::NotChecked),
        }
    }

    /// Whether a change from `old` needs a new generation, because a URL or the check differs.
    pub fn probes_differ(&self, old: &Self) -> bool {
        self.base_url != old.base_url || self.health_url != old.health_url || self.check != old.check
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
}

impl Instance {
    /// Whether it has no check, so that its health is unknown on purpose.
    pub fn is_unchecked(&self) -> bool {
        self.health == Health::Unknown && self.reason == Reason::NotChecked
    }

    /// The generation that readers see and `If-Match` names.
    pub fn shown_generation(&self) -> u64 {
        self.fence.unwrap_or(self.generation)
    }
}

/// One of several servers that mirror the same services: a random number per process, displayed as 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica(u32);

impl Replica {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Parses the displayed form: 8 hex digits.
    pub fn read(text: &str) -> Option<Self> {
        let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl std::fmt::Display for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The store's integer key of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub i64);

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
        (i.health != Health::Healthy || i.spec.weight == 0, std::cmp::Reverse(i.spec.weight), i.name.clone())
    };
    instances.min_by_key(order)
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
