//! Hints of answers that found nothing: where else a service is, as far as the caller may know.

use std::collections::BTreeSet;

use crate::api::access::{NamespaceFilter, Principal};
use crate::catalog::{Entry, Snapshot};
use crate::model::name::suggest;

/// Most namespaces that a hint names.
const MAX_NAMED: usize = 5;

/// Namespaces that have a service of that name, or a name close to it in this one.
pub(super) fn other_namespaces(
    snapshot: &Snapshot,
    principal: &Principal,
    namespace: &str,
    name: &str,
) -> Option<String> {
    let readable = snapshot.namespaces_of(name).filter(|ns| *ns != namespace && principal.may_read(ns));
    let mut others: Vec<&str> = readable.take(MAX_NAMED + 1).collect();
    if others.is_empty() {
        let close = suggest(name).filter(|close| close != name && principal.may_read(namespace))?;
        return snapshot.find(namespace, &close).map(|_| format!("did you mean {close}?"));
    }
    let more = if others.len() > MAX_NAMED { " and more" } else { "" };
    others.truncate(MAX_NAMED);
    let first = others[0];
    Some(format!("none in namespace {namespace}, but in {}{more}: add namespace={first}", others.join(", ")))
}

/// How many services an empty list could have shown in other namespaces.
pub(super) fn matches_elsewhere(
    snapshot: &Snapshot,
    principal: &Principal,
    namespaces: &NamespaceFilter,
    matches: impl Fn(&Entry) -> bool,
) -> Option<String> {
    let NamespaceFilter::One(here) = namespaces else { return None };
    let mut services = 0_usize;
    let mut others = BTreeSet::new();
    for entry in snapshot.newest_first(None) {
        let namespace = entry.service().key.namespace();
        if namespace != here.as_str() && principal.may_read(namespace) && matches(entry) {
            services += 1;
            others.insert(namespace);
        }
    }
    match (others.first(), others.len()) {
        (None, _) => None,
        (Some(one), 1) => Some(format!("none in namespace {here}; {services} in {one}: add namespace={one}")),
        (_, n) => Some(format!("none in namespace {here}; {services} in {n} other namespaces: add namespace=*")),
    }
}
