//! How many probes may run at once, and how many an address may get.
//!
//! - In: probes that start and end, and how late the engine wakes up.
//! - Out: whether another probe may start, or must wait for its address, and which of those that wait is the next.
//!
//! Read the files in this order: `slots` (how many probes may run), `pace` (how many of them may be runnable), `capacity` (both combined), `fair_queue`
//! (who is next), `address_budget` (how often one address may be probed), `address_queues` (who waits for an address).

mod address_budget;
mod address_queues;
mod capacity;
pub(crate) mod fair_queue;
pub(crate) mod pace;
pub(crate) mod slots;

pub(crate) use self::address_budget::{Budget, Delay, DelayedCheck, Limits};
pub(crate) use self::address_queues::AddressQueues;
pub(crate) use self::capacity::Capacity;
pub(crate) use self::slots::Slot;
