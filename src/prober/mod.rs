//! Proof: how one instance is probed, and when.

mod addresses;
mod dialer;
mod engine;
mod guard;
mod limits;
mod names;
mod on_demand;
mod persist;
mod protocols;
mod report;
mod schedule;
mod targets;

pub use addresses::{AddressPolicy, Denied, OwnListener, Rule, budget_key};
#[doc(hidden)]
pub use dialer::Network;
pub use dialer::{DialSettings, Dialer, Pinned};
pub use engine::{Prober, ProberError, ProberSettings};
pub use names::{ResolverSettings, Unresolved};
pub use on_demand::ProberHandle;
pub use report::{ProberReport, ProberStatus};
