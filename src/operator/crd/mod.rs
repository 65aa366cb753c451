//! The custom resource `services.portolan.dev` and its definition.
//!
//! In: the JSON of an object. Out: [`ServiceResource`] with its spec and status, a check in the model's terms, and the
//! CustomResourceDefinition.
//!
//! The doc comments of the types are what `kubectl explain` shows, so they address whoever writes a manifest.
//!
//! 1. [`spec`]: what a manifest says. [`check`]: its checks, and their form in the model.
//! 2. [`status`]: what Portolan writes back.
//! 3. [`rules`]: the parts of the schema that cannot be derived. [`mod@definition`]: the CustomResourceDefinition as a whole.

mod check;
mod definition;
mod rules;
mod spec;
mod status;

pub use check::{CheckSpec, EmptySpec, GrpcSpec, HeaderSpec, HttpSpec, Method, TlsSpec, check_spec, read_check};
pub use definition::{definition, yaml};
pub use spec::{InstanceEntry, OwnerEntry, ServiceResource, ServiceSpec, SourceValue};
pub use status::{HealthValue, InstanceStatus, ServiceStatus, State};
