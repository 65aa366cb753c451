//! The other replicas and installs.
//!
//! In: Leases and endpoint slices. Out: whether this replica leads, who does, where the others are, and which install's status an object
//! carries.
//!
//! 1. [`lease`]: the election. [`pass_on`]: requests that only the leader can answer. [`kept_beats`], [`beat_delivery`]: heartbeats that
//!    wait for the next one; [`own_beats`]: those that this replica hears itself.
//! 2. [`peers`]: the addresses of the other replicas.
//! 3. [`installs`]: which of several installs writes an object's status.

pub mod beat_delivery;
pub mod installs;
mod kept_beats;
pub mod lease;
pub mod own_beats;
pub mod pass_on;
mod passed_headers;
pub mod peers;
