//! The Kubernetes API as all parts use it.
//!
//! In: a kubeconfig or a ServiceAccount. Out: a client, and whether the API answers.
//!
//! 1. [`client`]: finds the API and makes the client. [`health`]: when it last answered.
//! 2. [`epoch`]: which cluster's registry this is.
//! 3. [`list_watch`]: the loop of list and watch that all share. [`follow`]: that of the kinds that are not ours.
//! 4. [`rights`]: whether a refusal is for lack of rights, or because the namespace is being deleted. [`outage`]: whether it concerns all
//!    writes.

pub mod client;
pub mod epoch;
pub(in crate::operator) mod follow;
pub mod health;
pub(in crate::operator) mod list_watch;
pub(in crate::operator) mod outage;
pub(in crate::operator) mod rights;

/// The name of the Lease by which the replicas elect their leader.
pub const LEASE_NAME: &str = "portolan";
