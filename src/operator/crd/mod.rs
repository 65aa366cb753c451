//! The custom resources `services.portolan.dev` and `namespacepolicies.portolan.dev`, and their definitions.
//!
//! In: the JSON of an object. Out: [`ServiceResource`] and [`NamespacePolicyResource`] with spec and status, a check in the model's
//! terms, and the CustomResourceDefinitions.
//!
//! The doc comments of the types are what `kubectl explain` shows, so they address whoever writes a manifest.
//!
//! 1. [`spec`]: what a manifest says. [`check`], [`tls`], [`identity`], [`named_check`]: its checks, and their form in the model. [`drain`]:
//!    an instance out of selection. [`publish`]: the core Service that gets its instances. [`from`]: the one that its instances come from.
//! 2. [`status`]: what Portolan writes back.
//!    [`namespace_policy`]: what administrators set for namespaces.
//! 3. [`rules`]: the parts of the schema that cannot be derived. [`mod@definition`]: the CustomResourceDefinitions as a whole.

mod check;
mod definition;
mod drain;
mod from;
mod identity;
mod named_check;
mod namespace_policy;
mod publish;
mod rules;
mod spec;
mod status;
mod tls;

pub use check::{CheckSpec, EmptySpec, GrpcSpec, HeaderSpec, HeartbeatSpec, HttpSpec, Method, check_spec, read_check};
pub use definition::{definition, policy_yaml, yaml};
pub use drain::{DrainEntry, MAX_DRAINED_BY, drain_entry, read_drain};
pub use from::{FromSpec, PortRef};
pub use identity::IdentitySpec;
pub use named_check::{NamedCheckSpec, checks_spec, read_checks};
pub use namespace_policy::{
    CheckDefaultsSpec, CheckLimitsSpec, NamespacePolicyResource, NamespacePolicySpec, NamespacePolicyStatus,
    NamespaceSelectorSpec, PolicyChecksSpec, PolicyNetworksSpec, RequirementOperator, RequirementSpec,
};
pub use publish::{PublishSpec, WhenAllDown};
pub use spec::{InstanceEntry, OwnerEntry, ServiceResource, ServiceSpec, SourceValue};
pub use status::{AcknowledgementStatus, HealthValue, InstanceStatus, ServiceStatus, State, WarningStatus};
pub use tls::{CaFromSpec, ClientCertFromSpec, TlsSpec};
