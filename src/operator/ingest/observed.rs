//! What the ingest keeps of an object.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use uuid::Uuid;

use crate::model::name::ServiceKey;
use crate::model::ports::AddressGate;
use crate::model::service::{Service, Source};
use crate::operator::crd::{ServiceResource, ServiceStatus};
use crate::operator::read::raw::RawObject;
use crate::operator::read::{self, ObjectId, ParsedService};

/// An object in the model's terms, with the parts of it that are read: 10,000 whole objects would take more memory than everything else.
#[derive(Debug, Clone)]
pub struct ObservedObject {
    /// The object in the model's terms.
    pub parsed: ParsedService,
    /// The object that the registrar would write again, without `managedFields` and status. None for a manifest's, which it never writes.
    pub object: Option<Arc<ServiceResource>>,
    id: ObjectId,
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
        let generation = raw.metadata().generation;
        let (object, status) = match raw.object.0 {
            Ok(mut object) => {
                let status = object.status.take();
                object.metadata.managed_fields = None;
                ((parsed.source == Source::Rest).then(|| Arc::new(object)), status)
            }
            Err(_) => (None, raw.status),
        };
        Ok(Self { parsed, object, id, generation, status })
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
