//! The four conditions that every object has: `Accepted`, `Ready`, `Degraded` and `Stalled`.
//!
//! | | Accepted | Ready | Degraded | Stalled |
//! |---|---|---|---|---|
//! | some pass, none is down | True `Accepted` | True `Healthy` | False `NoInstanceDown` | False `NotBlocked` |
//! | some can be used, some are down | | True `Healthy` | True `SomeInstancesDown` | |
//! | all are down | | False `AllInstancesDown` | True `AllInstancesDown` | |
//! | some are down, no other is proved | | False `SomeInstancesDown` | True `SomeInstancesDown` | |
//! | not proved yet, or no longer | | Unknown `Probing`, `Unproven` | Unknown, as Ready | |
//! | a check cannot run on this server | | Unknown `CheckCannotRun` | Unknown, as Ready | |
//! | no check | | True `NotChecked` | False `NoInstanceDown` | |
//! | all that could be used are drained | | False `Drained` | by the others | |
//! | it is being deleted | False `Terminating` | False `Terminating` | Unknown `Terminating` | False `Terminating` |
//! | some cannot be used | False `PartiallyInvalid` | by the others | True | True `PartiallyInvalid` |
//! | none can be used | False `Invalid` | False `Invalid` | Unknown `Invalid` | True `Invalid` |
//! | the address policy denies all | False `AddressDenied` | False `AddressDenied` | Unknown `AddressDenied` | True `AddressDenied` |

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::summary::{DRAINED, Part, Summary};
use crate::model::outcome::Reason;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::operator::crd::{InstanceStatus, ServiceStatus, State};
use crate::operator::read::{Problem, ProblemKind};

/// Longest message, in characters.
const MAX_MESSAGE: usize = 1024;
/// Why `Ready` is unknown if a check cannot run on this server.
pub(super) const CANNOT_RUN: &str = "CheckCannotRun";
/// Problems or instances that a message names.
const NAMED_ITEMS: usize = 3;

/// A condition without times.
pub(super) struct UntimedCondition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl UntimedCondition {
    pub(super) fn new(kind: &'static str, status: &'static str, reason: &'static str, message: String) -> Self {
        Self { kind, status, reason, message }
    }

    /// The condition with the time of its last change, from the old status if it did not change.
    pub(super) fn written(self, before: Option<&ServiceStatus>, generation: Option<i64>, now: UnixMs) -> Condition {
        let before = before.and_then(|before| before.conditions.iter().find(|c| c.type_ == self.kind));
        let kept = before.filter(|before| before.status == self.status);
        // The API stores whole seconds.
        let seconds = jiff::Timestamp::from_second(now.0.div_euclid(1000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Condition {
            type_: self.kind.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: text::escape(&self.message, MAX_MESSAGE - 1),
            observed_generation: generation,
            last_transition_time: kept.map_or(Time(seconds), |kept| kept.last_transition_time.clone()),
        }
    }
}

/// The conditions of an object that is not being deleted.
pub(super) fn derive(summary: &Summary, problems: &[Problem], instances: &[InstanceStatus]) -> [UntimedCondition; 4] {
    [
        accepted(summary, problems),
        ready(summary, problems, instances),
        degraded(summary, problems, instances),
        stalled(summary, problems),
    ]
}

fn accepted(summary: &Summary, problems: &[Problem]) -> UntimedCondition {
    let (status, reason, message) = match rejection_reason(summary, problems) {
        None => {
            ("True", "Accepted", format!("Portolan has accepted the service, with {}", instances_of(summary.total)))
        }
        Some(reason) => ("False", reason, problem_texts(problems)),
    };
    UntimedCondition { kind: "Accepted", status, reason, message }
}

fn stalled(summary: &Summary, problems: &[Problem]) -> UntimedCondition {
    let (status, reason, message) = match rejection_reason(summary, problems) {
        None => ("False", "NotBlocked", "nothing blocks it".to_owned()),
        Some(reason) => ("True", reason, format!("stalled until {}: {}", remedy(problems), problem_texts(problems))),
    };
    UntimedCondition { kind: "Stalled", status, reason, message }
}

/// What has to change. A denied address may be due to Portolan's settings and not to the spec.
fn remedy(problems: &[Problem]) -> &'static str {
    let has = |kind| problems.iter().any(|problem| problem.kind == kind);
    match (has(ProblemKind::Invalid), has(ProblemKind::AddressDenied)) {
        (false, true) => "the address, Portolan's settings or a NamespacePolicy changes",
        (true, true) => {
            "the spec is corrected, and the denied address, Portolan's settings or a NamespacePolicy changes"
        }
        _ => "the spec is corrected",
    }
}

/// Why the spec is refused, as a whole or in part; `None` if it is accepted.
fn rejection_reason(summary: &Summary, problems: &[Problem]) -> Option<&'static str> {
    let denied = !problems.is_empty() && problems.iter().all(|problem| problem.kind == ProblemKind::AddressDenied);
    match () {
        () if summary.invalid && denied => Some(ProblemKind::AddressDenied.as_str()),
        () if summary.invalid => Some("Invalid"),
        () if !problems.is_empty() => Some("PartiallyInvalid"),
        () => None,
    }
}

fn ready(summary: &Summary, problems: &[Problem], instances: &[InstanceStatus]) -> UntimedCondition {
    let (status, reason, message) = match summary.state() {
        // An object that is being deleted has conditions of its own.
        State::Invalid | State::Terminating => (
            "False",
            unusable_reason(summary, problems),
            format!("no instance can be used: {}", problem_texts(problems)),
        ),
        State::Healthy | State::Degraded | State::NotChecked if summary.all_drained() => {
            let why =
                "clients get no instance, because every instance that they could use is drained or has a weight of 0";
            ("False", DRAINED, format!("{why}; {}", health_message(summary, instances)))
        }
        State::NotChecked => {
            ("True", "NotChecked", "no instance has a check, so clients may use all of them".to_owned())
        }
        State::Down => ("False", down_reason(summary), health_message(summary, instances)),
        State::Unknown => unknown(summary, instances),
        State::Healthy | State::Degraded if summary.healthy == 0 => {
            let message =
                format!("clients may use the instances without a check; {}", health_message(summary, instances));
            ("True", "NotChecked", message)
        }
        State::Healthy | State::Degraded => ("True", "Healthy", health_message(summary, instances)),
    };
    UntimedCondition { kind: "Ready", status, reason, message }
}

fn unusable_reason(summary: &Summary, problems: &[Problem]) -> &'static str {
    rejection_reason(summary, problems).unwrap_or("Invalid")
}

fn degraded(summary: &Summary, problems: &[Problem], instances: &[InstanceStatus]) -> UntimedCondition {
    let each = || {
        let of: Vec<&InstanceStatus> = instances.iter().filter(|instance| Part::of(instance) == Part::Down).collect();
        listed(&of, |i| format!("{} is down ({}): {}", i.name, i.why(), i.message), "; ")
    };
    let (status, reason, message) = match summary.state() {
        State::Invalid | State::Terminating => {
            ("Unknown", unusable_reason(summary, problems), "no instance can be used".to_owned())
        }
        State::Down | State::Degraded => ("True", down_reason(summary), each()),
        State::Unknown => unknown(summary, instances),
        State::Healthy | State::NotChecked => ("False", "NoInstanceDown", "no instance is down".to_owned()),
    };
    UntimedCondition { kind: "Degraded", status, reason, message }
}

/// An instance that is not proved is not down.
fn down_reason(summary: &Summary) -> &'static str {
    if summary.down == summary.total { "AllInstancesDown" } else { "SomeInstancesDown" }
}

/// What a person has to fix comes first; else `Unproven` if a proof was lost, `Probing` while the first one is awaited.
fn unknown(summary: &Summary, instances: &[InstanceStatus]) -> (&'static str, &'static str, String) {
    let unproved: Vec<&InstanceStatus> = instances.iter().filter(|i| Part::of(i) == Part::Unproved).collect();
    let blocked: Vec<&InstanceStatus> = unproved.iter().copied().filter(|i| i.is_barred()).collect();
    if !blocked.is_empty() {
        let message = listed(&blocked, |i| format!("{} cannot be checked ({}): {}", i.name, i.why(), i.message), "; ");
        return ("Unknown", CANNOT_RUN, message);
    }
    let lost = unproved.iter().any(|i| i.reason != Reason::Probing.as_str());
    ("Unknown", if lost { "Unproven" } else { "Probing" }, health_message(summary, instances))
}

/// How many instances are healthy, and which are down, not proved, or drained.
fn health_message(summary: &Summary, instances: &[InstanceStatus]) -> String {
    let mut message = healthy_count(summary.healthy, summary.total);
    for (part, what) in [(Part::Down, "down"), (Part::Unproved, "not proved")] {
        let names = named(instances, part);
        if !names.is_empty() {
            message.push_str("; ");
            message.push_str(what);
            message.push_str(": ");
            message.push_str(&names);
        }
    }
    let drained: Vec<&InstanceStatus> = instances.iter().filter(|instance| instance.drained).collect();
    if !drained.is_empty() {
        message.push_str("; drained: ");
        message.push_str(&listed(&drained, |i| i.name.clone(), ", "));
    }
    message
}

/// The first instances of that kind, each with its reason.
fn named(instances: &[InstanceStatus], part: Part) -> String {
    let of: Vec<&InstanceStatus> = instances.iter().filter(|instance| Part::of(instance) == part).collect();
    listed(&of, |i| format!("{} ({})", i.name, i.why()), ", ")
}

fn problem_texts(problems: &[Problem]) -> String {
    listed(problems, ToString::to_string, "; ")
}

/// The first of them, and how many more there are.
pub(in crate::operator) fn listed<T>(all: &[T], text_of: impl Fn(&T) -> String, between: &str) -> String {
    let mut texts: Vec<String> = all.iter().take(NAMED_ITEMS).map(text_of).collect();
    if all.len() > NAMED_ITEMS {
        texts.push(format!("and {} more", all.len() - NAMED_ITEMS));
    }
    texts.join(between)
}

fn healthy_count(healthy: usize, total: usize) -> String {
    match (healthy, total) {
        (1, 1) => "the instance is healthy".to_owned(),
        (0, 1) => "the instance is not healthy".to_owned(),
        (0, _) => format!("none of {total} instances is healthy"),
        (1, _) => format!("1 of {total} instances is healthy"),
        _ => format!("{healthy} of {total} instances are healthy"),
    }
}

pub(super) fn instances_of(n: usize) -> String {
    if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") }
}
