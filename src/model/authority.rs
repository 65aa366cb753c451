//! What a cluster says about callers: the keys of its ServiceAccounts' tokens, whether one of them is in force, and what its holder may do.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::name::Namespace;

/// How the subject of a ServiceAccount's token begins.
const PREFIX: &str = "system:serviceaccount:";

/// A ServiceAccount, as a token names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name, which is not a label: it may contain dots.
    pub name: String,
    /// Identifies it among those of its name that existed before and after.
    pub uid: String,
}

impl ServiceAccount {
    /// Its user name: the `sub` of its tokens.
    pub fn user(&self) -> String {
        format!("{PREFIX}{}:{}", self.namespace, self.name)
    }

    /// Namespace and name in a user name; none if it is not a ServiceAccount's.
    pub fn parse(user: &str) -> Option<(Namespace, &str)> {
        let (namespace, name) = user.strip_prefix(PREFIX)?.split_once(':')?;
        Some((namespace.parse().ok()?, name)).filter(|_| !name.is_empty())
    }

    /// The groups that the API server puts each ServiceAccount in
    /// ([reference](https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens)).
    pub fn groups(&self) -> [String; 3] {
        let all = "system:serviceaccounts";
        [all.to_owned(), format!("{all}:{}", self.namespace), "system:authenticated".to_owned()]
    }
}

/// A public key that signs tokens. The numbers are base64url text of big-endian bytes, as in a JSON Web Key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IssuerKey {
    /// Its `kid`.
    pub id: String,
    /// Its algorithm, with the numbers of the key.
    pub form: KeyForm,
}

/// The algorithm of a key: one of the two that Kubernetes signs tokens with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyForm {
    /// RS256.
    Rsa {
        /// `n`.
        modulus: String,
        /// `e`.
        exponent: String,
    },
    /// ES256, on the curve P-256.
    P256 {
        /// The point's first coordinate.
        x: String,
        /// Its second.
        y: String,
    },
}

/// Who signs the tokens of ServiceAccounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIssuer {
    /// The `iss` of its tokens.
    pub name: String,
    /// The keys in force.
    pub keys: Vec<IssuerKey>,
}

/// What the cluster says about a token that it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewedToken {
    /// The user name of its holder.
    pub user: String,
    /// Those of the requested audiences that the token is for.
    pub audiences: Vec<String>,
}

/// What a caller wants to do with `services.portolan.dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessVerb {
    /// Read them.
    List,
    /// Register a new one.
    Create,
    /// Change one: its instances, their health, drains and acknowledgements.
    Update,
    /// Remove one.
    Delete,
}

impl AccessVerb {
    /// As RBAC names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for AccessVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the cluster says nothing about a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It does not answer.
    #[error("the Kubernetes API does not answer")]
    NoAnswer,
    /// It refuses to say, most likely for lack of rights.
    #[error("the Kubernetes API refuses to say: {0}")]
    Refused(String),
}

/// The cluster's word on its ServiceAccounts. Each call is one or two requests to the Kubernetes API and takes at most a few seconds.
pub trait Authority: Send + Sync + 'static {
    /// Who signs tokens now.
    fn issuer(&self) -> BoxFuture<'static, Result<TokenIssuer, AuthorityError>>;

    /// Whether the token is in force for one of `audiences`: its ServiceAccount, and the pod that it is bound to, still exist. None if not.
    fn review(
        &self,
        token: SecretString,
        audiences: Arc<[String]>,
    ) -> BoxFuture<'static, Result<Option<ReviewedToken>, AuthorityError>>;

    /// Whether the account may do that in a namespace, or, without one, in all.
    fn allows(
        &self,
        account: Arc<ServiceAccount>,
        verb: AccessVerb,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'static, Result<bool, AuthorityError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_says_which_account_it_is() {
        let account =
            ServiceAccount { namespace: "shop".parse().expect("a label"), name: "a.b".into(), uid: String::new() };
        assert_eq!(account.user(), "system:serviceaccount:shop:a.b");
        assert_eq!(ServiceAccount::parse(&account.user()), Some((account.namespace.clone(), "a.b")));
        assert_eq!(account.groups()[1], "system:serviceaccounts:shop");
        for other in ["", "ada", "system", "shop", "shop:", ":a", "Sho p:a"] {
            assert_eq!(ServiceAccount::parse(other), None, "{other}");
            assert_eq!(ServiceAccount::parse(&format!("{PREFIX}{other}")), None, "{other}");
        }
    }
}
