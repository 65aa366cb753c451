//! Which events a change of status deserves: only transitions, and few of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{CANNOT_RUN, instances_of};
use super::summary::DRAINED;
use super::terminating::TERMINATING;
use crate::model::outcome::Reason;
use crate::operator::crd::{HealthValue, InstanceStatus, ServiceStatus, State};

/// Instances that get an event each; the others of one change share one.
const EACH: usize = 4;

/// An event to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What Portolan did: `Probe`, `Accept`, `Drain` or `Guard`.
    pub action: &'static str,
    /// What resulted, in one CamelCase word.
    pub reason: &'static str,
    /// A sentence for people.
    pub note: String,
    /// Whether somebody should act.
    pub is_warning: bool,
    /// The instance that it concerns; none for the whole object.
    pub instance: Option<String>,
}

/// The events for the change from `before` to `now`, the most important first.
pub fn notices(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Vec<Notice> {
    let mut notices: Vec<Notice> = accepted(before, now).into_iter().chain(state(before, now)).collect();
    notices.extend(drained_service(before, now));
    notices.extend(instances(before, now));
    notices.extend(warnings(before, now));
    notices.extend(drains(before, now));
    notices
}

/// The event about the mass-failure guard.
pub fn guard_notice(holds: bool) -> Notice {
    let (reason, note) = if holds {
        (
            "GuardHolding",
            "more than half of the probes fail at once, perhaps because of Portolan's own network: their verdicts wait while it probes \
             other targets; check this pod's network and DNS",
        )
    } else {
        ("GuardReleased", "the guard has judged the mass failure, and health follows the probes again")
    };
    Notice { action: "Guard", reason, note: note.to_owned(), is_warning: holds, instance: None }
}

/// The event for an object whose status is written by the install with that Lease.
pub fn elsewhere_notice(install: &str) -> Notice {
    let note = format!(
        "another install of Portolan, whose leader holds the Lease {install}, writes its status; the namespaces that the two watch overlap: \
         let only one of them watch this one"
    );
    Notice { action: "Accept", reason: "OtherInstall", note, is_warning: true, instance: None }
}

fn accepted(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Option<Notice> {
    let find = |status: &ServiceStatus| condition(status, "Accepted").cloned();
    let (was, is) = (before.and_then(find), find(now)?);
    let notice = |reason, note, is_warning| Some(Notice { action: "Accept", reason, note, is_warning, instance: None });
    match (was, is.status == "True") {
        (Some(was), true) if was.status == "False" => {
            let total = usize::try_from(now.total).unwrap_or(0);
            notice("Accepted", format!("Portolan accepts the service again, with {}", instances_of(total)), false)
        }
        (Some(was), false) if was.status == "False" && was.message == is.message => None,
        (was, false) if is.reason == TERMINATING => {
            let is_news = was.is_none_or(|was| was.reason != TERMINATING);
            is_news.then(|| notice(TERMINATING, is.message, false)).flatten()
        }
        (_, false) => notice(refused(&is.reason), is.message, true),
        (_, true) => None,
    }
}

fn refused(reason: &str) -> &'static str {
    match reason {
        "Invalid" => "Invalid",
        "AddressDenied" => "AddressDenied",
        _ => "PartiallyInvalid",
    }
}

fn state(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Option<Notice> {
    let (was, is) = (before.and_then(|before| before.state), now.state?);
    let ready = condition(now, "Ready")?;
    let why = |status: &ServiceStatus| condition(status, "Ready").map(|ready| ready.reason.clone());
    if is == State::Unknown && ready.reason == CANNOT_RUN {
        let is_news = before.and_then(why).as_deref() != Some(CANNOT_RUN);
        let notice = |note| Notice { action: "Probe", reason: CANNOT_RUN, note, is_warning: true, instance: None };
        return is_news.then(|| notice(ready.message.clone()));
    }
    if was == Some(is) {
        return None;
    }
    let is_warning = match is {
        State::Down | State::Degraded => true,
        // An edit makes it unknown too, until the next probe.
        State::Unknown if ready.reason == "Unproven" && matches!(was, Some(State::Healthy | State::Degraded)) => true,
        State::Healthy => false,
        // Nobody waits for these, and invalid or deleted objects have an event already.
        State::Unknown | State::NotChecked | State::Invalid | State::Terminating => return None,
    };
    let mut note = ready.message.clone();
    if let [only] = &now.instances[..] {
        note = format!("{note}: {}", only.message);
    }
    Some(Notice { action: "Probe", reason: is.as_str(), note, is_warning, instance: None })
}

/// That clients get no instance any more, or get some again, only because of drains.
fn drained_service(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Option<Notice> {
    let of = |status: &ServiceStatus| condition(status, "Ready").is_some_and(|ready| ready.reason == DRAINED);
    let (was, is) = (before.is_some_and(of), of(now));
    let note = condition(now, "Ready")?.message.clone();
    let reason = if is { DRAINED } else { "Undrained" };
    (was != is).then_some(Notice { action: "Drain", reason, note, is_warning: is, instance: None })
}

fn condition<'a>(status: &'a ServiceStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Instances that became unhealthy, and those that recovered. A single instance's change is the service's.
fn instances(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Vec<Notice> {
    let Some(before) = before.filter(|_| now.instances.len() > 1) else { return Vec::new() };
    let was =
        |name: &str| before.instances.iter().find(|instance| instance.name == name).map(|instance| instance.health);
    let probed = now.instances.iter().filter(|instance| instance.reason.parse::<Reason>().is_ok());
    let (mut fell, mut rose) = (Vec::new(), Vec::new());
    for instance in probed {
        match (was(&instance.name), instance.health) {
            (Some(HealthValue::Unhealthy), HealthValue::Healthy) => rose.push(instance),
            (was, HealthValue::Unhealthy) if was != Some(HealthValue::Unhealthy) => fell.push(instance),
            _ => {}
        }
    }
    let why = |i: &InstanceStatus| format!(" ({}): {}", i.why(), i.message);
    let down = Change {
        action: "Probe",
        reason: "InstanceUnhealthy",
        is_warning: true,
        words: ["is unhealthy", "are unhealthy"],
    };
    let up = Change {
        reason: "InstanceHealthy",
        is_warning: false,
        words: ["is healthy again", "are healthy again"],
        ..down
    };
    let mut notices = down.notices(&fell, why);
    notices.extend(up.notices(&rose, why));
    notices
}

/// Instances that clients may use, with something that does not pass.
fn warnings(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Vec<Notice> {
    let key = |i: &InstanceStatus| i.warning.as_ref().map(|warning| (warning.check.clone(), warning.reason.clone()));
    let was = |name: &str| before.and_then(|before| before.instances.iter().find(|i| i.name == name)).and_then(key);
    let news = |i: &&InstanceStatus| i.warning.is_some() && was(&i.name) != key(i);
    let warned: Vec<&InstanceStatus> = now.instances.iter().filter(news).collect();
    let change = Change {
        action: "Probe",
        reason: "InstanceWarning",
        is_warning: true,
        words: ["has a warning", "have a warning"],
    };
    change.notices(&warned, |i| {
        let said = i.warning.as_ref().map(|w| format!(" (check {}: {}): {}", w.check, w.reason, w.message));
        said.unwrap_or_default()
    })
}

/// Instances that left selection on purpose, and those that are back.
fn drains(before: Option<&ServiceStatus>, now: &ServiceStatus) -> Vec<Notice> {
    let Some(before) = before else { return Vec::new() };
    let was = |name: &str| before.instances.iter().find(|i| i.name == name).map(|i| i.drained);
    let that = |is: bool| -> Vec<&InstanceStatus> {
        now.instances.iter().filter(|i| i.drained == is && was(&i.name) == Some(!is)).collect()
    };
    let leaves =
        Change { action: "Drain", reason: "InstanceDrained", is_warning: false, words: ["is drained", "are drained"] };
    let returns =
        Change { reason: "InstanceUndrained", words: ["is no longer drained", "are no longer drained"], ..leaves };
    let mut notices = leaves.notices(&that(true), |_| ": clients no longer get it".to_owned());
    notices.extend(returns.notices(&that(false), |_| String::new()));
    notices
}

/// A change that several instances may share.
#[derive(Clone, Copy)]
struct Change {
    action: &'static str,
    reason: &'static str,
    is_warning: bool,
    /// What is so now of one instance, and of several.
    words: [&'static str; 2],
}

impl Change {
    /// An event for each of the first instances, and one for the others together.
    fn notices(self, changed: &[&InstanceStatus], why: impl Fn(&InstanceStatus) -> String) -> Vec<Notice> {
        let Self { action, reason, is_warning, words: [is, are] } = self;
        let (own, rest) = changed.split_at(changed.len().min(EACH));
        let notice = |note, instance| Notice { action, reason, note, is_warning, instance };
        let one = |i: &&InstanceStatus| notice(format!("instance {} {is}{}", i.name, why(i)), Some(i.name.clone()));
        let mut notices: Vec<Notice> = own.iter().map(one).collect();
        match rest.len() {
            0 => {}
            1 => notices.push(notice(format!("1 more instance {is}"), None)),
            count => notices.push(notice(format!("{count} more instances {are}"), None)),
        }
        notices
    }
}
