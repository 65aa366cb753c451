//! Proof: how one instance is probed, and when.

mod answer;
mod ask;
mod black_hole;
mod budget;
mod carried;
mod certificate;
mod client_cert;
mod closing;
mod commits;
mod connect;
pub mod dial;
mod dns;
mod engine;
pub mod evidence;
mod follow;
mod grpc;
pub mod guard;
mod hosts;
mod http;
mod judge;
mod lookup;
#[doc(hidden)]
pub mod network;
mod on_demand;
pub mod own;
mod pace;
mod pem;
pub mod policy;
mod pressure;
mod ready;
mod resolv_conf;
pub mod resolve;
mod role;
mod rows;
mod samples;
mod say;
mod schedule;
mod slots;
mod status;
mod sysfile;
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
