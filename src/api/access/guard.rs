//! From an `Authorization` header to what its token says.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap};

use super::cache::TokenCache;
use super::secrets::Secrets;
use super::token::{Bearer, TokenError, TokenRules};
use crate::model::time::Now;

/// Auth, where it is on.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) secrets: Arc<Secrets>,
    rules: TokenRules,
    known: TokenCache,
}

impl Guard {
    pub(super) fn new(secrets: Secrets, rules: TokenRules) -> Self {
        Self { secrets: Arc::new(secrets), rules, known: TokenCache::default() }
    }

    /// What the request's token says; `Err(None)` when there is none.
    pub(super) fn bearer(&self, headers: &HeaderMap, now: Now) -> Result<Bearer, Option<TokenError>> {
        let token = token_of(headers)?;
        let keys = self.secrets.current(now.steady);
        if let Some(bearer) = self.known.get(token, keys.generation, now.wall) {
            return Ok(bearer);
        }
        let bearer = self.rules.verify(token, &keys, now.wall)?;
        self.known.put(token, &bearer, keys.generation, now.wall);
        Ok(bearer)
    }
}

/// `Authorization: Bearer <token>`, or the token alone as the seed took it.
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
