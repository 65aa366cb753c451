//! The REST API: who may ask, how connections are held, what is answered.
//!
//! A request comes from a connection ([`conn`]) to [`Api`], which has it admitted ([`access`]), answers plain discovery at once
//! (`hot`), and takes the rest to its route (`router`): one file a resource.

pub mod access;
mod body;
mod call;
mod check;
pub mod conn;
mod cursor;
mod deregister;
mod discover;
mod dispatch;
pub mod envelope;
mod etag;
mod flight;
mod freshness;
mod history;
mod hot;
mod json;
mod list;
pub mod openapi;
mod operations;
mod parts;
mod pass_on;
mod probes;
mod query;
mod refusal;
mod register;
mod registration;
mod reply;
mod root;
mod router;
mod scope;
mod select;
mod service;
mod shape;
mod stats;
mod waiting;
mod watch;

pub use body::Body;
pub use dispatch::{Api, ApiParts, ApiSettings};
pub use flight::FlightLimits;
pub use operations::{Part, PartState, Readiness};
pub use waiting::WaitingRoom;
pub use watch::WatchLimits;
