//! The targets that DNS records should have. Pure.
//!
//! For an endpoint without targets, external-dns deletes the record or asks the provider for one without addresses, which some refuse. Clients'
//! resolvers then remember for minutes that there is nothing. So the targets stay as they are while no instance is healthy, unless the object
//! asks for the opposite.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::find::{self, NotFound, Target};
use super::object::{Endpoint, Held, Records, TARGETS, WHEN_ALL_DOWN, host_name};
use crate::model::outcome::Health;
use crate::model::service::Instance;
use crate::model::text;
use crate::model::url::Host;
use crate::operator::status::listed;

/// Longest note, in characters.
const MAX_NOTE: usize = 512;

/// What becomes of an endpoint.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It is of a type that is left alone.
    Other,
    /// Its targets are right.
    Right,
    Written(Vec<String>),
    /// No instance is healthy, so they stay.
    Kept,
    /// No instance is healthy, so there are none.
    Emptied,
}

/// The operations of a JSON patch; none if the object is as it should be.
pub(super) fn patch(held: &Held, records: &Records, target: Target<'_>) -> Vec<Value> {
    let instances = match instances(held, target) {
        Ok(instances) => instances,
        // Nobody owns a service that is missing, and another install may word it in another way.
        Err((reason, _)) if matches!(target, Target::Missing) && has_reason(records, reason) => return Vec::new(),
        Err((reason, message)) => {
            return note(records, &format!("{reason}: {message}; the targets stay as they are")).into_iter().collect();
        }
    };
    let outcomes: Vec<Outcome> =
        records.endpoints.iter().map(|endpoint| outcome(endpoint, &instances, records.empties == Some(true))).collect();
    let mut operations = Vec::new();
    for (at, (endpoint, outcome)) in records.endpoints.iter().zip(&outcomes).enumerate() {
        let targets: &[String] = match outcome {
            Outcome::Written(targets) => targets,
            Outcome::Emptied if !endpoint.targets.is_empty() => &[],
            _ => continue,
        };
        operations.push(json!({ "op": "add", "path": format!("/spec/endpoints/{at}/targets"), "value": targets }));
    }
    operations.extend(note(records, &summary(records, &outcomes)));
    operations
}

/// The instances that the object stands for.
fn instances<'a>(held: &Held, target: Target<'a>) -> Result<Vec<&'a Instance>, NotFound> {
    let service = find::service(held, target)?;
    Ok(find::named(held, service)?.map_or_else(|| service.instances.iter().collect(), |instance| vec![instance]))
}

fn note(records: &Records, text: &str) -> Option<Value> {
    let text = text::escape(text, MAX_NOTE);
    let path = format!("/metadata/annotations/{}", TARGETS.replace('/', "~1"));
    (records.note.as_deref() != Some(&*text)).then(|| json!({ "op": "add", "path": path, "value": text }))
}

fn has_reason(records: &Records, reason: &str) -> bool {
    let noted = records.note.as_deref().and_then(|note| note.split_once(':'));
    noted.is_some_and(|(noted, _)| noted == reason)
}

/// Without counts and addresses, so that it seldom changes.
fn summary(records: &Records, outcomes: &[Outcome]) -> String {
    let of = |wanted: &Outcome| {
        let endpoints = records.endpoints.iter().zip(outcomes).filter(|(_, outcome)| *outcome == wanted);
        endpoints.map(|(endpoint, _)| format!("{} {}", endpoint.record_type, endpoint.name)).collect::<Vec<_>>()
    };
    let (kept, emptied) = (of(&Outcome::Kept), of(&Outcome::Emptied));
    let names = |all: &[String]| listed(all, Clone::clone, ", ");
    if records.empties.is_none() {
        return format!("InvalidAnnotation: {WHEN_ALL_DOWN} is Keep or Empty; until it is corrected, Keep applies");
    }
    if outcomes.iter().all(|outcome| *outcome == Outcome::Other) {
        return "NothingToWrite: there is no A, AAAA or CNAME endpoint".to_owned();
    }
    if !emptied.is_empty() {
        return format!("NoneHealthy: no instance is healthy for {}, so there are no targets", names(&emptied));
    }
    if !kept.is_empty() {
        return format!("KeptWhileDown: no instance is healthy for {}, so the targets stay as they are", names(&kept));
    }
    "Written: the targets are the healthy instances".to_owned()
}

fn outcome(endpoint: &Endpoint, instances: &[&Instance], empties: bool) -> Outcome {
    let Some(fits) = fitting(&endpoint.record_type) else { return Outcome::Other };
    let of = |is: &dyn Fn(&Instance) -> bool| -> BTreeSet<Name> {
        instances.iter().filter(|instance| is(instance)).filter_map(|instance| fits(instance)).collect()
    };
    let usable = of(&|instance| instance.health == Health::Healthy && !instance.is_drained());
    // Nothing new is known of these: a target that is listed stays, and others wait until they are proved.
    let unknown = of(&|i| i.health == Health::Unknown && !i.is_unchecked() && !i.is_drained());
    if usable.is_empty() {
        return if empties && unknown.is_empty() { Outcome::Emptied } else { Outcome::Kept };
    }
    let current: Vec<Name> = endpoint.targets.iter().map(|target| Name::read(target)).collect();
    let stay = current.iter().filter(|name| usable.contains(name) || unknown.contains(name));
    let wanted: BTreeSet<Name> = if endpoint.record_type == "CNAME" {
        // A name is an alias of one other.
        stay.chain(&usable).take(1).cloned().collect()
    } else {
        stay.chain(&usable).cloned().collect()
    };
    // As many as are wanted, and all of those: so none is there twice.
    let is_right = current.len() == wanted.len() && wanted.iter().all(|name| current.contains(name));
    if is_right { Outcome::Right } else { Outcome::Written(wanted.iter().map(Name::to_string).collect()) }
}

/// A target; addresses are ordered by their number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Ip(IpAddr),
    Host(String),
}

impl Name {
    fn read(target: &str) -> Self {
        target.parse().map_or_else(|_| Self::Host(host_name(target)), |ip: IpAddr| Self::Ip(ip.to_canonical()))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Host(name) => name.fmt(f),
        }
    }
}

/// The target that an instance makes in records of this type; none for a type that is left alone.
fn fitting(record_type: &str) -> Option<fn(&Instance) -> Option<Name>> {
    Some(match record_type {
        "A" => |instance| find::ip(instance).filter(IpAddr::is_ipv4).map(Name::Ip),
        "AAAA" => |instance| find::ip(instance).filter(IpAddr::is_ipv6).map(Name::Ip),
        "CNAME" => |instance| match instance.spec.base_url.host() {
            Host::Name(name) => Some(Name::Host(host_name(name))),
            Host::Ip(_) => None,
        },
        _ => return None,
    })
}
