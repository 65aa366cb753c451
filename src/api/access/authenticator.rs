//! Verifies the token of a request.

use std::sync::Arc;

use http::header::HeaderMap;
use jsonwebtoken::Algorithm;

use super::accounts::Accounts;
use super::authorization::token_of;
use super::secrets::Secrets;
use super::token::{Bearer, MAX_TOKEN, TokenRules, why};
use super::token_cache::TokenCache;
use super::token_error::TokenError;
use super::token_validity::Keyring;
use crate::api::file_work::FileWork;
use crate::model::time::Now;

/// Verifies tokens, where auth is on: with secrets, with the cluster's keys, or with both.
#[derive(Debug)]
pub(super) struct Authenticator {
    pub(super) secrets: Option<Arc<Secrets>>,
    pub(super) secret_files: FileWork,
    pub(super) accounts: Option<Accounts>,
    rules: TokenRules,
    cache: TokenCache,
}

impl Authenticator {
    pub(super) fn new(secrets: Option<Secrets>, accounts: Option<Accounts>, rules: TokenRules) -> Self {
        let secret_files = FileWork::new("the file with the secrets");
        Self { secrets: secrets.map(Arc::new), secret_files, accounts, rules, cache: TokenCache::default() }
    }

    /// The request's token, verified; `Err(None)` when there is none.
    pub(super) fn bearer(&self, headers: &HeaderMap, now: Now) -> Result<Bearer, Option<TokenError>> {
        let token = token_of(headers)?;
        let Some(accounts) = &self.accounts else { return self.by_secret(token, now).map_err(Some) };
        if let Some(bearer) = accounts.known(token, now) {
            return Ok(bearer);
        }
        if names_public_key(token) {
            return accounts.verify(token, now).map_err(Some);
        }
        let bearer = self.by_secret(token, now);
        bearer.map_err(|error| Some(if error == TokenError::Algorithm { TokenError::AnyAlgorithm } else { error }))
    }

    fn by_secret(&self, token: &str, now: Now) -> Result<Bearer, TokenError> {
        let keys = self.secrets.as_ref().map(|secrets| secrets.current());
        let Some(keys) = keys.filter(|keys| !keys.verify.is_empty()) else { return Err(without_secret(token)) };
        if let Some(bearer) = self.cache.get(token, keys.generation, now.wall) {
            return Ok(bearer);
        }
        let bearer = self.rules.verify(token, &keys, now.wall)?;
        self.cache.put(token, &bearer, keys.generation, now.wall);
        Ok(bearer)
    }

    /// What the validity of a verified token depends on.
    pub(super) fn keyring(&self, of_account: bool) -> Option<Arc<dyn Keyring>> {
        if of_account {
            self.accounts.as_ref().map(|accounts| Arc::clone(&accounts.keys) as _)
        } else {
            self.secrets.as_ref().map(|secrets| Arc::clone(secrets) as _)
        }
    }
}

/// Whether the token's header names an algorithm of the cluster's keys. Which of both verifies a token follows from that alone, so neither
/// takes the other's.
fn names_public_key(token: &str) -> bool {
    let header = (token.len() <= MAX_TOKEN).then(|| jsonwebtoken::decode_header(token).ok()).flatten();
    header.is_some_and(|header| matches!(header.alg, Algorithm::RS256 | Algorithm::ES256))
}

/// Why a token is refused where there is no secret.
fn without_secret(token: &str) -> TokenError {
    if token.len() > MAX_TOKEN {
        return TokenError::Malformed;
    }
    match jsonwebtoken::decode_header(token) {
        Ok(header) if header.alg == Algorithm::HS256 => TokenError::NoSecret,
        Ok(_) => TokenError::Algorithm,
        Err(error) => why(error.kind(), token),
    }
}
