//! The token in a request's `Authorization` header.

use http::header::{AUTHORIZATION, HeaderMap};

use super::token_error::TokenError;

/// `Authorization: Bearer <token>`, or the token alone, as the legacy gateway took it.
pub(super) fn token_of(headers: &HeaderMap) -> Result<&str, Option<TokenError>> {
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
