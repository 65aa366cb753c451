//! The custom resource `services.portolan.dev` and its definition.
//!
//! In: the JSON of an object. Out: [`ServiceResource`] with its spec and status, a check in the model's terms, and the
//! CustomResourceDefinition.
//!
//! The doc comments of the types are what `kubectl explain` shows, so they address whoever writes a manifest.
//!
//! 1. [`spec`]: what a manifest says. [`check`], [`tls`], [`identity`], [`named_check`]: its checks, and their form in the model. [`drain`]:
//!    an instance out of selection. [`publish`]: the core Service that gets its instances. [`from`]: the one that its instances come from.
//! 2. [`status`]: what Portolan writes back.
//! 3. [`rules`]: the parts of the schema that cannot be derived. [`mod@definition`]: the CustomResourceDefinition as a whole.

mod check;
mod definition;
mod drain;
mod from;
mod identity;
mod named_check;
mod publish;
mod rules;
mod spec;
mod status;
mod tls;

pub use check::{CheckSpec, EmptySpec, GrpcSpec, HeaderSpec, HeartbeatSpec, HttpSpec, Method, check_spec, read_check};
pub use definition::{definition, yaml};
pub use drain::{DrainEntry, MAX_DRAINED_BY, drain_entry, read_drain};
pub use from::{FromSpec, PortRef};
pub use identity::IdentitySpec;
pub use named_check::{NamedCheckSpec, checks_spec, read_checks};
pub use publish::{PublishSpec, WhenAllDown};
pub use spec::{InstanceEntry, OwnerEntry, ServiceResource, ServiceSpec, SourceValue};
pub use status::{AcknowledgementStatus, HealthValue, InstanceStatus, ServiceStatus, State, WarningStatus};
pub use tls::{CaFromSpec, ClientCertFromSpec, TlsSpec};
