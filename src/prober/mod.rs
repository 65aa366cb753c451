//! Proof: how one instance is probed, and when.

pub mod dial;
pub mod evidence;
mod grpc;
pub mod guard;
mod http;
pub mod policy;
pub mod resolve;
mod tcp;
mod tls;
mod trust;
mod wire;
