//! `status.instances`: every instance of the object by name, those included that cannot be used.

use super::reason_text::sentence;
use super::{Findings, problem_of};
use crate::model::outcome::{Health, Reason};
use crate::model::service::Instance;
use crate::model::text;
use crate::operator::crd::{HealthValue, InstanceStatus};
use crate::operator::read::{ListedInstance, Problem, ProblemKind};

/// Longest message, in characters.
const MAX_MESSAGE: usize = 256;

pub(super) fn all(findings: &Findings<'_>) -> Vec<InstanceStatus> {
    findings.understood.instances.iter().map(|listed| one(findings, listed)).collect()
}

fn one(findings: &Findings<'_>, listed: &ListedInstance) -> InstanceStatus {
    let before =
        findings.before.and_then(|status| status.instances.iter().find(|instance| instance.name == listed.name));
    let hash = listed.probe_hash.clone().unwrap_or_default();
    let before = before.filter(|before| before.probe_hash == hash);
    let probed = findings.service.and_then(|service| service.instance(&listed.name));
    let problem = problem_of(&findings.understood.problems, &listed.name);
    match (probed, problem) {
        (Some(instance), _) => verdict(findings, instance, problem, before, hash),
        (None, Some(problem)) => unusable(findings, listed, problem, before, hash),
        (None, None) => waiting(findings, listed, before, hash),
    }
}

/// What the catalog has.
fn verdict(
    findings: &Findings<'_>,
    instance: &Instance,
    problem: Option<&Problem>,
    before: Option<&InstanceStatus>,
    hash: String,
) -> InstanceStatus {
    let health = HealthValue::from(instance.health);
    let reason = instance.reason.as_str();
    let said = instance.reason.bars_check().then(|| (findings.say)(instance)).flatten();
    let stays = before.filter(|before| {
        (before.health, before.since) == (health, Some(instance.since))
            && before.reason == reason
            && !before.message.is_empty()
            // Who mends a check reads what is wrong with it now.
            && said.is_none()
    });
    let message = match (problem, stays) {
        (Some(problem), _) if instance.reason == Reason::AddressDenied => problem.sentence.clone(),
        (_, Some(before)) => before.message.clone(),
        (_, None) => (findings.say)(instance).unwrap_or_else(|| sentence(instance.reason).to_owned()),
    };
    InstanceStatus {
        name: instance.name.to_string(),
        health,
        since: Some(instance.since),
        reason: reason.to_owned(),
        message: cut(&message),
        probe_hash: hash,
    }
}

/// Left out of the catalog: what cannot be read is unknown, what must not be reached counts as down.
fn unusable(
    findings: &Findings<'_>,
    listed: &ListedInstance,
    problem: &Problem,
    before: Option<&InstanceStatus>,
    hash: String,
) -> InstanceStatus {
    let health = match problem.kind {
        ProblemKind::Invalid => Health::Unknown,
        ProblemKind::AddressDenied => Health::Unhealthy,
    };
    let reason = problem.kind.as_str();
    let since = before.filter(|before| before.reason == reason).and_then(|before| before.since);
    InstanceStatus {
        name: listed.name.clone(),
        health: health.into(),
        since: Some(since.unwrap_or(findings.now)),
        reason: reason.to_owned(),
        message: cut(&problem.sentence),
        probe_hash: hash,
    }
}

/// Taken in, and not in the catalog yet.
fn waiting(
    findings: &Findings<'_>,
    listed: &ListedInstance,
    before: Option<&InstanceStatus>,
    hash: String,
) -> InstanceStatus {
    let unknown = || InstanceStatus {
        name: listed.name.clone(),
        health: HealthValue::Unknown,
        since: Some(findings.now),
        reason: Reason::Probing.as_str().to_owned(),
        message: sentence(Reason::Probing).to_owned(),
        probe_hash: hash,
    };
    before.cloned().unwrap_or_else(unknown)
}

fn cut(message: &str) -> String {
    // The cut is marked by one character more.
    text::escape(message, MAX_MESSAGE - 1).chars().take(MAX_MESSAGE).collect()
}
