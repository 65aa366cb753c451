//! `status.instances`: every instance of the object by name, including those that cannot be used.

use super::reason_text::sentence;
use super::{StatusInput, problem_of};
use crate::model::outcome::{Health, Reason};
use crate::model::service::{Instance, Warning};
use crate::model::text;
use crate::model::time::UnixMs;
use crate::operator::crd::{HealthValue, InstanceStatus, WarningStatus};
use crate::operator::read::{ListedInstance, Problem, ProblemKind};

/// Longest message, in characters.
const MAX_MESSAGE: usize = 256;

pub(super) fn all(input: &StatusInput<'_>) -> Vec<InstanceStatus> {
    input.parsed.instances.iter().map(|listed| one(input, listed)).collect()
}

fn one(input: &StatusInput<'_>, listed: &ListedInstance) -> InstanceStatus {
    let written = input.before.and_then(|status| status.instances.iter().find(|instance| instance.name == listed.name));
    let hash = listed.probe_hash.clone().unwrap_or_default();
    let before = written.filter(|before| before.probe_hash == hash);
    let probed = input.service.and_then(|service| service.instance(&listed.name));
    let problem = problem_of(&input.parsed.problems, &listed.name);
    let status = match (probed, problem) {
        (Some(instance), _) => verdict(input, instance, problem, before, hash),
        (None, Some(problem)) => unusable(input, listed, problem, before, hash),
        (None, None) => waiting(input, listed, before, hash),
    };
    drained(status, listed, written, input.now)
}

/// The status with what is true of its drain. One that is over stays so, whatever the clock of a later leader says.
fn drained(
    status: InstanceStatus,
    listed: &ListedInstance,
    before: Option<&InstanceStatus>,
    now: UnixMs,
) -> InstanceStatus {
    let drain = listed.drain.as_ref();
    let ends = drain.and_then(|drain| drain.until);
    let was_over = ends.is_some() && before.is_some_and(|before| before.drain_over == ends);
    let drain_over = ends.filter(|until| was_over || *until <= now);
    let drained_since = drain.filter(|_| drain_over.is_none()).map(|drain| drain.since);
    InstanceStatus { drained: drained_since.is_some() || listed.weightless, drained_since, drain_over, ..status }
}

/// An instance that is in the catalog.
fn verdict(
    input: &StatusInput<'_>,
    instance: &Instance,
    problem: Option<&Problem>,
    before: Option<&InstanceStatus>,
    hash: String,
) -> InstanceStatus {
    let health = HealthValue::from(instance.health);
    let reason = instance.reason.as_str();
    let message_now = instance.reason.bars_check().then(|| (input.message)(instance)).flatten();
    let decided_by = if instance.decided_by.is_default() { String::new() } else { instance.decided_by.to_string() };
    let stays = before.filter(|before| {
        (before.health, before.since) == (health, Some(instance.since))
            && (before.reason.as_str(), &before.decided_by) == (reason, &decided_by)
            && !before.message.is_empty()
            // Whoever fixes a check reads what is wrong with it now.
            && message_now.is_none()
    });
    let message = match (problem, stays) {
        (Some(problem), _) if instance.reason == Reason::AddressDenied => problem.sentence.clone(),
        (_, Some(before)) => before.message.clone(),
        (_, None) => (input.message)(instance).unwrap_or_else(|| sentence(instance.reason).to_owned()),
    };
    InstanceStatus {
        name: instance.name.to_string(),
        health,
        since: Some(instance.since),
        reason: reason.to_owned(),
        message: cut(&message),
        decided_by,
        warning: instance.warning.as_deref().map(warning_status),
        also_failing: instance.also_failing.iter().map(ToString::to_string).collect(),
        acknowledgement: instance.acknowledged.as_deref().map(Into::into),
        observed_version: instance.observed_version.as_deref().unwrap_or_default().to_owned(),
        probe_hash: hash,
        ..InstanceStatus::default()
    }
}

fn warning_status(warning: &Warning) -> WarningStatus {
    let Warning { check, reason, message } = warning;
    WarningStatus { check: check.to_string(), reason: reason.as_str().to_owned(), message: cut(message) }
}

/// An instance that was left out of the catalog: unknown if it cannot be read, down if its address is denied.
fn unusable(
    input: &StatusInput<'_>,
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
        since: Some(since.unwrap_or(input.now)),
        reason: reason.to_owned(),
        message: cut(&problem.sentence),
        probe_hash: hash,
        ..InstanceStatus::default()
    }
}

/// An instance that is not in the catalog yet.
fn waiting(
    input: &StatusInput<'_>,
    listed: &ListedInstance,
    before: Option<&InstanceStatus>,
    hash: String,
) -> InstanceStatus {
    let unknown = || InstanceStatus {
        name: listed.name.clone(),
        health: HealthValue::Unknown,
        since: Some(input.now),
        reason: Reason::Probing.as_str().to_owned(),
        message: sentence(Reason::Probing).to_owned(),
        probe_hash: hash,
        ..InstanceStatus::default()
    };
    before.cloned().unwrap_or_else(unknown)
}

fn cut(message: &str) -> String {
    // The mark of the cut takes one more character.
    text::escape(message, MAX_MESSAGE - 1).chars().take(MAX_MESSAGE).collect()
}
