//! The status of an object that is being deleted: finalizers hold it, and nothing of it is served or probed any more.

use super::conditions::{Finding, listed};
use super::{Findings, Parts};
use crate::model::text;
use crate::operator::crd::{HealthValue, InstanceStatus, State};
use crate::operator::read::ListedInstance;

/// Why, in the status of the object, of each condition and of each instance.
pub(super) const TERMINATING: &str = "Terminating";
/// Longest name of a finalizer that is shown, in characters.
const MAX_FINALIZER: usize = 128;

/// Everything that the state follows from.
pub(super) fn parts(findings: &Findings<'_>) -> Parts {
    let listed = &findings.understood.instances;
    Parts {
        state: State::Terminating,
        reason: TERMINATING.to_owned(),
        healthy: 0,
        conditions: conditions(&findings.understood.finalizers),
        instances: listed.iter().map(|listed| instance(findings, listed)).collect(),
    }
}

fn conditions(finalizers: &[String]) -> [Finding; 4] {
    let held = listed(finalizers, |name| text::escape(name, MAX_FINALIZER), ", ");
    let why = match finalizers {
        [] => "the object is being deleted; it is no longer served or probed".to_owned(),
        _ => {
            format!("the object is being deleted; it is no longer served or probed, and its finalizers hold it: {held}")
        }
    };
    let finding = |kind, status| Finding::new(kind, status, TERMINATING, why.clone());
    [
        finding("Accepted", "False"),
        finding("Ready", "False"),
        finding("Degraded", "Unknown"),
        finding("Stalled", "False"),
    ]
}

fn instance(findings: &Findings<'_>, listed: &ListedInstance) -> InstanceStatus {
    let before = findings.before.and_then(|status| status.instances.iter().find(|of| of.name == listed.name));
    let since = before.filter(|before| before.reason == TERMINATING).and_then(|before| before.since);
    InstanceStatus {
        name: listed.name.clone(),
        health: HealthValue::Unknown,
        since: Some(since.unwrap_or(findings.now)),
        reason: TERMINATING.to_owned(),
        message: "no longer probed: its object is being deleted".to_owned(),
        probe_hash: listed.probe_hash.clone().unwrap_or_default(),
    }
}
