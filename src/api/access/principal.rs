//! The caller of a request, and what the caller may do.

use std::sync::Arc;

use super::token_validity::Credential;
use crate::api::clients::ClientKey;
use crate::model::name::Namespace;
use crate::model::owner::CERTIFICATE_ISSUER;
use crate::model::ports::{AccessVerb, Caller, ServiceAccount};
use crate::model::service::Owner;
use crate::telemetry::audit::{Kind, Who};

/// What a token allows, by its `scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Read what needs a token.
    pub read: bool,
    /// Register, check and deregister its own instances.
    pub register: bool,
    /// The same for instances of other owners; includes the other two.
    pub admin: bool,
}

/// The namespaces that a token covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// All.
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

    /// Covers one more.
    pub(super) fn add(&mut self, namespace: &Namespace) {
        if let Self::Only(list) = self {
            *list = list.iter().cloned().chain([namespace.as_str().into()]).collect();
        }
    }
}

/// The services whose owners a caller sees in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnersSeen {
    /// Every service.
    All,
    /// Services in the namespaces of its token.
    Some,
    /// No service.
    None,
}

/// The caller.
///
/// With auth off everyone is anonymous, covers every namespace and may read and register, but is not an admin: instances that a token's
/// holder registered while auth was on stay theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Becomes the owner of what the caller registers.
    pub owner: Owner,
    /// What the token allows.
    pub scopes: Scopes,
    /// Where it allows that.
    pub namespaces: Namespaces,
    /// The client that the rate limit counts.
    pub client: ClientKey,
    /// Whether the request had a valid token.
    pub authenticated: bool,
    /// What that token's validity still depends on.
    pub credential: Option<Credential>,
    /// The ServiceAccount whose token it was, in a cluster.
    pub account: Option<Arc<ServiceAccount>>,
    /// The rights to other namespaces than its own, or to all, that RBAC gave it for this request.
    pub granted: Vec<(AccessVerb, Option<Namespace>)>,
    /// Whether the catalog is open to all (`PORTOLAN_READ_AUTH` is off).
    pub open_reads: bool,
    /// Whether auth is on: evidence then needs a token.
    pub guarded: bool,
}

impl Principal {
    /// Whether the caller may read services of `namespace`.
    pub fn may_read(&self, namespace: &str) -> bool {
        self.open_reads || (self.scopes.read && self.namespaces.contains(namespace))
    }

    /// Whether the caller may read every namespace, so that nothing needs to be filtered.
    pub fn reads_all(&self) -> bool {
        self.open_reads || (self.scopes.read && self.namespaces == Namespaces::All)
    }

    /// Whether the caller may refer to a service of `namespace` by its id: to read it, or to change its own instances there.
    pub fn may_name(&self, namespace: &str) -> bool {
        self.may_read(namespace) || self.may_write(namespace)
    }

    /// Whether the caller may get services of other owners by id, which needs a token whenever auth is on.
    pub fn reads_others(&self) -> bool {
        !self.authenticated || self.scopes.read
    }

    /// Whether the caller may register, check or remove in `namespace`, as far as owners allow.
    pub fn may_write(&self, namespace: &str) -> bool {
        self.scopes.register && self.namespaces.contains(namespace)
    }

    /// Whether the caller may see addresses, timings and history of `namespace`.
    pub fn sees_evidence(&self, namespace: &str) -> bool {
        !self.guarded || (self.authenticated && self.scopes.read && self.namespaces.contains(namespace))
    }

    /// Whether answers name to the caller who registered the instances of `namespace`: like evidence.
    pub fn sees_owners(&self, namespace: &str) -> bool {
        self.sees_evidence(namespace)
    }

    /// Whether the caller sees the owners of every namespace, of none, or only of the [`Namespaces`] of its token.
    pub fn owners_seen(&self) -> OwnersSeen {
        match &self.namespaces {
            _ if self.guarded && !(self.authenticated && self.scopes.read) => OwnersSeen::None,
            Namespaces::All => OwnersSeen::All,
            Namespaces::Only(_) if !self.guarded => OwnersSeen::All,
            Namespaces::Only(_) => OwnersSeen::Some,
        }
    }

    /// Its token has become invalid: what is open stays so, and everything else ends.
    pub fn lapse(&mut self) {
        (self.authenticated, self.credential) = (false, None);
    }

    /// Whether the caller may change what `owner` registered.
    pub fn may_change(&self, owner: &Owner) -> bool {
        self.scopes.admin || self.owner == *owner
    }

    /// The caller as the audit log names it.
    pub fn who(&self) -> Who<'_> {
        match &self.owner {
            Owner::Anonymous => Who { kind: Kind::Anonymous, issuer: "", subject: "" },
            Owner::Token { subject, .. } if self.owner.kind() == CERTIFICATE_ISSUER => {
                Who { kind: Kind::Certificate, issuer: "", subject }
            }
            Owner::Token { issuer, subject } => {
                let kind = if self.account.is_some() { Kind::ServiceAccount } else { Kind::Token };
                Who { kind, issuer, subject }
            }
        }
    }

    /// The caller as the registrar knows it.
    pub fn caller(&self) -> Caller {
        Caller { owner: self.owner.clone(), admin: self.scopes.admin }
    }
}

#[cfg(test)]
impl Principal {
    /// Somebody who may read all, while auth is off.
    pub(crate) fn reader() -> Self {
        Self {
            owner: Owner::Anonymous,
            scopes: Scopes { read: true, ..Scopes::default() },
            namespaces: Namespaces::All,
            client: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST).into(),
            authenticated: false,
            credential: None,
            account: None,
            granted: Vec::new(),
            open_reads: true,
            guarded: false,
        }
    }
}
