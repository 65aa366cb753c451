//! The instances of an object, each parsed on its own, so that a wrong one hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::hash::probe_hash;
use super::{ListedInstance, Problem, ProblemKind, drain, fields, verdict};
use crate::model::check::{AnyCheck, Check, CheckKind, NamedCheck, Plan};
use crate::model::mirror::MirroredInstance;
use crate::model::name::InstanceName;
use crate::model::ports::AddressGate;
use crate::model::service::{Drain, InstanceSpec, MAX_ZONE, Owner, Source};
use crate::model::text;
use crate::model::time::UnixMs;
use crate::model::url::EndpointUrl;
use crate::operator::crd::{
    CheckSpec, InstanceEntry, InstanceStatus, ServiceResource, ServiceSpec, ServiceStatus, read_check, read_checks,
};

/// Stands in for the default interval, which does not matter for whether a check fits.
const ANY_INTERVAL: Duration = Duration::from_secs(30);

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) usable: Vec<MirroredInstance>,
    pub(super) listed: Vec<ListedInstance>,
    pub(super) problems: Vec<Problem>,
}

/// Reads every instance of `resource`, in order of name. `written_at` is the object's last write.
pub(super) fn read_all(
    resource: &ServiceResource,
    source: Source,
    written_at: UnixMs,
    addresses: &dyn AddressGate,
) -> Read {
    let reported = reported(resource.status.as_ref());
    let reader = Reader { spec: &resource.spec, source, written_at, addresses, reported };
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

/// What the status says of each instance, by name.
pub(super) fn reported(status: Option<&ServiceStatus>) -> BTreeMap<&str, &InstanceStatus> {
    status.iter().flat_map(|status| &status.instances).map(|of| (of.name.as_str(), of)).collect()
}

struct Reader<'a> {
    spec: &'a ServiceSpec,
    source: Source,
    written_at: UnixMs,
    addresses: &'a dyn AddressGate,
    reported: BTreeMap<&'a str, &'a InstanceStatus>,
}

impl Reader<'_> {
    fn read(&self, entry: &InstanceEntry, read: &mut Read) {
        let shown = text::escape(&entry.name, MAX_ZONE);
        let reported = self.reported.get(entry.name.as_str()).copied();
        let (instance, drain) = match self.instance(entry, reported) {
            Ok(read) => read,
            Err(sentence) => {
                read.problems.push(Problem::of(&shown, ProblemKind::Invalid, &in_manifest_words(&sentence)));
                return read.listed.push(ListedInstance::unreadable(shown));
            }
        };
        let hash = probe_hash(&instance.spec);
        let weightless = instance.spec.weight == 0;
        let judged = judge(&instance.spec, &|url| self.addresses.admit(url).err());
        if let Some(denied) = &judged.denied {
            read.problems.push(Problem::of(&shown, ProblemKind::AddressDenied, denied));
        }
        if judged.serve {
            let status = reported.filter(|reported| reported.probe_hash == hash);
            let reported = status.map(verdict::read);
            let acknowledged =
                status.zip(reported.as_ref()).and_then(|(status, of)| verdict::acknowledgement(status, of));
            read.usable.push(MirroredInstance { reported, acknowledged: acknowledged.map(Arc::new), ..instance });
        }
        read.listed.push(ListedInstance { name: shown, probe_hash: Some(hash), drain, weightless });
    }

    /// The instance, without what is reported of its health, and its drain as written, which may be over.
    fn instance(
        &self,
        entry: &InstanceEntry,
        reported: Option<&InstanceStatus>,
    ) -> Result<(MirroredInstance, Option<Arc<Drain>>), String> {
        let name: InstanceName = entry.name.parse().map_err(|error| format!("name: {error}"))?;
        let spec = Arc::new(self.instance_spec(entry)?);
        spec.accept_checks()?;
        let drain = drain::read(entry.drain.as_ref(), reported, self.written_at)?.map(Arc::new);
        let in_force = drain.clone().filter(|drain| !drain::is_over(drain, reported));
        let (owner, generation) = match self.source {
            Source::Manifest => (Owner::Anonymous, None),
            Source::Rest => (fields::owner(entry.owner.as_ref())?, fields::generation(entry.generation)?),
        };
        let instance =
            MirroredInstance { name, spec, owner, generation, drain: in_force, reported: None, acknowledged: None };
        Ok((instance, drain))
    }

    fn instance_spec(&self, entry: &InstanceEntry) -> Result<InstanceSpec, String> {
        let base_url = EndpointUrl::base(&entry.base_url).map_err(|error| format!("baseUrl: {error}"))?;
        let health_url = entry.health_url.as_deref().map(EndpointUrl::health).transpose();
        let health_url = health_url.map_err(|error| format!("healthUrl: {error}"))?;
        let checks = self.checks(entry)?;
        let probed_elsewhere = health_url.is_some() || !checks.is_empty();
        let check = self.check(entry, health_url.is_some(), probed_elsewhere);
        let version = self.inherited(entry.version.as_ref(), self.spec.version.as_ref());
        let description = self.inherited(entry.description.as_ref(), self.spec.description.as_ref());
        let metadata = self.inherited(entry.metadata.as_ref(), self.spec.metadata.as_ref());
        let zone = entry.zone.clone().unwrap_or_default();
        fields::accept_texts(&version, &description, &zone)?;
        fields::accept_metadata(&metadata)?;
        Ok(InstanceSpec {
            base_url,
            health_url,
            check: check.map_err(|error| format!("check: {error}"))?,
            checks,
            tags: fields::tags(&entry.tags)?,
            external_id: fields::external_id(entry.external_id.as_ref())?,
            deregister_after_seconds: match self.source {
                Source::Manifest => None,
                Source::Rest => fields::deregister_after(entry.deregister_after_seconds)?,
            },
            version,
            description,
            metadata,
            weight: fields::weight(entry.weight)?,
            zone,
        })
    }

    /// The instance's own value, else, in a manifest, the service's.
    fn inherited<T: Clone + Default>(&self, own: Option<&T>, service: Option<&T>) -> T {
        own.or(service.filter(|_| self.source == Source::Manifest)).cloned().unwrap_or_default()
    }

    fn checks(&self, entry: &InstanceEntry) -> Result<Vec<NamedCheck>, String> {
        let service = self.spec.checks.as_ref().filter(|_| self.source == Source::Manifest);
        entry.checks.as_ref().or(service).map_or(Ok(Vec::new()), |specs| read_checks(specs))
    }

    /// The effective check. In a manifest, a check without a kind requests the health URL if there is one and otherwise connects by tcp,
    /// unless there are only named checks; in a registration, it does nothing without a health URL.
    fn check(&self, entry: &InstanceEntry, has_health_url: bool, probed_elsewhere: bool) -> Result<Check, String> {
        let read = |spec: Option<&CheckSpec>| spec.map(read_check).transpose().map(Option::unwrap_or_default);
        if self.source == Source::Rest {
            return read(entry.check.as_ref());
        }
        let given = entry.check.as_ref().or(self.spec.check.as_ref());
        let mut check = read(given)?;
        match &mut check.kind {
            None if !has_health_url && (given.is_some() || !probed_elsewhere) => check.kind = Some(CheckKind::Tcp),
            // The service's path is for instances without a health URL.
            Some(CheckKind::Http(http)) if has_health_url && entry.check.is_none() => http.path = None,
            _ => {}
        }
        Ok(check)
    }
}

/// A denied address that a required check probes stays in: the prober fails it, with the reason. One that no probe would ever touch is
/// left out, because nothing else would keep clients from finding it.
pub(super) fn judge(spec: &InstanceSpec, denied: &dyn Fn(&EndpointUrl) -> Option<String>) -> Judged {
    let base = denied(&spec.base_url);
    let probed = |check: &AnyCheck<'_>| matches!(spec.plan_of(check, ANY_INTERVAL), Plan::Probe(..));
    let required = || spec.all_checks().filter(|check| !check.advisory && probed(check));
    let fails = || required().any(|check| denied(check.url.unwrap_or(&spec.base_url)).is_some());
    let serve = base.is_none() || fails();
    let at = |field: &str, why: String| format!("{field}: {why}");
    let health = || spec.health_url.as_ref().and_then(denied).map(|why| at("healthUrl", why));
    let named = |named: &NamedCheck| {
        let why = named.url.as_ref().and_then(denied)?;
        Some(at(&format!("checks.{}.url", named.name), why))
    };
    let denied = base.map(|why| at("baseUrl", why)).or_else(health);
    Judged { serve, denied: denied.or_else(|| spec.checks.iter().find_map(named)) }
}

/// What the address policy makes of an instance.
pub(super) struct Judged {
    pub(super) serve: bool,
    /// Why an address is denied.
    pub(super) denied: Option<String>,
}

/// The model uses the names of the REST API: `health_url` becomes `healthUrl`. Settings, in capitals, stay.
pub(super) fn in_manifest_words(sentence: &str) -> String {
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
