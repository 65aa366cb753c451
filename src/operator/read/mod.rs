//! From an object to what the store takes, without I/O.
//!
//! In: an object, or what could be parsed of a malformed one. Out: a [`ParsedService`].
//!
//! The API server has validated the object, but perhaps against an older schema, and some rules are beyond a schema: which addresses may
//! be probed, what a URL's host is. So everything is validated again here. An instance that cannot be used is left out and the others are
//! served; each problem becomes a sentence in the object's status.
//!
//! 1. [`raw`]: an object as it arrives. [`object_id`]: its metadata.
//! 2. This file: an object as a whole. [`instance`]: its instances. [`fields`]: their fields. [`read_check`](crate::operator::crd::read_check):
//!    a check. [`drain`]: when a drain began and ended. [`verdict`]: what the leader found.
//!    [`mod@adopt`]: the instances that are endpoints of a core Service.
//!    [`mod@govern`]: what the policies of its namespace make of it.
//! 3. [`hash`]: a hash of what is probed.

mod adopt;
mod drain;
mod fields;
mod govern;
mod hash;
mod instance;
mod object_id;
pub(in crate::operator) mod raw;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};

pub use adopt::Adopting;
pub(in crate::operator) use adopt::adopt;
pub use govern::Governed;
pub(in crate::operator) use govern::govern;
pub use hash::probe_hash;
pub use object_id::ObjectId;

use crate::model::mirror::{Mirrored, MirroredInstance};
use crate::model::ports::AddressGate;
use crate::model::service::{Drain, MAX_INSTANCES_PER_SERVICE, Source};
use crate::model::text;
use crate::model::time::UnixMs;
use crate::operator::crd::{PublishSpec, ServiceResource, SourceValue};
use crate::operator::endpoints::Adoption;

/// An object from a watch or a list. One that does not fit our types keeps its metadata and the error.
pub type Lenient = DeserializeGuard<ServiceResource>;

/// Longest problem, in characters: one condition's message names several.
const MAX_PROBLEM: usize = 256;

/// An object in the model's terms.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedService {
    /// What the store takes; none if nothing of the object can be used, or if it is being deleted.
    pub mirrored: Option<Mirrored>,
    /// The first problem of each instance, and those of the whole; empty if there is none.
    pub problems: Vec<Problem>,
    /// Every instance of the object by name, whether used or not.
    pub instances: Vec<ListedInstance>,
    /// Whether it is being deleted (`deletionTimestamp`).
    pub deleting: bool,
    /// Its finalizers, if it is being deleted.
    pub finalizers: Vec<String>,
    /// Who keeps it.
    pub source: Source,
    /// Where its instances are published.
    pub publish: Option<PublishSpec>,
    /// What it adopts.
    pub from: Option<Arc<Adopting>>,
    /// What became of that; none while the endpoints are not known.
    pub adoption: Option<Adoption>,
    /// The policies of its namespace; none if there are none.
    pub governed: Option<Governed>,
}

impl ParsedService {
    /// Whether some of it cannot be used as written, so that its status says `Accepted=False`.
    pub fn is_rejected(&self) -> bool {
        !self.deleting && ((self.mirrored.is_none() && self.from.is_none()) || !self.problems.is_empty())
    }

    /// Whether the endpoints that it adopts are not known yet, so that nothing can be said about it.
    pub fn is_awaiting(&self) -> bool {
        self.from.is_some() && self.adoption.is_none() && !self.deleting
    }

    /// Why it has no instance that can be used, if it adopts endpoints. Without what the API server said, since anybody may read it.
    pub(in crate::operator) fn why_empty(&self) -> Option<String> {
        let (from, adoption) = (self.from.as_ref()?, self.adoption.as_ref()?);
        if self.mirrored.is_some() || self.deleting {
            return None;
        }
        let service = &from.from.service;
        Some(match (adoption.reason, self.problems.first()) {
            (reason @ ("Forbidden" | "Disabled"), _) => format!("this server does not adopt endpoints ({reason})"),
            (_, Some(problem)) => {
                format!("no endpoint of the core Service {service} may be used ({})", problem.kind.as_str())
            }
            (_, None) => adoption.message.clone(),
        })
    }

    /// Whether it adopts, and there is nothing to adopt now.
    pub fn is_empty(&self) -> bool {
        self.adoption.is_some() && self.instances.is_empty() && self.problems.is_empty()
    }
}

/// One instance of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInstance {
    /// Its name, escaped if it is not a valid one.
    pub name: String,
    /// The hash of what is probed; none if it cannot be read.
    pub probe_hash: Option<String>,
    /// Its drain as it is written; it may be over.
    pub drain: Option<Arc<Drain>>,
    /// Whether a weight of 0 drains it.
    pub weightless: bool,
}

impl ListedInstance {
    fn unreadable(name: String) -> Self {
        Self { name, probe_hash: None, drain: None, weightless: false }
    }
}

/// A problem of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The instance; none if it concerns the whole.
    pub instance: Option<String>,
    /// Its kind.
    pub kind: ProblemKind,
    /// What is wrong and what helps, in one sentence.
    pub sentence: String,
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// A field has an invalid value.
    Invalid,
    /// The address policy forbids the address.
    AddressDenied,
}

impl ProblemKind {
    /// The name in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::AddressDenied => "AddressDenied",
        }
    }
}

impl Problem {
    fn of_all(sentence: &str) -> Self {
        Self { instance: None, kind: ProblemKind::Invalid, sentence: text::escape(sentence, MAX_PROBLEM) }
    }

    fn of(instance: &str, kind: ProblemKind, sentence: &str) -> Self {
        Self { instance: Some(instance.to_owned()), kind, sentence: text::escape(sentence, MAX_PROBLEM) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.instance {
            Some(instance) => write!(f, "{instance}: {}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

/// Parses whatever came.
pub fn parse_any(object: &Lenient, addresses: &dyn AddressGate) -> ParsedService {
    match &object.0 {
        Ok(resource) => parse(resource, addresses),
        Err(invalid) => unreadable(invalid),
    }
}

/// Parses an object. `addresses` judges base and health URLs.
pub fn parse(resource: &ServiceResource, addresses: &dyn AddressGate) -> ParsedService {
    let source = match resource.spec.source {
        SourceValue::Manifest => Source::Manifest,
        SourceValue::Rest => Source::Rest,
    };
    let id = ObjectId::of(&resource.metadata);
    let written_at = id.as_ref().map_or(UnixMs(0), |id| id.updated_at);
    let read = instance::read_all(resource, source, written_at, addresses);
    let mut problems = read.problems;
    let id = id.map_err(|sentence| problems.insert(0, Problem::of_all(&sentence))).ok();
    let from = adopt::read(&resource.spec).unwrap_or_else(|sentence| {
        problems.push(Problem::of_all(&sentence));
        None
    });
    if resource.spec.instances.is_empty() && resource.spec.from.is_none() {
        problems.push(Problem::of_all("spec.instances is empty; name at least one, or a core Service in spec.from"));
    }
    let many = resource.spec.instances.len();
    if many > MAX_INSTANCES_PER_SERVICE {
        let sentence =
            format!("spec.instances holds {many}; at most {MAX_INSTANCES_PER_SERVICE} fit in a service, so make two");
        problems.push(Problem::of_all(&sentence));
    }
    let deleting = resource.metadata.deletion_timestamp.is_some();
    let mirrored = id
        .filter(|_| !deleting && (1..=MAX_INSTANCES_PER_SERVICE).contains(&read.usable.len()))
        .map(|id| mirror(id, source, read.usable));
    let finalizers = finalizers(&resource.metadata);
    let publish = resource.spec.publish.clone();
    ParsedService {
        mirrored,
        problems,
        instances: read.listed,
        deleting,
        finalizers,
        source,
        publish,
        from: from.map(Arc::new),
        adoption: None,
        governed: None,
    }
}

fn mirror(id: ObjectId, source: Source, instances: Vec<MirroredInstance>) -> Mirrored {
    Mirrored {
        key: id.key,
        id: id.id,
        source,
        registered_at: id.created_at,
        updated_at: id.updated_at,
        revision: id.revision,
        instances,
    }
}

/// The finalizers of an object that is being deleted; they do not matter otherwise.
fn finalizers(metadata: &ObjectMeta) -> Vec<String> {
    if metadata.deletion_timestamp.is_none() {
        return Vec::new();
    }
    metadata.finalizers.clone().unwrap_or_default()
}

/// An object that does not fit our types: it was stored under another schema, or by a newer version.
fn unreadable(invalid: &InvalidObject) -> ParsedService {
    let sentence = format!("the object cannot be read: {}; apply it again with a valid spec", invalid.error);
    ParsedService {
        mirrored: None,
        problems: vec![Problem::of_all(&sentence)],
        instances: Vec::new(),
        deleting: invalid.metadata.deletion_timestamp.is_some(),
        finalizers: finalizers(&invalid.metadata),
        source: Source::Manifest,
        publish: None,
        from: None,
        adoption: None,
        governed: None,
    }
}
