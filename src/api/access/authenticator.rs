//! Verifies the token of an `Authorization` header.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap};

use super::secrets::Secrets;
use super::token::{Bearer, TokenError, TokenRules};
use super::token_cache::TokenCache;
use crate::model::time::Now;

/// Verifies tokens, where auth is on.
#[derive(Debug)]
pub(super) struct Authenticator {
    pub(super) secrets: Arc<Secrets>,
    rules: TokenRules,
    cache: TokenCache,
}

impl Authenticator {
    pub(super) fn new(secrets: Secrets, rules: TokenRules) -> Self {
        Self { secrets: Arc::new(secrets), rules, cache: TokenCache::default() }
    }

    /// The request's token, verified; `Err(None)` when there is none.
    pub(super) fn bearer(&self, headers: &HeaderMap, now: Now) -> Result<Bearer, Option<TokenError>> {
        let token = token_of(headers)?;
        let keys = self.secrets.current(now.steady);
        if let Some(bearer) = self.cache.get(token, keys.generation, now.wall) {
            return Ok(bearer);
        }
        let bearer = self.rules.verify(token, &keys, now.wall)?;
        self.cache.put(token, &bearer, keys.generation, now.wall);
        Ok(bearer)
    }
}

/// `Authorization: Bearer <token>`, or the token alone, as the legacy gateway took it.
fn token_of(headers: &HeaderMap) -> Result<&str, Option<TokenError>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|value| !value.is_empty()).ok_or(None)?;
    if values.next().is_some() {
        return Err(Some(TokenError::Several));
    }
    let text = value.to_str().map_err(|_| Some(TokenError::Malformed))?;
    Ok(match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    })
}
