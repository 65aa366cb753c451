//! Which instances of its service an annotated object stands for. Pure.

use std::net::IpAddr;

use super::object::{Address, Held, INSTANCE, Workload};
use crate::model::service::{Instance, Service};
use crate::model::url::Host;
use crate::operator::status::listed;

/// Why it stands for none: a word, and a sentence that says what to do.
pub(super) type NotFound = (&'static str, String);

/// What is known of the service that the object names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    Found(&'a Service),
    /// There is no object of that name.
    Missing,
    /// Nothing of its manifest can be used.
    Unusable,
}

/// The service that the object names.
pub(super) fn service<'a>(held: &Held, target: Target<'a>) -> Result<&'a Service, NotFound> {
    let key = held.service.as_ref().map_err(|why| ("InvalidAnnotation", why.clone()))?;
    match target {
        Target::Found(service) => Ok(service),
        Target::Missing => {
            let message =
                format!("there is no service {} in this namespace; apply it, or correct the annotation", key.name());
            Err(("ServiceNotFound", message))
        }
        Target::Unusable => {
            let message = format!("no instance of {} can be used as written; its own status says why", key.name());
            Err(("ServiceInvalid", message))
        }
    }
}

/// The instance that the object names; none if it names none.
pub(super) fn named<'a>(held: &Held, service: &'a Service) -> Result<Option<&'a Instance>, NotFound> {
    let Some(name) = &held.instance else { return Ok(None) };
    let name = name.as_ref().map_err(|why| ("InvalidAnnotation", why.clone()))?;
    match service.instance(name.as_str()) {
        Some(instance) => Ok(Some(instance)),
        None => {
            let message = format!(
                "{} has no instance {name}; add it, or correct the annotation {INSTANCE}. It has: {}",
                service.key.name(),
                listed(&service.instances, |instance| instance.name.to_string(), ", "),
            );
            Err(("InstanceNotFound", message))
        }
    }
}

/// The instances that a workload stands for, at least one: the one that it names, or else all at its addresses and, if it names ports, at
/// one of those.
pub(super) fn of_workload<'a>(
    held: &Held,
    workload: &Workload,
    service: &'a Service,
) -> Result<Vec<&'a Instance>, NotFound> {
    if let Some(instance) = named(held, service)? {
        return Ok(vec![instance]);
    }
    let here = |instance: &&Instance| workload.addresses.iter().any(|address| is_at(instance, address));
    let at_address: Vec<&Instance> = service.instances.iter().filter(here).collect();
    let at_port = |instance: &&Instance| workload.ports.contains(&instance.spec.base_url.port());
    let found: Vec<&Instance> =
        at_address.iter().copied().filter(|instance| workload.ports.is_empty() || at_port(instance)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let what = if at_address.is_empty() { "address" } else { "ports" };
    let message = format!(
        "no instance of {} has the {what} of this object; correct one of them, or name the instance with the annotation {INSTANCE}",
        service.key.name(),
    );
    Err(("InstanceNotFound", message))
}

fn is_at(instance: &Instance, address: &Address) -> bool {
    match (instance.spec.base_url.host(), address) {
        (Host::Ip(own), Address::Ip(ip)) => own.to_canonical() == *ip,
        (Host::Name(own), Address::Name(name)) => own.strip_suffix('.').unwrap_or(own) == name,
        _ => false,
    }
}

/// The address of an instance; none if it has a host name.
pub(super) fn ip(instance: &Instance) -> Option<IpAddr> {
    match instance.spec.base_url.host() {
        Host::Ip(ip) => Some(ip.to_canonical()),
        Host::Name(_) => None,
    }
}
