//! What the ingest keeps of an object.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use uuid::Uuid;

use crate::model::mirror::{Mirrored, MirroredInstance};
use crate::model::name::ServiceKey;
use crate::model::namespace_policy::Ruling;
use crate::model::ports::AddressGate;
use crate::model::service::{Instance, Service, Source};
use crate::operator::crd::{ServiceResource, ServiceStatus};
use crate::operator::endpoints::{ADOPTED_LABEL, Endpoints, ObjectName};
use crate::operator::namespaces::View;
use crate::operator::read::raw::RawObject;
use crate::operator::read::{self, ObjectId, ParsedService};

/// An object in the model's terms, with the parts of it that are read: 10,000 whole objects would take more memory than everything else.
#[derive(Debug, Clone)]
pub struct ObservedObject {
    /// The object in the model's terms.
    pub parsed: ParsedService,
    /// The same without the instances that it adopts; none if it adopts none.
    written: Option<Arc<ParsedService>>,
    /// The same as without policies; none if no policy applies.
    ungoverned: Option<Arc<ParsedService>>,
    /// Whether services of its namespace are watched.
    watched: bool,
    /// The object that the registrar would write again, without `managedFields` and status. None for a manifest's, which it never writes.
    pub object: Option<Arc<ServiceResource>>,
    id: ObjectId,
    effective: u64,
    /// The uid of the labelled core Service that Portolan keeps it for.
    adopted_for: Option<Box<str>>,
    generation: Option<i64>,
    status: Option<ServiceStatus>,
}

impl ObservedObject {
    /// Fails if the object lacks something that every object has; the error says what.
    pub(crate) fn new(raw: RawObject, addresses: &dyn AddressGate) -> Result<Self, String> {
        let id = ObjectId::of(raw.metadata())?;
        let mut parsed = read::parse_any(&raw.object, addresses);
        if let Some(mirrored) = &mut parsed.mirrored {
            mirrored.key = id.key.clone();
        }
        let written = parsed.from.is_some().then(|| Arc::new(parsed.clone()));
        let generation = raw.metadata().generation;
        let adopted_for = adopted_for(raw.metadata());
        let (object, status) = match raw.object.0 {
            Ok(mut object) => {
                let status = object.status.take();
                object.metadata.managed_fields = None;
                ((parsed.source == Source::Rest).then(|| Arc::new(object)), status)
            }
            Err(_) => (None, raw.status),
        };
        let effective = id.revision;
        let (ungoverned, watched) = (None, true);
        Ok(Self { parsed, written, ungoverned, watched, object, id, effective, adopted_for, generation, status })
    }

    /// Gives it the endpoints of the core Service that it adopts.
    pub(crate) fn adopt(&mut self, endpoints: &Endpoints, addresses: &dyn AddressGate) {
        if let Some(written) = &self.written {
            self.parsed = read::adopt(written, &self.id, self.status(), endpoints, addresses);
            self.ungoverned = None;
        }
    }

    /// Follows what applies to its namespace.
    pub(in crate::operator) fn govern(&mut self, namespaces: &View) {
        let ruling = namespaces.of(self.key().namespace());
        // What must not be registered yet is not shown either.
        self.watched = namespaces.watches(self.key().namespace()) && ruling.is_known();
        let plain = self.ungoverned.take();
        match ruling {
            Ruling::Policy(policy) => {
                let plain = plain.unwrap_or_else(|| Arc::new(self.parsed.clone()));
                self.parsed = read::govern(&plain, &policy);
                self.ungoverned = Some(plain);
            }
            Ruling::Free | Ruling::Unknown => {
                if let Some(plain) = plain {
                    self.parsed = Arc::unwrap_or_clone(plain);
                }
            }
        }
    }

    /// The object in the model's terms, including what the policies of its namespace leave out.
    pub(in crate::operator) fn without_policies(&self) -> &ParsedService {
        self.ungoverned.as_deref().unwrap_or(&self.parsed)
    }

    /// Whether services of its namespace are watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched
    }

    /// The uid of the labelled core Service that Portolan keeps it for; none for an object that somebody else applied.
    pub(crate) fn adopted_for(&self) -> Option<&str> {
        self.adopted_for.as_deref()
    }

    /// The core Service whose endpoints it adopts.
    pub(crate) fn adopts_from(&self) -> Option<ObjectName> {
        let from = &self.parsed.from.as_ref()?.from;
        Some((self.key().namespace().to_owned(), from.service.clone()))
    }

    /// Orders it after what was known: `before`, the last version here, or else `shown`, what the catalog has from an earlier run. The watches
    /// of objects and of endpoints are not ordered, and endpoints that are gone have no revision, so its own does not say that it is newer.
    /// Nor does it where `namespaces` have policies or are selected, since the object is the same then whatever applies.
    pub(in crate::operator) fn order_after(
        &mut self,
        before: Option<&Self>,
        shown: Option<&Service>,
        namespaces: &View,
    ) {
        if self.written.is_none() && !namespaces.is_on() {
            return;
        }
        let before = before.filter(|before| before.id.id == self.id.id && !before.parsed.is_awaiting());
        let shown = shown.filter(|shown| shown.id == self.id.id);
        let own = self.parsed.mirrored.as_ref();
        let changed = match (before, shown) {
            (Some(before), _) if before.watched != self.watched => true,
            (Some(before), _) => {
                let before = before.parsed.mirrored.as_ref();
                before.map(|before| &before.instances) != own.map(|own| &own.instances)
            }
            (None, shown) => match (shown, own) {
                (Some(shown), Some(own)) => differs(shown, own),
                (shown, own) => shown.is_some() != own.is_some(),
            },
        };
        let floor = before.map_or(0, |before| before.effective).max(shown.map_or(0, |shown| shown.revision));
        let own = own.map_or(self.id.revision, |own| own.revision);
        self.effective = own.max(floor + u64::from(changed));
        if let Some(mirrored) = &mut self.parsed.mirrored {
            mirrored.revision = self.effective;
        }
    }

    /// The revision of what the catalog has of it: its own, or that of the endpoints that it adopts.
    pub(crate) fn effective(&self) -> u64 {
        self.effective
    }

    /// Whether `shown` is what the catalog has of this version of the object.
    pub fn is_shown_as(&self, shown: &Service) -> bool {
        (shown.id, shown.revision) == (self.id(), self.effective)
    }

    /// Shares names and specs with the catalog where they are equal, to hold them only once.
    pub(crate) fn share(&mut self, shown: &Service) {
        if shown.key != self.id.key {
            return;
        }
        self.id.key = shown.key.clone();
        let Some(mirrored) = &mut self.parsed.mirrored else { return };
        mirrored.key = shown.key.clone();
        for instance in &mut mirrored.instances {
            if let Some(same) = shown.instance(instance.name.as_str()) {
                instance.name = same.name.clone();
                if instance.spec == same.spec {
                    instance.spec = Arc::clone(&same.spec);
                }
            }
        }
    }

    /// Namespace and name.
    pub fn key(&self) -> &ServiceKey {
        &self.id.key
    }

    /// Its uid.
    pub fn id(&self) -> Uuid {
        self.id.id
    }

    /// Its resourceVersion.
    pub fn revision(&self) -> u64 {
        self.id.revision
    }

    /// Its `metadata.generation`.
    pub fn generation(&self) -> Option<i64> {
        self.generation
    }

    /// Its status, as last written.
    pub fn status(&self) -> Option<&ServiceStatus> {
        self.status.as_ref()
    }

    /// The reference for an event about it.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(ServiceResource::api_version(&()).into_owned()),
            kind: Some(ServiceResource::kind(&()).into_owned()),
            namespace: Some(self.key().namespace().to_owned()),
            name: Some(self.key().name().to_owned()),
            uid: Some(self.id().to_string()),
            resource_version: Some(self.revision().to_string()),
            field_path: None,
        }
    }
}

fn adopted_for(metadata: &ObjectMeta) -> Option<Box<str>> {
    metadata.labels.as_ref()?.get(ADOPTED_LABEL)?;
    let owners = metadata.owner_references.iter().flatten();
    let service = owners.filter(|owner| owner.api_version == "v1" && owner.kind == "Service");
    service.map(|owner| owner.uid.as_str().into()).next()
}

/// Whether readers would notice the difference.
fn differs(shown: &Service, mirrored: &Mirrored) -> bool {
    let differ = |(shown, own): (&Instance, &MirroredInstance)| {
        let reported = own.reported.as_ref().filter(|_| own.spec.check.is_readiness());
        let other = reported.is_some_and(|reported| {
            (reported.health, reported.since) != (shown.health, shown.since) || reported.warning != shown.warning
        });
        shown.name != own.name || shown.spec != own.spec || shown.drain != own.drain || other
    };
    shown.instances.len() != mirrored.instances.len() || shown.instances.iter().zip(&mirrored.instances).any(differ)
}
