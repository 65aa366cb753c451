//! The words of Portolan as plain types: no I/O, no async runtime, no clock of their own.
//!
//! Everything that crosses a boundary between two other modules is spelled here. Depends on nothing else in the crate.

pub mod backoff;
pub mod check;
pub mod did_you_mean;
pub mod health;
pub mod history;
pub mod mirror;
pub mod name;
pub mod outcome;
pub mod ports;
pub mod probe;
pub mod rate;
pub mod request_options;
pub mod secret;
pub mod selection;
pub mod service;
pub(crate) mod sync;
pub mod text;
pub mod time;
pub mod url;
pub mod value_error;
pub mod version;
pub mod whole_number;
mod write_error;
