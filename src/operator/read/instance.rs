//! The instances of an object, each parsed on its own, so that a wrong one hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::hash::probe_hash;
use super::{ListedInstance, Problem, ProblemKind};
use crate::model::check::{Check, CheckKind, Plan};
use crate::model::mirror::{MirroredInstance, ReportedHealth};
use crate::model::name::InstanceName;
use crate::model::outcome::{Health, Reason};
use crate::model::ports::AddressGate;
use crate::model::service::{
    DEFAULT_WEIGHT, InstanceSpec, MAX_DESCRIPTION, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_VERSION,
    MAX_WEIGHT, MAX_ZONE, Owner, Source,
};
use crate::model::text;
use crate::model::time::UnixMs;
use crate::model::url::EndpointUrl;
use crate::operator::crd::{
    CheckSpec, InstanceEntry, InstanceStatus, OwnerEntry, ServiceResource, ServiceSpec, ServiceStatus, read_check,
};

/// Longest issuer or subject of an owner, in characters.
const MAX_OWNER: usize = 256;
/// Stands in for the default interval, which does not matter for whether a check fits.
const ANY_INTERVAL: Duration = Duration::from_secs(30);

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) usable: Vec<MirroredInstance>,
    pub(super) listed: Vec<ListedInstance>,
    pub(super) problems: Vec<Problem>,
}

/// Reads every instance of `resource`, in order of name.
pub(super) fn read_all(resource: &ServiceResource, source: Source, addresses: &dyn AddressGate) -> Read {
    let reader = Reader { spec: &resource.spec, source, addresses, reported: reported(resource.status.as_ref()) };
    let mut entries: Vec<&InstanceEntry> = resource.spec.instances.iter().collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut read = Read::default();
    let mut names = BTreeSet::new();
    for entry in entries {
        if names.insert(&entry.name) {
            reader.read(entry, &mut read);
        } else {
            let name = text::escape(&entry.name, MAX_ZONE);
            read.problems.push(Problem::of(&name, ProblemKind::Invalid, "the name is given twice; rename one"));
        }
    }
    read
}

fn reported(status: Option<&ServiceStatus>) -> BTreeMap<&str, &InstanceStatus> {
    status.iter().flat_map(|status| &status.instances).map(|of| (of.name.as_str(), of)).collect()
}

struct Reader<'a> {
    spec: &'a ServiceSpec,
    source: Source,
    addresses: &'a dyn AddressGate,
    reported: BTreeMap<&'a str, &'a InstanceStatus>,
}

impl Reader<'_> {
    fn read(&self, entry: &InstanceEntry, read: &mut Read) {
        let shown = text::escape(&entry.name, MAX_ZONE);
        let instance = match self.instance(entry) {
            Ok(instance) => instance,
            Err(sentence) => {
                read.problems.push(Problem::of(&shown, ProblemKind::Invalid, &in_manifest_words(&sentence)));
                return read.listed.push(ListedInstance { name: shown, probe_hash: None });
            }
        };
        let hash = probe_hash(&instance.spec);
        let judged = self.judge(&instance.spec);
        if let Some(denied) = &judged.denied {
            read.problems.push(Problem::of(&shown, ProblemKind::AddressDenied, denied));
        }
        if judged.serve {
            let reported = self.reported.get(entry.name.as_str()).filter(|reported| reported.probe_hash == hash);
            read.usable.push(MirroredInstance { reported: reported.map(|reported| read_status(reported)), ..instance });
        }
        read.listed.push(ListedInstance { name: shown, probe_hash: Some(hash) });
    }

    fn instance(&self, entry: &InstanceEntry) -> Result<MirroredInstance, String> {
        let name: InstanceName = entry.name.parse().map_err(|error| format!("name: {error}"))?;
        let spec = Arc::new(self.instance_spec(entry)?);
        spec.check.plan(&spec.base_url, spec.health_url.as_ref(), ANY_INTERVAL).map_err(|e| format!("check: {e}"))?;
        let (owner, generation) = match self.source {
            Source::Manifest => (Owner::Anonymous, None),
            Source::Rest => (read_owner(entry.owner.as_ref())?, generation(entry.generation)?),
        };
        Ok(MirroredInstance { name, spec, owner, generation, reported: None })
    }

    fn instance_spec(&self, entry: &InstanceEntry) -> Result<InstanceSpec, String> {
        let base_url = EndpointUrl::base(&entry.base_url).map_err(|error| format!("baseUrl: {error}"))?;
        let health_url = entry.health_url.as_deref().map(EndpointUrl::health).transpose();
        let health_url = health_url.map_err(|error| format!("healthUrl: {error}"))?;
        let check = self.check(entry, health_url.is_some()).map_err(|error| format!("check: {error}"))?;
        let version = self.inherited(entry.version.as_ref(), self.spec.version.as_ref());
        let description = self.inherited(entry.description.as_ref(), self.spec.description.as_ref());
        let metadata = self.inherited(entry.metadata.as_ref(), self.spec.metadata.as_ref());
        let zone = entry.zone.clone().unwrap_or_default();
        for (field, value, max) in [
            ("version", &version, MAX_VERSION),
            ("description", &description, MAX_DESCRIPTION),
            ("zone", &zone, MAX_ZONE),
        ] {
            text::accept(value, max).map_err(|error| format!("{field}: {error}"))?;
        }
        accept_metadata(&metadata)?;
        let weight = weight(entry.weight)?;
        Ok(InstanceSpec { base_url, health_url, check, version, description, metadata, weight, zone })
    }

    /// The instance's own value, else, in a manifest, the service's.
    fn inherited<T: Clone + Default>(&self, own: Option<&T>, service: Option<&T>) -> T {
        own.or(service.filter(|_| self.source == Source::Manifest)).cloned().unwrap_or_default()
    }

    /// The effective check. In a manifest, a check without a kind requests the health URL if there is one and otherwise connects by tcp; in a
    /// registration, it does nothing without a health URL.
    fn check(&self, entry: &InstanceEntry, has_health_url: bool) -> Result<Check, String> {
        let read = |spec: Option<&CheckSpec>| spec.map(read_check).transpose().map(Option::unwrap_or_default);
        if self.source == Source::Rest {
            return read(entry.check.as_ref());
        }
        let mut check = read(entry.check.as_ref().or(self.spec.check.as_ref()))?;
        match &mut check.kind {
            None if !has_health_url => check.kind = Some(CheckKind::Tcp),
            // The service's path is for instances without a health URL.
            Some(CheckKind::Http(http)) if has_health_url && entry.check.is_none() => http.path = None,
            _ => {}
        }
        Ok(check)
    }

    /// A denied address that is probed stays in: the prober fails it, with the reason. One that no probe would ever touch is left out, because
    /// nothing else would keep clients from finding it.
    fn judge(&self, spec: &InstanceSpec) -> Judged {
        let denied =
            |field: &str, url: &EndpointUrl| self.addresses.admit(url).err().map(|why| format!("{field}: {why}"));
        let base = denied("baseUrl", &spec.base_url);
        let health = spec.health_url.as_ref().and_then(|url| denied("healthUrl", url));
        let probed = matches!(spec.plan(ANY_INTERVAL), Plan::Probe(..));
        let fails = probed && (health.is_some() || spec.health_url.is_none());
        Judged { serve: base.is_none() || fails, denied: base.or(health) }
    }
}

struct Judged {
    serve: bool,
    denied: Option<String>,
}

fn weight(given: Option<i32>) -> Result<u16, String> {
    let Some(given) = given else { return Ok(DEFAULT_WEIGHT) };
    let weight = u16::try_from(given).ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| format!("weight: a whole number from 0 to {MAX_WEIGHT}; 0 drains the instance"))
}

fn generation(given: Option<i64>) -> Result<Option<u64>, String> {
    given.map(|n| u64::try_from(n).map_err(|_| "generation: a positive number".to_owned())).transpose()
}

fn read_owner(entry: Option<&OwnerEntry>) -> Result<Owner, String> {
    let Some(OwnerEntry { issuer, subject }) = entry else { return Ok(Owner::Anonymous) };
    text::accept(issuer, MAX_OWNER).map_err(|error| format!("owner.issuer: {error}"))?;
    text::accept(subject, MAX_OWNER).map_err(|error| format!("owner.subject: {error}"))?;
    Ok(Owner::Token { issuer: issuer.as_str().into(), subject: subject.as_str().into() })
}

fn accept_metadata(metadata: &BTreeMap<String, String>) -> Result<(), String> {
    if metadata.len() > MAX_METADATA {
        return Err(format!("metadata: at most {MAX_METADATA} entries"));
    }
    for (key, value) in metadata {
        let at = text::escape(key, MAX_METADATA_KEY);
        if key.is_empty() {
            return Err(format!("metadata: a key is 1 to {MAX_METADATA_KEY} characters; found an empty one"));
        }
        text::accept(key, MAX_METADATA_KEY).map_err(|error| format!("metadata.{at}: the key is {error}"))?;
        text::accept(value, MAX_METADATA_VALUE).map_err(|error| format!("metadata.{at}: {error}"))?;
    }
    Ok(())
}

/// A reason of a newer version is unknown here, but its health counts; the sentence says the rest.
fn read_status(status: &InstanceStatus) -> ReportedHealth {
    let health = Health::from(status.health);
    let unknown = if health == Health::Healthy { Reason::Passed } else { Reason::Unproven };
    ReportedHealth {
        health,
        reason: status.reason.parse().unwrap_or(unknown),
        since: status.since.unwrap_or(UnixMs(0)),
        message: status.message.clone(),
    }
}

/// The model uses the names of the REST API: `health_url` becomes `healthUrl`. Settings, in capitals, stay.
fn in_manifest_words(sentence: &str) -> String {
    let mut out = String::with_capacity(sentence.len());
    let mut rest = sentence.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('_', Some(next)) if next.is_ascii_lowercase() && out.ends_with(|c: char| c.is_ascii_lowercase()) => {
                out.extend(rest.next().map(|c| c.to_ascii_uppercase()));
            }
            _ => out.push(c),
        }
    }
    out
}
