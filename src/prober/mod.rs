//! Proof: how one instance is probed, and when.

pub mod dial;
pub mod evidence;
pub mod policy;
pub mod resolve;
mod tcp;
