//! What a simulation replaces: sockets and resolver. Everything above, from the budgets to the store, is the real code.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::model::check::Target;
use crate::model::outcome::Outcome;
use crate::prober::names::Unresolved;

/// A simulated network.
#[doc(hidden)]
pub trait Network: fmt::Debug + Send + Sync {
    /// The addresses of a name, at least one.
    ///
    /// # Errors
    /// [`Unresolved`].
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<[IpAddr]>, Unresolved>>;

    /// One probe of addresses that passed the policy. Must end by the deadline.
    fn probe<'a>(&'a self, target: &'a Target, addresses: &'a [IpAddr], deadline: Instant) -> BoxFuture<'a, Outcome>;
}
