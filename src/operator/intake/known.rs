//! One object as it is known here.

use std::sync::Arc;

use uuid::Uuid;

use super::super::crd::{ServiceResource, ServiceSpec, ServiceStatus};
use super::super::read::{self, Place, Understood};
use super::super::seen::Seen;
use crate::model::name::ServiceKey;
use crate::model::ports::AddressGate;
use crate::model::service::Source;

/// An object, without what nobody reads (`managedFields`, kubectl's copy of the last manifest), and what it means.
#[derive(Debug, Clone)]
pub struct Known {
    /// As the Kubernetes API gave it, but of a manifest's the spec is left out: what it means is in `understood`. Of one that does not fit
    /// our types there are its metadata and its status.
    pub object: Arc<ServiceResource>,
    /// What it means.
    pub understood: Understood,
    place: Place,
}

impl Known {
    /// The error says what every object has and this one lacks.
    pub(crate) fn new(seen: Seen, addresses: &dyn AddressGate) -> Result<Self, String> {
        let place = Place::of(seen.metadata())?;
        let understood = read::understand_any(&seen.object, addresses);
        let mut object = match seen.object.0 {
            Ok(object) => object,
            Err(invalid) => {
                ServiceResource { metadata: invalid.metadata, spec: ServiceSpec::default(), status: seen.status }
            }
        };
        object.metadata.managed_fields = None;
        // Only the registrar writes a spec, and never a manifest's: at 10,000 objects this is most of what they weigh.
        if understood.source == Source::Manifest {
            object.spec = ServiceSpec::default();
        }
        Ok(Self { object: Arc::new(object), understood, place })
    }

    /// Namespace and name.
    pub fn key(&self) -> &ServiceKey {
        &self.place.key
    }

    /// Its uid.
    pub fn id(&self) -> Uuid {
        self.place.id
    }

    /// Its resourceVersion.
    pub fn revision(&self) -> u64 {
        self.place.revision
    }

    /// Its status, as last written.
    pub fn status(&self) -> Option<&ServiceStatus> {
        self.object.status.as_ref()
    }
}
