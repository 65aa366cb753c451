//! An object as the Kubernetes API sends it. One that does not fit our types stops none of the others: like kube's [`DeserializeGuard`], but
//! each object is parsed once and not kept twice, and the status of a malformed one is parsed too.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::model::value_error::json_sentence;
use crate::operator::crd::{ServiceResource, ServiceStatus};
use crate::operator::read::Lenient;

/// The last manifest that `kubectl apply` keeps: as large as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object, or what is known of one that does not fit our types, for example because it was stored before a change of the CRD.
#[derive(Debug, Clone)]
pub(crate) struct RawObject {
    /// The object, or its metadata and what does not fit.
    pub(crate) object: Lenient,
    /// The status of a malformed one, as far as it can be parsed.
    pub(crate) status: Option<ServiceStatus>,
}

#[derive(Deserialize)]
struct Envelope {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<Box<RawValue>>,
}

impl RawObject {
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let error = match serde_json::from_str::<ServiceResource>(text) {
            Ok(object) => return Ok(object.into()),
            Err(error) => json_sentence(&error),
        };
        let Envelope { mut metadata, status } = serde_json::from_str(text)?;
        slim(&mut metadata);
        let status =
            status.and_then(|status| serde_json::from_str(status.get()).ok()).filter(ServiceStatus::is_written);
        Ok(Self { object: DeserializeGuard(Err(InvalidObject { error, metadata })), status })
    }

    /// Its metadata.
    pub(crate) fn metadata(&self) -> &ObjectMeta {
        self.object.meta()
    }

    /// Its status.
    pub(crate) fn status(&self) -> Option<&ServiceStatus> {
        match &self.object.0 {
            Ok(object) => object.status.as_ref(),
            Err(_) => self.status.as_ref(),
        }
    }
}

impl From<ServiceResource> for RawObject {
    fn from(mut object: ServiceResource) -> Self {
        slim(&mut object.metadata);
        object.status = object.status.filter(ServiceStatus::is_written);
        Self { object: DeserializeGuard(Ok(object)), status: None }
    }
}

/// Drops what nobody reads and what is most of an object: kubectl's copy of the last manifest, and the owners of each field. The times of the
/// latter stay until the object is parsed.
fn slim(metadata: &mut ObjectMeta) {
    for entry in metadata.managed_fields.iter_mut().flatten() {
        *entry = ManagedFieldsEntry { time: entry.time.take(), ..ManagedFieldsEntry::default() };
    }
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(raw.get()).map_err(serde::de::Error::custom)
    }
}
