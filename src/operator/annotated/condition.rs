//! The condition that a workload of a mesh should have. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::find::{self, Target};
use super::kind::Kind;
use super::object::{Held, Workload};
use crate::model::outcome::Health;
use crate::model::service::Instance;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::operator::status::{listed, sentence};

/// Longest message, in characters.
const MAX_MESSAGE: usize = 1024;
/// Added to the message of a WorkloadEntry whose condition Istio does not read.
const IGNORED: &str =
    "; Istio ignores this condition until the object has the annotation proxy.istio.io/health-checks-enabled: \"true\"";

/// What the condition says.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    healthy: bool,
    reason: &'static str,
    message: String,
    /// Nothing new is known: a condition that already says that the instances are healthy stays.
    stays: bool,
}

/// The type of the condition that the mesh reads.
fn condition_type(kind: Kind) -> &'static str {
    match kind {
        Kind::WorkloadEntry => "Healthy",
        Kind::ExternalWorkload | Kind::DnsEndpoint => "Ready",
    }
}

/// Whether it has a condition of this type, whoever wrote it.
pub(super) fn is_present(kind: Kind, workload: &Workload) -> bool {
    workload.conditions.iter().any(|condition| condition["type"] == condition_type(kind))
}

/// The operations of a JSON patch of its status; none if the condition is as it should be.
pub(super) fn patch(kind: Kind, held: &Held, workload: &Workload, target: Target<'_>, now: UnixMs) -> Vec<Value> {
    let found = find::service(held, target).and_then(|service| find::of_workload(held, workload, service));
    let verdict = match &found {
        Ok(instances) => verdict(instances),
        Err((reason, message)) => Verdict { healthy: false, reason, message: message.clone(), stays: false },
    };
    let suffix = if workload.is_ignored { IGNORED } else { "" };
    let own = |condition: &Value| condition["type"] == condition_type(kind);
    let before = workload.conditions.iter().find(|condition| own(condition));
    let is_only = workload.conditions.iter().filter(|condition| own(condition)).count() == 1;
    if let (true, Ok(instances), Some(before)) = (verdict.stays, &found, before)
        && is_only
        && says(before, &healthy(instances), suffix)
    {
        return Vec::new();
    }
    // Nobody owns a service that is missing, and another install may word it in another way.
    let is_said = |before: &Value| match target {
        Target::Missing => has_reason(before, &verdict),
        Target::Found(_) | Target::Unusable => says(before, &verdict, suffix),
    };
    if is_only && before.is_some_and(is_said) {
        return Vec::new();
    }
    let condition = written(kind, &verdict, suffix, before, now);
    // The list has no keys that the API server could merge by, so the conditions of others are sent again as they are.
    let (mut all, mut placed) = (Vec::new(), false);
    for other in &workload.conditions {
        if !own(other) {
            all.push(other.clone());
        } else if !std::mem::replace(&mut placed, true) {
            all.push(condition.clone());
        }
    }
    if !placed {
        all.push(condition);
    }
    if workload.has_status {
        vec![json!({ "op": "add", "path": "/status/conditions", "value": all })]
    } else {
        vec![json!({ "op": "add", "path": "/status", "value": { "conditions": all } })]
    }
}

/// Whether the condition says this already, whenever it was written.
fn says(condition: &Value, verdict: &Verdict, suffix: &str) -> bool {
    has_reason(condition, verdict) && condition["message"] == message(verdict, suffix)
}

fn has_reason(condition: &Value, verdict: &Verdict) -> bool {
    condition["status"] == status(verdict) && condition["reason"] == verdict.reason
}

fn status(verdict: &Verdict) -> &'static str {
    if verdict.healthy { "True" } else { "False" }
}

fn message(verdict: &Verdict, suffix: &str) -> String {
    text::escape(&format!("{}{suffix}", verdict.message), MAX_MESSAGE)
}

fn written(kind: Kind, verdict: &Verdict, suffix: &str, before: Option<&Value>, now: UnixMs) -> Value {
    let kept = before.filter(|before| before["status"] == status(verdict));
    let seconds = jiff::Timestamp::from_second(now.0.div_euclid(1000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let since = kept.map(|kept| kept["lastTransitionTime"].clone()).filter(Value::is_string);
    json!({
        "type": condition_type(kind),
        "status": status(verdict),
        "reason": verdict.reason,
        "message": message(verdict, suffix),
        "lastTransitionTime": since.unwrap_or_else(|| json!(Time(seconds))),
    })
}

/// Healthy while all of the instances are: traffic to the object may go to any of them.
fn verdict(instances: &[&Instance]) -> Verdict {
    let first = |is: &dyn Fn(&Instance) -> bool| instances.iter().find(|instance| is(instance));
    if let Some(drained) = first(&|instance| instance.is_drained()) {
        return not_healthy("Drained", format!("{} is drained", place(drained)));
    }
    if let Some(failing) = first(&|instance| instance.health == Health::Unhealthy) {
        let message = format!("{} is unhealthy: {}", place(failing), sentence(failing.reason));
        return not_healthy(failing.reason.as_str(), message);
    }
    if let Some(unknown) = first(&|instance| instance.health == Health::Unknown) {
        let message = format!("{} is not proved: {}", place(unknown), sentence(unknown.reason));
        let stays = !instances.iter().any(|instance| instance.is_unchecked());
        return Verdict { stays, ..not_healthy(unknown.reason.as_str(), message) };
    }
    healthy(instances)
}

fn not_healthy(reason: &'static str, message: String) -> Verdict {
    Verdict { healthy: false, reason, message, stays: false }
}

/// The address is part of the message, so that the verdict on an instance that moved is never taken for that on its new address.
fn healthy(instances: &[&Instance]) -> Verdict {
    let verb = if instances.len() == 1 { "is" } else { "are" };
    let message = format!("{} {verb} healthy", listed(instances, |instance| place(instance), ", "));
    Verdict { healthy: true, reason: "Healthy", message, stays: false }
}

fn place(instance: &Instance) -> String {
    let url = &instance.spec.base_url;
    match find::ip(instance) {
        Some(ip) => format!("{} at {}", instance.name, std::net::SocketAddr::new(ip, url.port())),
        None => format!("{} at {}", instance.name, url.redacted()),
    }
}
