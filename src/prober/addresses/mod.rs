//! Which addresses may be probed.

mod embedded;
mod own_listener;
mod policy;

pub use own_listener::OwnListener;
pub use policy::{AddressPolicy, Denied, Rule, budget_key};
