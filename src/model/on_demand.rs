//! The result of an on-demand check.

use super::name::{CheckName, InstanceName};
use super::outcome::Outcome;

/// One instance's on-demand result.
#[derive(Debug, Clone)]
pub struct OnDemandResult {
    /// The instance.
    pub instance: InstanceName,
    /// The worst outcome of its required checks, or of all where none is required; none if the instance has no check.
    pub outcome: Option<Outcome>,
    /// Whether a hold for flapping keeps the instance unhealthy although the probe passed.
    pub held: bool,
    /// Its probed checks, the required ones first, and of each kind the worst first.
    pub checks: Vec<OnDemandCheck>,
}

/// What one check of an instance gave on demand.
#[derive(Debug, Clone)]
pub struct OnDemandCheck {
    /// Its name.
    pub check: CheckName,
    /// Whether its failure only sets a warning.
    pub advisory: bool,
    /// Its outcome.
    pub outcome: Outcome,
}
