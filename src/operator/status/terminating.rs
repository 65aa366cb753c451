//! The status of an object that is being deleted: finalizers hold it, and it is no longer served or probed.

use super::conditions::{UntimedCondition, listed};
use super::{Parts, StatusInput};
use crate::model::text;
use crate::operator::crd::{HealthValue, InstanceStatus, State};
use crate::operator::read::ListedInstance;

/// The reason of the object, of each condition and of each instance.
pub(super) const TERMINATING: &str = "Terminating";
/// Longest name of a finalizer that is shown, in characters.
const MAX_FINALIZER: usize = 128;

/// Everything that the state follows from.
pub(super) fn parts(input: &StatusInput<'_>) -> Parts {
    let listed = &input.parsed.instances;
    Parts {
        state: State::Terminating,
        reason: TERMINATING.to_owned(),
        healthy: 0,
        conditions: conditions(&input.parsed.finalizers),
        instances: listed.iter().map(|listed| instance(input, listed)).collect(),
    }
}

fn conditions(finalizers: &[String]) -> [UntimedCondition; 4] {
    let held = listed(finalizers, |name| text::escape(name, MAX_FINALIZER), ", ");
    let why = match finalizers {
        [] => "the object is being deleted; it is no longer served or probed".to_owned(),
        _ => {
            format!("the object is being deleted; it is no longer served or probed, and its finalizers hold it: {held}")
        }
    };
    let condition = |kind, status| UntimedCondition::new(kind, status, TERMINATING, why.clone());
    [
        condition("Accepted", "False"),
        condition("Ready", "False"),
        condition("Degraded", "Unknown"),
        condition("Stalled", "False"),
    ]
}

fn instance(input: &StatusInput<'_>, listed: &ListedInstance) -> InstanceStatus {
    let before = input.before.and_then(|status| status.instances.iter().find(|of| of.name == listed.name));
    let since = before.filter(|before| before.reason == TERMINATING).and_then(|before| before.since);
    InstanceStatus {
        name: listed.name.clone(),
        health: HealthValue::Unknown,
        since: Some(since.unwrap_or(input.now)),
        reason: TERMINATING.to_owned(),
        message: "no longer probed: its object is being deleted".to_owned(),
        probe_hash: listed.probe_hash.clone().unwrap_or_default(),
        ..InstanceStatus::default()
    }
}
