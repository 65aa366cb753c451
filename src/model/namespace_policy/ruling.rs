//! What applies to a namespace now, for those who probe and register.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::PolicyInForce;
use crate::model::check::{CheckTiming, Timing};
use crate::model::url::EndpointUrl;

/// What applies to the services of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// No policy.
    Free,
    /// These policies.
    Policy(Arc<PolicyInForce>),
    /// Not known yet, so nothing of the namespace is probed and nothing is registered there.
    Unknown,
}

impl Ruling {
    /// Whether it is known what applies.
    pub fn is_known(&self) -> bool {
        *self != Self::Unknown
    }

    /// The policies, if there are any.
    pub fn policy(&self) -> Option<&PolicyInForce> {
        if let Self::Policy(policy) = self { Some(policy) } else { None }
    }

    /// The numbers that drive a check, with `interval` where nobody names one.
    pub fn timing(&self, given: &CheckTiming, interval: Duration) -> Timing {
        self.policy().map_or_else(|| given.resolve(interval), |policy| policy.timing(given, interval))
    }

    /// Judges an address.
    ///
    /// # Errors
    /// A sentence that names the policy.
    pub fn admit(&self, address: IpAddr) -> Result<(), String> {
        self.policy().map_or(Ok(()), |policy| policy.admit(address).map_err(|denied| denied.to_string()))
    }

    /// Judges a URL as far as that is possible before its name is resolved.
    ///
    /// # Errors
    /// A sentence that names the policy.
    pub fn admit_url(&self, url: &EndpointUrl) -> Result<(), String> {
        self.policy().map_or(Ok(()), |policy| policy.admit_url(url))
    }
}

/// The policies of namespaces, as far as they are known now.
pub trait NamespacePolicies: fmt::Debug + Send + Sync + 'static {
    /// What applies to the namespace now.
    fn of(&self, namespace: &str) -> Ruling;

    /// Grows whenever [`of`](Self::of) may answer differently.
    fn version(&self) -> u64;
}

/// A server without policies.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyNamespace;

impl NamespacePolicies for AnyNamespace {
    fn of(&self, _namespace: &str) -> Ruling {
        Ruling::Free
    }

    fn version(&self) -> u64 {
        0
    }
}
