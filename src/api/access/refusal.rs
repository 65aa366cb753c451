//! What a token's holder is told when the token does not do.

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::class::RouteClass;
use super::principal::Principal;
use super::token::TokenError;
use crate::api::envelope::{ApiError, Code};

/// Whether the token's scope covers what is asked.
pub(super) fn require_scope(principal: &Principal, class: RouteClass, read_auth: bool) -> Result<(), ApiError> {
    if !principal.authenticated {
        return Ok(());
    }
    let scopes = principal.scopes;
    let (granted, scope) = match class {
        RouteClass::Preflight | RouteClass::Operations | RouteClass::Public => return Ok(()),
        RouteClass::OpenRead | RouteClass::Watch if !read_auth => return Ok(()),
        RouteClass::Register | RouteClass::Deregister | RouteClass::Check => (scopes.register, "register"),
        RouteClass::OpenRead | RouteClass::Watch | RouteClass::TokenRead | RouteClass::Probing => (scopes.read, "read"),
        // What is not its own is refused where the service is known, in the same words.
        RouteClass::ServiceRead => (scopes.read || scopes.register, "read"),
        RouteClass::Metrics => (principal.reads_all(), "read"),
    };
    if granted { Ok(()) } else { Err(insufficient_scope(class, scope)) }
}

/// 403: the token's scope does not have `scope`.
pub(super) fn insufficient_scope(class: RouteClass, scope: &str) -> ApiError {
    let message = if class == RouteClass::Metrics {
        "metrics name every service: ask with a token whose scope has read and whose namespaces are [\"*\"]".to_owned()
    } else {
        format!("this needs the scope {scope}; ask for a token whose scope has it")
    };
    let challenge = format!("Bearer realm=\"portolan\", error=\"insufficient_scope\", scope=\"{scope}\"");
    let challenge = HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    ApiError::new(Code::InsufficientScope, message).header(WWW_AUTHENTICATE, challenge)
}

/// The seed's words for a token that is missing or not good.
pub(super) fn unauthorized(refusal: Option<TokenError>) -> ApiError {
    let (code, message) = match refusal {
        None => (Code::TokenRequired, "Authorization header required"),
        Some(TokenError::Expired) => (Code::TokenExpired, "Invalid token"),
        Some(_) => (Code::TokenInvalid, "Invalid token"),
    };
    ApiError::new(code, message).header(WWW_AUTHENTICATE, challenge(refusal))
}

/// [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3): no error word where no token came.
fn challenge(refusal: Option<TokenError>) -> HeaderValue {
    let text = match refusal {
        None => "Bearer realm=\"portolan\"".to_owned(),
        Some(why) => format!("Bearer realm=\"portolan\", error=\"invalid_token\", error_description=\"{why}\""),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}
