//! Tokens of the cluster's ServiceAccounts.
//!
//! In: a token, and the [`Authority`] of the cluster. Out: its holder; later, for writes and for other namespaces, whether the cluster still
//! accepts the token and what its holder may do. Read in this order:
//!
//! 1. `keys`: the cluster's public keys, and the task that keeps them current; `kept_keys` is their file.
//! 2. `claims`: verifies a token with them, at once and without a request.
//! 3. `reviews`: what the cluster says, with `questions` for what it is being asked and `recent` for its answers.
//! 4. `authorize`: which requests that is needed for.

mod authorize;
mod claims;
mod kept_keys;
mod keys;
mod questions;
mod recent;
mod reviews;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(in crate::api) use authorize::Place;
pub use keys::KeysRefresher;
use tokio_util::sync::CancellationToken;

use super::token::{AUDIENCE, Bearer};
use super::token_cache::TokenCache;
use super::token_error::TokenError;
use super::token_validity::Right;
use crate::model::name::Namespace;
use crate::model::ports::{AccessVerb, Authority, ServiceAccount};
use crate::model::time::{Clock, Now};
use crate::telemetry::metrics::Metrics;
use claims::AccountRules;
use keys::AccountKeys;
use reviews::{GrantedRights, Reviews};

/// Which tokens of ServiceAccounts are accepted.
#[derive(Debug, Clone, Default)]
pub struct AccountSettings {
    /// Audiences besides [`AUDIENCE`].
    pub audiences: Vec<String>,
    /// Issuers besides the one that the API server publishes, such as the one before it.
    pub issuers: Vec<String>,
    /// Where the cluster's public keys are kept for a restart while the Kubernetes API is away; none to forget them.
    pub keys_file: Option<PathBuf>,
}

/// Verifies tokens of ServiceAccounts.
pub(super) struct Accounts {
    pub(super) keys: Arc<AccountKeys>,
    rules: AccountRules,
    cache: TokenCache,
    reviews: Arc<Reviews>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Asks the cluster about callers.
#[derive(Debug)]
pub struct Reviewer(Arc<Reviews>);

impl Reviewer {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// Never fails; questions may go without an answer.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        self.0.run(shutdown).await;
        Ok(())
    }
}

impl Accounts {
    /// Accepts tokens that end within `longest`.
    pub(super) fn new(
        authority: Arc<dyn Authority>,
        settings: AccountSettings,
        longest: Duration,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let AccountSettings { audiences, issuers, keys_file } = settings;
        let audiences: Arc<[String]> = std::iter::once(AUDIENCE.to_owned()).chain(audiences).collect();
        Self {
            keys: Arc::new(AccountKeys::new(Arc::clone(&authority), keys_file, clock.clone())),
            rules: AccountRules { audiences: Arc::clone(&audiences), issuers: issuers.into(), longest },
            cache: TokenCache::default(),
            reviews: Arc::new(Reviews::new(authority, audiences, metrics, clock)),
        }
    }

    /// The task that asks the cluster.
    pub(super) fn reviewer(&self) -> Reviewer {
        Reviewer(Arc::clone(&self.reviews))
    }

    /// The rights that `account` was granted, for an answer that must end with any of them.
    pub(super) fn granted(
        &self,
        account: Arc<ServiceAccount>,
        rights: &[(AccessVerb, Option<Namespace>)],
    ) -> Arc<dyn Right> {
        Arc::new(GrantedRights::new(Arc::clone(&self.reviews), account, rights))
    }

    /// What the token says, if it was verified before with the keys that are in force.
    pub(super) fn known(&self, token: &str, now: Now) -> Option<Bearer> {
        self.cache.get(token, self.keys.current().generation, now.wall)
    }

    /// Verifies the token.
    pub(super) fn verify(&self, token: &str, now: Now) -> Result<Bearer, TokenError> {
        let issuer = self.keys.current();
        let verified = self.rules.verify(token, &issuer, now.wall);
        match &verified {
            Ok(bearer) => self.cache.put(token, bearer, issuer.generation, now.wall),
            Err(TokenError::Key) => self.keys.look_for_new(),
            Err(_) => {}
        }
        verified
    }
}
