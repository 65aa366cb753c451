//! Who asks, and what they may.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::refusal;
use super::standing::Credential;
use crate::api::envelope::ApiError;
use crate::model::ports::Caller;
use crate::model::service::Owner;

/// What the rate limit counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKey {
    /// A token's issuer and subject, hashed with a key of this process.
    Subject(u64),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The /64 of an IPv6 address: what one customer usually gets, so one machine cannot be thousands of clients.
    V6(u64),
}

impl std::hash::Hash for ClientKey {
    /// One word: the limit hashes it for every request.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(match self {
            Self::Subject(hash) => *hash,
            Self::V4(ip) => u64::from(ip.to_bits()),
            Self::V6(prefix) => !*prefix,
        });
    }
}

impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(u64::try_from(u128::from(ip) >> 64).unwrap_or(u64::MAX)),
        }
    }
}

/// What a token allows, by its `scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Read what needs a token.
    pub read: bool,
    /// Register, check and deregister what is its own.
    pub register: bool,
    /// The same for what others own; includes the other two.
    pub admin: bool,
}

/// The namespaces that a token covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// Every one.
    All,
    /// Those listed.
    Only(Arc<[Box<str>]>),
}

impl Namespaces {
    /// Whether it covers `namespace`.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.iter().any(|n| **n == *namespace),
        }
    }
}

/// Who asks.
///
/// With auth off everyone is anonymous, covers every namespace and may read and register, but is no admin: what a token's holder
/// registered while auth was on stays theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Becomes the owner of what is registered.
    pub owner: Owner,
    /// What is allowed.
    pub scopes: Scopes,
    /// Where it is allowed.
    pub namespaces: Namespaces,
    /// What the rate limit counts by.
    pub client: ClientKey,
    /// Whether a valid token came.
    pub authenticated: bool,
    /// What that token's validity goes on depending on.
    pub credential: Option<Credential>,
    /// Whether the catalog is open to all (`PORTOLAN_READ_AUTH` is off).
    pub open_reads: bool,
    /// Whether auth is on: evidence then needs a token.
    pub guarded: bool,
}

impl Principal {
    /// Whether services of `namespace` may be seen.
    pub fn may_read(&self, namespace: &str) -> bool {
        self.open_reads || (self.scopes.read && self.namespaces.contains(namespace))
    }

    /// Whether every namespace may be seen, so that nothing needs to be filtered.
    pub fn reads_all(&self) -> bool {
        self.open_reads || (self.scopes.read && self.namespaces == Namespaces::All)
    }

    /// Whether a service of `namespace` may be spoken of by its id: to read it, or to change what is the caller's own there.
    pub fn may_name(&self, namespace: &str) -> bool {
        self.may_read(namespace) || self.may_write(namespace)
    }

    /// Whether services that are not the caller's own may be shown by id, which needs a token whenever auth is on.
    pub fn reads_others(&self) -> bool {
        !self.authenticated || self.scopes.read
    }

    /// Whether something may be registered, checked or removed in `namespace`, as far as owners allow.
    pub fn may_write(&self, namespace: &str) -> bool {
        self.scopes.register && self.namespaces.contains(namespace)
    }

    /// [`Self::may_write`] as an answer.
    ///
    /// # Errors
    /// 403 `namespace_forbidden`.
    pub fn require_write(&self, namespace: &str) -> Result<(), ApiError> {
        if self.may_write(namespace) { Ok(()) } else { Err(self.outside(namespace)) }
    }

    /// The refusal of what is in a namespace that the token does not cover: 403 `namespace_forbidden`.
    pub fn outside(&self, namespace: &str) -> ApiError {
        refusal::outside(&self.namespaces, namespace)
    }

    /// Whether addresses, timings and history of `namespace` may be seen.
    pub fn sees_evidence(&self, namespace: &str) -> bool {
        !self.guarded || (self.authenticated && self.scopes.read && self.namespaces.contains(namespace))
    }

    /// The same person as the registrar knows them.
    pub fn caller(&self) -> Caller {
        Caller { owner: self.owner.clone(), admin: self.scopes.admin }
    }
}
