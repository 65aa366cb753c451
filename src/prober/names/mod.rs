//! Resolves names to addresses as the C library does, without blocking.
//!
//! - In: a host name.
//! - Out: its addresses, IPv4 first, or why there are none.
//!
//! Read the files in this order: `resolver` (the cache, and how many lookups run at once), `lookup` (the hosts file, then DNS with search domains), `dns`
//! (questions to the name servers), `hosts` and `resolv_conf` (the system's files), `system_file` (reading them).

mod dns;
mod hosts;
mod lookup;
mod resolv_conf;
mod resolver;
mod system_file;

pub(crate) use hosts::is_localhost;
pub(crate) use resolver::{MAX_LOOKUPS, Names};
pub use resolver::{ResolverSettings, Unresolved};
