//! The REST API: who may ask, how connections are held, what is answered.

pub mod access;
mod body;
pub mod conn;
pub mod envelope;

pub use body::Body;
