//! The custom resource `services.portolan.dev` and its definition.
//!
//! The doc comments of the types are what `kubectl explain` shows, so they speak to who writes a manifest.

mod check;
mod definition;
mod rules;
mod spec;
mod status;

pub use check::{CheckSpec, EmptySpec, GrpcSpec, HeaderSpec, HttpSpec, Method, TlsSpec, check_spec, read_check};
pub use definition::{definition, yaml};
pub use spec::{InstanceEntry, OwnerEntry, ServiceResource, ServiceSpec, SourceValue};
pub use status::{HealthValue, InstanceStatus, ServiceStatus, State};
