//! From the catalog's verdicts to an object's status, without I/O.
//!
//! Nothing volatile is in it: no time of the last probe, no latency. So the status of a service that stays as it is comes out equal, and
//! is not written. Times and sentences of what did not change are taken from the status before.

mod conditions;
mod instances;
mod notices;
mod reason_text;
mod summary;
mod terminating;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub use notices::{Notice, elsewhere_notice, guard_notice, notices};
pub use reason_text::sentence;

use crate::model::service::{Instance, Service};
use crate::model::time::UnixMs;
use crate::operator::crd::{InstanceStatus, ServiceStatus, State};
use crate::operator::read::{ParsedService, Problem};
use conditions::Finding;
use summary::{Part, Summary};

/// The types of condition that Portolan keeps, in the order in which it writes them.
const TYPES: [&str; 4] = ["Accepted", "Ready", "Degraded", "Stalled"];

/// What a status is made of.
#[derive(Clone, Copy)]
pub struct Findings<'a> {
    /// The status that the object has.
    pub before: Option<&'a ServiceStatus>,
    /// The install that writes it.
    pub install: &'a str,
    /// The object's `metadata.generation`.
    pub generation: Option<i64>,
    /// What the object means.
    pub understood: &'a ParsedService,
    /// The service as the catalog has it; none while it is not taken in.
    pub service: Option<&'a Service>,
    /// The prober's sentence on an instance whose verdict is new; without one the reason speaks for itself.
    pub say: &'a dyn Fn(&Instance) -> Option<String>,
    /// The wall clock.
    pub now: UnixMs,
}

/// What a status says of the object as a whole, and of its instances.
struct Parts {
    state: State,
    reason: String,
    healthy: usize,
    conditions: [Finding; 4],
    instances: Vec<InstanceStatus>,
}

/// The status that the object should have.
pub fn of(findings: &Findings<'_>) -> ServiceStatus {
    let parts = if findings.understood.deleting { terminating::parts(findings) } else { parts(findings) };
    let Parts { state, reason, healthy, conditions, instances } = parts;
    let (before, generation, total) = (findings.before, findings.generation, instances.len());
    ServiceStatus {
        observed_generation: generation,
        install: Some(findings.install.to_owned()),
        ready: format!("{healthy}/{total}"),
        state: Some(state),
        since: Some(since(before, state, &instances, findings.now)),
        reason,
        healthy: count(healthy),
        total: count(total),
        conditions: conditions
            .into_iter()
            .map(|condition| condition.written(before, generation, findings.now))
            .collect(),
        instances,
    }
}

fn parts(findings: &Findings<'_>) -> Parts {
    let problems = &findings.understood.problems;
    let instances = instances::all(findings);
    let summary = Summary::of(&instances, problems, findings.understood.mirrored.is_some());
    Parts {
        state: summary.state(),
        reason: summary.reason(&instances, problems),
        healthy: summary.healthy,
        conditions: conditions::all(&summary, problems, &instances),
        instances,
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// When the state became what it is: kept while it stays, else the newest verdict where that is newer, else now (an edit did it).
fn since(before: Option<&ServiceStatus>, state: State, instances: &[InstanceStatus], now: UnixMs) -> UnixMs {
    let was = before.and_then(|before| before.since);
    if let Some(was) = was
        && before.is_some_and(|before| before.state == Some(state))
    {
        return was;
    }
    // Only those that make the state.
    let parts: &[Part] = match state {
        State::Unknown => &[Part::Unproved],
        State::NotChecked => &[Part::NotChecked],
        State::Terminating => &[],
        State::Healthy | State::Degraded | State::Down | State::Invalid => &[Part::Healthy, Part::Down],
    };
    let newest = instances.iter().filter(|instance| parts.contains(&Part::of(instance))).filter_map(|i| i.since).max();
    newest.filter(|at| *at <= now && was.is_none_or(|was| *at > was)).unwrap_or(now)
}

/// Whether `status` says what `wanted` does, so that writing `wanted` would change nothing. Conditions of other types are their
/// writers' own.
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

/// The problem of an instance.
fn problem_of<'a>(problems: &'a [Problem], instance: &str) -> Option<&'a Problem> {
    problems.iter().find(|problem| problem.instance.as_deref() == Some(instance))
}
