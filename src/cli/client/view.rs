//! The parts of an answer that tables need. Every field may be missing: another version's server stays readable.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::model::outcome::Timings;
use crate::model::time::UnixMs;

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct ServiceView {
    /// UUID.
    pub(in crate::cli) id: String,
    /// Its namespace.
    pub(in crate::cli) namespace: String,
    /// Its name.
    pub(in crate::cli) name: String,
    /// Version of its newest instance.
    pub(in crate::cli) version: String,
    /// A sentence for people.
    pub(in crate::cli) description: String,
    /// Where it is reached.
    pub(in crate::cli) base_url: String,
    /// `healthy`, `unhealthy`, `unknown`.
    pub(in crate::cli) status: String,
    /// Why.
    pub(in crate::cli) reason: String,
    /// `rest` or `manifest`.
    pub(in crate::cli) source: String,
    /// Labels.
    pub(in crate::cli) metadata: BTreeMap<String, String>,
    /// Newest conclusive probe.
    pub(in crate::cli) last_health_check: Option<UnixMs>,
    /// First registered.
    pub(in crate::cli) registered_at: Option<UnixMs>,
    /// Last change.
    pub(in crate::cli) updated_at: Option<UnixMs>,
    /// Revision of that change.
    pub(in crate::cli) revision: u64,
    /// Healthy first.
    pub(in crate::cli) instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct InstanceView {
    /// Its name.
    pub(in crate::cli) name: String,
    /// Where it is reached.
    pub(in crate::cli) base_url: String,
    /// Where it is probed; empty when nowhere of its own.
    pub(in crate::cli) health_url: String,
    /// `healthy`, `unhealthy`, `unknown`.
    pub(in crate::cli) status: String,
    /// Why.
    pub(in crate::cli) reason: String,
    /// Since when.
    pub(in crate::cli) since: Option<UnixMs>,
    /// 0 to 1000.
    pub(in crate::cli) weight: u16,
    /// Failure domain.
    pub(in crate::cli) zone: String,
    /// Its version.
    pub(in crate::cli) version: String,
    /// Labels.
    pub(in crate::cli) metadata: BTreeMap<String, String>,
    /// For `If-Match` on its removal.
    pub(in crate::cli) generation: u64,
}

impl ServiceView {
    /// Healthy instances of all: `1/2`.
    pub(in crate::cli) fn ratio(&self) -> String {
        let healthy = self.instances.iter().filter(|i| i.status == "healthy").count();
        format!("{healthy}/{}", self.instances.len())
    }

    /// Since when the service has its health: the first of its instances to be healthy, or the last to fall.
    pub(in crate::cli) fn since(&self) -> Option<UnixMs> {
        let same = self.instances.iter().filter(|i| i.status == self.status).filter_map(|i| i.since);
        if self.status == "healthy" { same.min() } else { same.max() }
    }
}

/// A change of an instance's health.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct TransitionView {
    /// Grows with time.
    pub(in crate::cli) id: i64,
    /// Which instance.
    pub(in crate::cli) instance: String,
    /// When.
    pub(in crate::cli) at: Option<UnixMs>,
    /// Health before.
    pub(in crate::cli) from: String,
    /// Health after; none when it was removed.
    pub(in crate::cli) to: Option<String>,
    /// Why.
    pub(in crate::cli) reason: Option<String>,
    /// A sentence.
    pub(in crate::cli) message: String,
}

/// What an on-demand check of one instance gave.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct CheckView {
    /// Which instance.
    pub(in crate::cli) instance: String,
    /// The probe; none where there is no check.
    pub(in crate::cli) outcome: Option<OutcomeView>,
    /// Whether a flap hold kept a pass from showing.
    pub(in crate::cli) held: bool,
}

/// One probe's result; only verdict and reason where the caller may not see more.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct OutcomeView {
    /// `pass`, `fail`, `inconclusive`.
    pub(in crate::cli) verdict: String,
    /// Why.
    pub(in crate::cli) reason: String,
    /// A sentence.
    pub(in crate::cli) message: String,
    /// The address that was dialled.
    pub(in crate::cli) address: Option<SocketAddr>,
    /// Time spent in each stage.
    pub(in crate::cli) timings: Option<Timings>,
}
