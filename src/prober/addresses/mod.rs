//! Which addresses may be probed, so that nobody can point the prober at what only this machine reaches.
//!
//! - In: an address and a port, or a URL at its registration.
//! - Out: whether it may be dialled, and if not, the rule and the setting that would allow it.
//!
//! Read the files in this order: `policy` (the rules), `own_listener` (this server's own ports), `publishing` (the same rules for endpoints that
//! others connect to).

mod own_listener;
mod policy;
mod publishing;

pub use own_listener::OwnListener;
pub use policy::{AddressPolicy, Denied, Rule, budget_key};
pub use publishing::PublishPolicy;
