//! Probes every registered instance, and decides what the outcomes mean for its health.
//!
//! - In: the catalog's feed (which instances there are), heartbeats and on-demand checks through [`ProberHandle`].
//! - Out: changes of health and probe rows, to the store; removals, through the registrar; metrics, log lines and [`ProberStatus`].
//!
//! The path of a probe, folder by folder:
//!
//! 1. `engine` runs the loop and combines the other parts: it follows the feed, starts probes and judges outcomes.
//! 2. `targets` holds what is probed, and when each instance is due.
//! 3. `schedule` picks the next of those that are due, within `limits` (slots, pace, the budget of an address).
//! 4. `dialer` makes the probe: `names` resolves the host, `addresses` says which addresses may be dialled, `protocols` connects and
//!    speaks.
//! 5. `guard` holds changes to unhealthy while this machine itself may be at fault.
//! 6. `leases` hears what programs report of themselves, `departures` removes those that nobody renews.
//! 7. `persist` hands changes and rows to the store, `telemetry` logs and counts them, `on_demand` answers requests.

mod addresses;
mod departures;
mod dialer;
mod engine;
mod guard;
mod leases;
mod limits;
mod names;
mod on_demand;
mod persist;
mod protocols;
mod schedule;
mod targets;
mod telemetry;

pub use addresses::{AddressPolicy, Denied, OwnListener, PublishPolicy, Rule, budget_key};
pub use departures::Remover;
#[doc(hidden)]
pub use dialer::Network;
pub use dialer::{DialSettings, Dialer, Pinned};
pub use engine::{Prober, ProberError, ProberSettings};
pub use names::{ResolverSettings, Unresolved};
pub use on_demand::ProberHandle;
pub use telemetry::{ProberReport, ProberStatus};
