//! Names to addresses.

mod dns;
mod hosts;
mod lookup;
mod resolv_conf;
mod resolver;
mod system_file;

pub(crate) use hosts::is_localhost;
pub(crate) use resolver::{MAX_LOOKUPS, Names};
pub use resolver::{ResolverSettings, Unresolved};
