//! From an object to what the store takes, without I/O.
//!
//! The API server has checked the object against the schema, but perhaps an older one, and some rules are beyond it: which
//! addresses may be probed, what a URL's host is. So everything is judged again here. An instance that cannot be used is left out,
//! and the others are served; each problem becomes a sentence in the object's status.

mod hash;
mod instance;
mod object_id;
pub(in crate::operator) mod raw;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};

pub use hash::probe_hash;
pub use object_id::ObjectId;

use crate::model::mirror::{Mirrored, MirroredInstance};
use crate::model::ports::AddressGate;
use crate::model::service::{MAX_INSTANCES_PER_SERVICE, Source};
use crate::model::text;
use crate::operator::crd::{ServiceResource, SourceValue};

/// An object as it comes from a watch or a list: one that does not fit the types keeps its metadata and says why.
pub type Lenient = DeserializeGuard<ServiceResource>;

/// Longest problem, in characters: one condition's message names several.
const MAX_PROBLEM: usize = 256;

/// What an object means.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedService {
    /// What the store takes; none where nothing of it can be used, or where it is being deleted.
    pub mirrored: Option<Mirrored>,
    /// What is wrong, each instance's first problem; empty when all is well.
    pub problems: Vec<Problem>,
    /// Every instance of the object by name, used or not.
    pub instances: Vec<ListedInstance>,
    /// Whether it is being deleted (`deletionTimestamp`).
    pub deleting: bool,
    /// What holds it then.
    pub finalizers: Vec<String>,
    /// Who keeps it.
    pub source: Source,
}

impl ParsedService {
    /// Whether something of it cannot be used as written: its status says `Accepted=False`.
    pub fn is_rejected(&self) -> bool {
        !self.deleting && (self.mirrored.is_none() || !self.problems.is_empty())
    }
}

/// One instance of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInstance {
    /// Its name, escaped where it is no name.
    pub name: String,
    /// The hash of what is probed; none where that cannot be told.
    pub probe_hash: Option<String>,
}

/// Something wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The instance; none where it concerns the whole.
    pub instance: Option<String>,
    /// What kind.
    pub kind: ProblemKind,
    /// What is wrong and what to do, in one sentence.
    pub sentence: String,
}

/// What kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// A field holds what it may not.
    Invalid,
    /// The address policy forbids the address.
    AddressDenied,
}

impl ProblemKind {
    /// The word in status.
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

/// Reads whatever came.
pub fn parse_any(object: &Lenient, addresses: &dyn AddressGate) -> ParsedService {
    match &object.0 {
        Ok(resource) => parse(resource, addresses),
        Err(invalid) => unreadable(invalid),
    }
}

/// Reads an object. `addresses` judges base and health URLs.
pub fn parse(resource: &ServiceResource, addresses: &dyn AddressGate) -> ParsedService {
    let source = match resource.spec.source {
        SourceValue::Manifest => Source::Manifest,
        SourceValue::Rest => Source::Rest,
    };
    let read = instance::read_all(resource, source, addresses);
    let mut problems = read.problems;
    let place =
        ObjectId::of(&resource.metadata).map_err(|sentence| problems.insert(0, Problem::of_all(&sentence))).ok();
    if resource.spec.instances.is_empty() {
        problems.push(Problem::of_all("spec.instances is empty; name at least one"));
    }
    let many = resource.spec.instances.len();
    if many > MAX_INSTANCES_PER_SERVICE {
        let sentence =
            format!("spec.instances holds {many}; at most {MAX_INSTANCES_PER_SERVICE} fit in a service, so make two");
        problems.push(Problem::of_all(&sentence));
    }
    let deleting = resource.metadata.deletion_timestamp.is_some();
    let mirrored = place
        .filter(|_| !deleting && (1..=MAX_INSTANCES_PER_SERVICE).contains(&read.usable.len()))
        .map(|place| mirror(place, source, read.usable));
    let finalizers = finalizers(&resource.metadata);
    ParsedService { mirrored, problems, instances: read.listed, deleting, finalizers, source }
}

fn mirror(place: ObjectId, source: Source, instances: Vec<MirroredInstance>) -> Mirrored {
    Mirrored {
        key: place.key,
        id: place.id,
        source,
        registered_at: place.created_at,
        updated_at: place.updated_at,
        revision: place.revision,
        instances,
    }
}

/// The finalizers of an object that is being deleted; nobody asks for others.
fn finalizers(metadata: &ObjectMeta) -> Vec<String> {
    if metadata.deletion_timestamp.is_none() {
        return Vec::new();
    }
    metadata.finalizers.clone().unwrap_or_default()
}

/// An object that does not fit the types: stored under another schema, or by a newer version.
fn unreadable(invalid: &InvalidObject) -> ParsedService {
    let sentence = format!("the object cannot be read: {}; apply it again with a valid spec", invalid.error);
    ParsedService {
        mirrored: None,
        problems: vec![Problem::of_all(&sentence)],
        instances: Vec::new(),
        deleting: invalid.metadata.deletion_timestamp.is_some(),
        finalizers: finalizers(&invalid.metadata),
        source: Source::Manifest,
    }
}
