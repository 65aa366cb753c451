//! Which object it is, and which version of it, from its metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use uuid::Uuid;

use crate::model::name::{Namespace, ServiceKey, ServiceName};
use crate::model::time::UnixMs;

/// Which object, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectId {
    /// Namespace and name.
    pub key: ServiceKey,
    /// The uid.
    pub id: Uuid,
    /// The resourceVersion.
    pub revision: u64,
    /// Its creation.
    pub created_at: UnixMs,
    /// The last write in `managedFields`, else the creation.
    pub updated_at: UnixMs,
}

impl ObjectId {
    /// Reads an object's metadata.
    ///
    /// # Errors
    /// A sentence on what does not fit: a name that is not a label, or a uid or resourceVersion of another form.
    pub fn of(metadata: &ObjectMeta) -> Result<Self, String> {
        let name = metadata.name.as_deref().unwrap_or_default();
        let name: ServiceName = name.parse().map_err(|error| format!("metadata.name: {error}"))?;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let namespace: Namespace = namespace.parse().map_err(|error| format!("metadata.namespace: {error}"))?;
        let id = metadata.uid.as_deref().unwrap_or_default();
        let id = id.parse().map_err(|_| "metadata.uid is not a UUID; this API server is not supported".to_owned())?;
        let revision = metadata.resource_version.as_deref().and_then(|text| text.parse().ok());
        let revision = revision.ok_or("metadata.resourceVersion is not a number; this API server is not supported")?;
        let created_at = metadata.creation_timestamp.as_ref().map_or(UnixMs(0), moment);
        let writes = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref().map(moment));
        let updated_at = writes.max().map_or(created_at, |last| last.max(created_at));
        Ok(Self { key: ServiceKey::new(&namespace, &name), id, revision, created_at, updated_at })
    }
}

fn moment(time: &Time) -> UnixMs {
    UnixMs(time.0.as_millisecond())
}
