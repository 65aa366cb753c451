//! Proof: how one instance is probed, and when.

mod ask;
mod black_hole;
mod budget;
mod commits;
pub mod dial;
mod engine;
pub mod evidence;
mod follow;
mod grpc;
pub mod guard;
mod http;
mod judge;
mod lookup;
mod on_demand;
mod pace;
pub mod policy;
mod pressure;
mod ready;
pub mod resolve;
mod role;
mod rows;
mod samples;
mod say;
mod schedule;
mod slots;
mod status;
mod tally;
mod tcp;
mod tell;
#[cfg(test)]
mod tests;
mod tls;
mod track;
mod trust;
mod turn;
mod wire;
mod worker;
mod write;

pub use engine::{Prober, ProberError, ProberSettings};
pub use on_demand::ProberHandle;
pub use status::{ProberReport, ProberStatus};
