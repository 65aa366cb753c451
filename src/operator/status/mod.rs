//! From the catalog's verdicts to an object's status, without I/O.
//!
//! In: an object, its service in the catalog, its old status. Out: its new status, and the events that the difference deserves.
//!
//! Nothing volatile is in a status: no time of the last probe, no latency. So the status of an unchanged service comes out equal, and is not
//! written. Times and sentences of what did not change are taken from the old status.
//!
//! 1. This file: the status as a whole. [`instances`]: its instances. [`summary`]: their counts and the state.
//! 2. [`conditions`]: the four conditions of every object. [`published`]: that of an object with endpoints. [`adopted`]: that of one
//!    that adopts them. [`governed`]: that of one in a namespace with policies. [`terminating`]: an object
//!    that is being deleted.
//! 3. [`reason_text`]: a reason in a sentence. [`mod@notices`]: the events.

mod adopted;
mod conditions;
mod governed;
mod instances;
mod notices;
mod published;
mod reason_text;
mod summary;
mod terminating;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub(in crate::operator) use conditions::listed;
pub use notices::{Notice, elsewhere_notice, guard_notice, notices};
pub use published::Publication;
pub use reason_text::sentence;

use crate::model::service::{Instance, Service};
use crate::model::time::UnixMs;
use crate::operator::crd::{InstanceStatus, ServiceStatus, State};
use crate::operator::read::{ParsedService, Problem};
use conditions::UntimedCondition;
use summary::{Part, Summary};

/// Portolan's types of condition, in the order in which it writes them.
const TYPES: [&str; 7] =
    ["Accepted", "Ready", "Degraded", "Stalled", published::PUBLISHED, adopted::ADOPTED, governed::POLICY_APPLIED];

/// What a status is made from.
#[derive(Clone, Copy)]
pub struct StatusInput<'a> {
    /// The old status.
    pub before: Option<&'a ServiceStatus>,
    /// The install that writes it.
    pub install: &'a str,
    /// The object's `metadata.generation`.
    pub generation: Option<i64>,
    /// The object in the model's terms.
    pub parsed: &'a ParsedService,
    /// The service in the catalog; none while it is not there.
    pub service: Option<&'a Service>,
    /// The prober's sentence on an instance with a new verdict; without it, the reason's sentence is used.
    pub message: &'a dyn Fn(&Instance) -> Option<String>,
    /// What became of its endpoints; none before the publisher has looked at it.
    pub publication: Option<&'a Publication>,
    /// The wall clock.
    pub now: UnixMs,
}

/// The status of the whole object, and those of its instances.
struct Parts {
    state: State,
    reason: String,
    healthy: usize,
    conditions: [UntimedCondition; 4],
    instances: Vec<InstanceStatus>,
}

/// The status that the object should have.
pub fn of(input: &StatusInput<'_>) -> ServiceStatus {
    let parts = match &input.parsed.adoption {
        _ if input.parsed.deleting => terminating::parts(input),
        Some(adoption) if input.parsed.is_empty() => adopted::nothing(adoption),
        _ => parts(input),
    };
    let Parts { state, reason, healthy, conditions, instances } = parts;
    let (before, generation, total) = (input.before, input.generation, instances.len());
    ServiceStatus {
        observed_generation: generation,
        install: Some(input.install.to_owned()),
        ready: format!("{healthy}/{total}"),
        state: Some(state),
        since: Some(since(before, state, &instances, input.now)),
        reason,
        healthy: count(healthy),
        total: count(total),
        conditions: (conditions.into_iter().map(|condition| condition.written(before, generation, input.now)))
            .chain(published::condition(input))
            .chain(adopted::condition(input))
            .chain(governed::condition(input))
            .collect(),
        instances,
    }
}

fn parts(input: &StatusInput<'_>) -> Parts {
    let problems = &input.parsed.problems;
    let instances = instances::all(input);
    let summary = Summary::of(&instances, problems, input.parsed.mirrored.is_some());
    Parts {
        state: summary.state(),
        reason: summary.reason(&instances, problems),
        healthy: summary.healthy,
        conditions: conditions::derive(&summary, problems, &instances),
        instances,
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Since when the state is what it is: unchanged if the state is, else the newest verdict if that is newer, else now (an edit changed it).
fn since(before: Option<&ServiceStatus>, state: State, instances: &[InstanceStatus], now: UnixMs) -> UnixMs {
    let was = before.and_then(|before| before.since);
    if let Some(was) = was
        && before.is_some_and(|before| before.state == Some(state))
    {
        return was;
    }
    // Only the instances that make the state.
    let parts: &[Part] = match state {
        State::Unknown => &[Part::Unproved],
        State::NotChecked => &[Part::NotChecked],
        State::Terminating => &[],
        State::Healthy | State::Degraded | State::Down | State::Invalid => &[Part::Healthy, Part::Down],
    };
    let newest = instances.iter().filter(|instance| parts.contains(&Part::of(instance))).filter_map(|i| i.since).max();
    newest.filter(|at| *at <= now && was.is_none_or(|was| *at > was)).unwrap_or(now)
}

/// Whether `status` equals `wanted`, so that writing it would change nothing. Conditions of other types belong to other writers.
pub fn same(status: &ServiceStatus, wanted: &ServiceStatus) -> bool {
    let plain =
        |status: &ServiceStatus| ServiceStatus { conditions: Vec::new(), instances: Vec::new(), ..status.clone() };
    plain(status) == plain(wanted)
        && own_conditions(status) == own_conditions(wanted)
        && by_name(&status.instances) == by_name(&wanted.instances)
}

fn own_conditions(status: &ServiceStatus) -> BTreeMap<&str, &Condition> {
    let own = status.conditions.iter().filter(|condition| TYPES.contains(&condition.type_.as_str()));
    own.map(|condition| (condition.type_.as_str(), condition)).collect()
}

fn by_name(instances: &[InstanceStatus]) -> BTreeMap<&str, &InstanceStatus> {
    instances.iter().map(|instance| (instance.name.as_str(), instance)).collect()
}

/// The first problem of an instance.
fn problem_of<'a>(problems: &'a [Problem], instance: &str) -> Option<&'a Problem> {
    problems.iter().find(|problem| problem.instance.as_deref() == Some(instance))
}
