//! Tokens of the cluster's ServiceAccounts.
//!
//! In: a token, and the [`Authority`] of the cluster. Out: its holder; later, for writes and for other namespaces, whether the cluster still
//! accepts the token and what its holder may do. Read in this order:
//!
//! 1. `keys`: the cluster's public keys, and the task that keeps them current.
//! 2. `claims`: verifies a token with them, at once and without a request.
//! 3. `reviews`: asks the cluster, with `recent` for its answers.
//! 4. `authorize`: which requests that is needed for.

mod authorize;
mod claims;
mod keys;
mod recent;
mod reviews;

use std::sync::Arc;
use std::time::Duration;

pub(in crate::api) use authorize::Place;
pub use keys::KeysRefresher;

use super::token::{AUDIENCE, Bearer};
use super::token_cache::TokenCache;
use super::token_error::TokenError;
use crate::model::ports::Authority;
use crate::model::time::{Clock, Now};
use crate::telemetry::metrics::Metrics;
use claims::AccountRules;
use keys::AccountKeys;
use reviews::Reviews;

/// Verifies tokens of ServiceAccounts.
pub(super) struct Accounts {
    pub(super) keys: Arc<AccountKeys>,
    rules: AccountRules,
    cache: TokenCache,
    reviews: Reviews,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Accepts tokens for [`AUDIENCE`] or one of `audiences` that end within `longest`.
    pub(super) fn new(
        authority: Arc<dyn Authority>,
        audiences: Vec<String>,
        longest: Duration,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let audiences: Arc<[String]> = std::iter::once(AUDIENCE.to_owned()).chain(audiences).collect();
        Self {
            keys: Arc::new(AccountKeys::new(Arc::clone(&authority))),
            rules: AccountRules { audiences: Arc::clone(&audiences), longest },
            cache: TokenCache::default(),
            reviews: Reviews::new(authority, audiences, metrics, clock),
        }
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
