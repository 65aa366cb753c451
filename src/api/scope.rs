//! Which namespaces a request means, and what may be said of the others.

use super::access::Principal;
use super::envelope::ApiError;
use super::query::{Query, bad_parameter};
use crate::catalog::{Entry, Snapshot};
use crate::model::name::{NameError, Namespace, suggest};

/// Most namespaces that a hint names.
const MAX_NAMED: usize = 5;

/// The namespaces of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// `namespace=*`: all that the caller may see.
    All,
    /// One.
    One(Namespace),
}

impl Reach {
    /// Takes `namespace` from the query.
    ///
    /// # Errors
    /// 400 when it is no name.
    pub(super) fn take(query: &mut Query<'_>, default: &Namespace) -> Result<Self, ApiError> {
        match query.take("namespace") {
            None => Ok(Self::One(default.clone())),
            Some(text) if text == "*" => Ok(Self::All),
            Some(text) => Ok(Self::One(named(&text)?)),
        }
    }

    /// Takes `namespace` where exactly one is meant.
    ///
    /// # Errors
    /// 400 when it is no name.
    pub(super) fn take_one(query: &mut Query<'_>, default: &Namespace) -> Result<Namespace, ApiError> {
        query.take("namespace").map_or_else(|| Ok(default.clone()), |text| named(&text))
    }

    /// Whether it covers `namespace`, for this caller.
    pub(super) fn covers(&self, who: &Principal, namespace: &str) -> bool {
        let meant = match self {
            Self::All => true,
            Self::One(one) => one.as_str() == namespace,
        };
        meant && who.may_read(namespace)
    }
}

fn named(text: &str) -> Result<Namespace, ApiError> {
    text.parse().map_err(|error: NameError| bad_parameter("namespace", error))
}

/// Where else a service of that name is, as far as the caller may know.
pub(super) fn other_places(snapshot: &Snapshot, who: &Principal, namespace: &str, name: &str) -> Option<String> {
    let seen = snapshot.namespaces_of(name).filter(|ns| *ns != namespace && who.may_read(ns));
    let mut places: Vec<&str> = seen.take(MAX_NAMED + 1).collect();
    if places.is_empty() {
        let close = suggest(name).filter(|close| close != name && who.may_read(namespace))?;
        return snapshot.find(namespace, &close).map(|_| format!("did you mean {close}?"));
    }
    let more = if places.len() > MAX_NAMED { " and more" } else { "" };
    places.truncate(MAX_NAMED);
    let first = places[0];
    Some(format!("none in namespace {namespace}, but in {}{more}: add namespace={first}", places.join(", ")))
}

/// How many services an empty list could have shown in other namespaces, as far as the caller may know.
pub(super) fn elsewhere(
    snapshot: &Snapshot,
    who: &Principal,
    reach: &Reach,
    wanted: impl Fn(&Entry) -> bool,
) -> Option<String> {
    let Reach::One(here) = reach else { return None };
    let mut services = 0_usize;
    let mut places = std::collections::BTreeSet::new();
    for entry in snapshot.newest_first(None) {
        let namespace = entry.service().key.namespace();
        if namespace != here.as_str() && who.may_read(namespace) && wanted(entry) {
            services += 1;
            places.insert(namespace);
        }
    }
    match (places.first(), places.len()) {
        (None, _) => None,
        (Some(one), 1) => Some(format!("none in namespace {here}; {services} in {one}: add namespace={one}")),
        (_, n) => Some(format!("none in namespace {here}; {services} in {n} other namespaces: add namespace=*")),
    }
}
