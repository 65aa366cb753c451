//! What the status of a policy should say.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::model::time::UnixMs;
use crate::operator::crd::NamespacePolicyStatus;
use crate::operator::namespaces::KnownPolicy;

/// The condition's type.
const ACCEPTED: &str = "Accepted";

/// What it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) namespaces: usize,
    pub(super) services: usize,
}

/// The status that the policy should have.
pub(super) fn of(known: &KnownPolicy, counts: Counts, install: &str, now: UnixMs) -> NamespacePolicyStatus {
    let before = known.status.as_ref().and_then(|status| status.conditions.iter().find(|c| c.type_ == ACCEPTED));
    let (status, reason, message) = match &known.problem {
        None => ("True", "Accepted", "the policy is in force".to_owned()),
        Some(problem) => ("False", "Invalid", format!("{problem}; correct the policy and apply it again")),
    };
    let kept = before.filter(|before| before.status == status);
    // The API stores whole seconds.
    let seconds = jiff::Timestamp::from_second(now.0.div_euclid(1000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let condition = Condition {
        type_: ACCEPTED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: known.generation,
        last_transition_time: kept.map_or(Time(seconds), |kept| kept.last_transition_time.clone()),
    };
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    NamespacePolicyStatus {
        observed_generation: known.generation,
        install: Some(install.to_owned()),
        namespaces: count(counts.namespaces),
        services: count(counts.services),
        conditions: vec![condition],
    }
}

/// What is left of the difference between two statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    None,
    /// Only how much it selects.
    Counts,
    Other,
}

/// How `wanted` differs from `status`. Conditions of other types belong to other writers.
pub(super) fn difference(status: Option<&NamespacePolicyStatus>, wanted: &NamespacePolicyStatus) -> Difference {
    let Some(status) = status else { return Difference::Other };
    let own = |status: &NamespacePolicyStatus| {
        status.conditions.iter().find(|condition| condition.type_ == ACCEPTED).cloned()
    };
    let same = (status.observed_generation, &status.install, own(status))
        == (wanted.observed_generation, &wanted.install, own(wanted));
    match (same, (status.namespaces, status.services) == (wanted.namespaces, wanted.services)) {
        (true, true) => Difference::None,
        (true, false) => Difference::Counts,
        (false, _) => Difference::Other,
    }
}
