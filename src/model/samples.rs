//! Values for unit tests. A test says what matters to it, and takes the rest from here.

use std::sync::Arc;

use uuid::Uuid;

use super::name::{Namespace, ServiceKey};
use super::outcome::{Health, Reason};
use super::ports::AddressGate;
use super::service::{Instance, InstanceId, InstanceSpec, Service, Source};
use super::time::UnixMs;
use super::url::EndpointUrl;

/// Lets every address be probed.
pub(crate) struct Anywhere;

impl AddressGate for Anywhere {
    fn admit(&self, _: &EndpointUrl) -> Result<(), String> {
        Ok(())
    }
}

impl Service {
    /// A service that somebody registered in the default namespace, in its first revision.
    pub(crate) fn sample(name: &str, instances: Vec<Instance>) -> Self {
        Self {
            id: Uuid::from_u128(1),
            key: ServiceKey::new(&Namespace::default(), &name.parse().expect("a name")),
            source: Source::Rest,
            registered_at: UnixMs(0),
            updated_at: UnixMs(0),
            revision: 1,
            sequence: 1,
            unreported: None,
            instances,
        }
    }
}

impl Instance {
    /// An instance with that verdict.
    pub(crate) fn sample(name: &str, spec: InstanceSpec, verdict: (Health, Reason)) -> Self {
        Self::new(InstanceId(1), name.parse().expect("a name"), Arc::new(spec), verdict, UnixMs(0))
    }
}

impl InstanceSpec {
    /// An instance at that URL, with the defaults.
    pub(crate) fn sample(url: &str) -> Self {
        Self::at(EndpointUrl::base(url).expect("a URL"))
    }
}
