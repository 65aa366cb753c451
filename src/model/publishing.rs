//! What publishing needs from other parts: the addresses of a name, and which addresses may be published.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;

/// Why a name has no addresses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name is at fault: what it resolved to before no longer counts.
    #[error("its name does not resolve")]
    NotFound,
    /// More addresses than any service has.
    #[error("its name has more than 256 addresses")]
    TooMany,
    /// The resolver is at fault, and nothing new is known of the name.
    #[error("the resolver does not answer for its name")]
    NoAnswer,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddresses {
    /// IPv4 first, at most 256.
    pub addresses: Arc<[IpAddr]>,
    /// Whether the resolver answered for both families. If it did not, the name may have addresses of the other family as well.
    pub complete: bool,
}

/// Resolves names as probes do, with their cache.
pub trait NameLookup: Send + Sync + 'static {
    /// The addresses of the name. Takes seconds if the resolver does not answer.
    fn addresses(&self, name: String) -> BoxFuture<'static, Result<NameAddresses, LookupError>>;
}

/// Which addresses may be published to others, who will send their traffic there.
pub trait PublishGate: Send + Sync + 'static {
    /// Refuses addresses that mean each machine itself or its link, networks that the settings exclude, and what is the cluster's own.
    ///
    /// # Errors
    /// What the address is, to follow it in a sentence: `is loopback`.
    fn publishable(&self, address: IpAddr, port: u16) -> Result<(), String>;

    /// From now on, refuses these networks as well, instead of those that were learned before.
    fn learn(&self, networks: Vec<LearnedNetwork>);
}

/// A network of the cluster that its API names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedNetwork {
    /// The network.
    pub net: IpNet,
    /// Whose it is, to follow it in a sentence: `the cluster's Services`.
    pub owner: &'static str,
}
