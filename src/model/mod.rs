//! Plain types and pure rules, without I/O, an async runtime or a clock of their own. Depends on nothing else in the crate.
//!
//! Everything that passes between two other modules is defined here. In: text and values. Out: valid types, or errors that say what to
//! write instead.
//!
//! Read in this order:
//!
//! - What is registered: [`service`] (services and instances), [`name`], [`url`], [`check`] (how an instance is probed) with
//!   [`request_options`].
//! - What becomes of a registration: the rules in [`registration`]; `write_error`, why one was refused; [`acknowledgement`] and its rules,
//!   [`acknowledging`].
//! - What is proved: [`outcome`], [`on_demand`] (what a check on request gives), the state machine in [`health`], [`probe`] (what the
//!   prober stores), [`history`] (past changes),
//!   [`availability`] (how long what was the case), [`mirror`] (what a cluster's objects say), [`tombstones`] (what was removed).
//! - What a cluster's administrators set for namespaces: [`namespace_policy`], with [`label_selector`]; `embedded`: what an address stands for.
//! - What readers select: [`selection`], [`version`]; how long they wait: [`wait_time`].
//! - What connects the other modules: the traits in [`ports`], in `publishing` those about endpoints, in `heartbeats` the one about what
//!   programs report, in `empty_services` the one about services without an instance, in [`certificates`] the one about certificates of
//!   checks, and in `authority` the one about callers in a cluster.
//! - What a listener tells others: [`reachability`]; when a registration ends by itself: [`lease`]; one of several servers: [`replica`].
//! - Helpers: [`time`], [`text`], [`secret`], [`backoff`], [`rate`], [`value_error`], [`did_you_mean`], [`whole_number`], `sync`; for unit tests, `samples`.

pub mod acknowledgement;
pub mod acknowledging;
mod authority;
pub mod availability;
pub mod backoff;
pub mod certificates;
pub mod check;
pub mod did_you_mean;
pub(crate) mod embedded;
mod empty_services;
pub mod health;
mod heartbeats;
pub mod history;
pub mod label_selector;
pub mod lease;
pub mod mirror;
pub mod name;
pub mod namespace_policy;
pub mod on_demand;
pub mod outcome;
pub mod owner;
pub mod ports;
pub mod probe;
mod publishing;
pub mod rate;
pub mod reachability;
pub mod registration;
pub mod replica;
pub mod request_options;
#[cfg(test)]
pub(crate) mod samples;
pub mod secret;
pub mod selection;
pub mod service;
pub(crate) mod sync;
pub mod text;
pub mod time;
pub mod tombstones;
pub mod url;
pub mod value_error;
pub mod version;
pub mod wait_time;
pub mod whole_number;
mod write_error;
