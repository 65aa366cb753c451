//! One object as it is known here.

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

/// What an object means, and of the rest what somebody reads: 10,000 whole objects weigh more than all else.
#[derive(Debug, Clone)]
pub struct ObservedObject {
    /// What it means.
    pub understood: ParsedService,
    /// What the registrar writes anew, as the Kubernetes API gave it, without `managedFields` and status. None of a manifest's, which it
    /// never writes.
    pub object: Option<Arc<ServiceResource>>,
    id: ObjectId,
    generation: Option<i64>,
    status: Option<ServiceStatus>,
}

impl ObservedObject {
    /// The error says what every object has and this one lacks.
    pub(crate) fn new(seen: RawObject, addresses: &dyn AddressGate) -> Result<Self, String> {
        let id = ObjectId::of(seen.metadata())?;
        let mut understood = read::parse_any(&seen.object, addresses);
        if let Some(mirrored) = &mut understood.mirrored {
            mirrored.key = id.key.clone();
        }
        let generation = seen.metadata().generation;
        let (object, status) = match seen.object.0 {
            Ok(mut object) => {
                let status = object.status.take();
                object.metadata.managed_fields = None;
                ((understood.source == Source::Rest).then(|| Arc::new(object)), status)
            }
            Err(_) => (None, seen.status),
        };
        Ok(Self { understood, object, id, generation, status })
    }

    /// Holds what the catalog shows of it, where that is the same, together with the catalog instead of once more.
    pub(crate) fn share(&mut self, shown: &Service) {
        if shown.key != self.id.key {
            return;
        }
        self.id.key = shown.key.clone();
        let Some(mirrored) = &mut self.understood.mirrored else { return };
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

    /// What an event about it names.
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
