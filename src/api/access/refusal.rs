//! What a token's holder is told when the token does not do.

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::class::RouteClass;
use super::principal::{Namespaces, Principal};
use super::token::TokenError;
use crate::api::envelope::{ApiError, Code};
use crate::model::name::Namespace;

/// Longest list of namespaces in a challenge, in bytes.
const MAX_NAMED: usize = 1024;

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
        format!("this token's scope lacks {scope}, which this needs")
    };
    let namespaces = if class == RouteClass::Metrics { ", namespaces=\"*\"" } else { "" };
    let challenge = challenge(&format!("error=\"insufficient_scope\", scope=\"{scope}\"{namespaces}"));
    ApiError::new(Code::InsufficientScope, message).header(WWW_AUTHENTICATE, challenge)
}

/// 403: none of the token's namespaces is `namespace`. The challenge names those of a token that would do, the present ones with it.
pub(super) fn outside(covered: &Namespaces, namespace: &str) -> ApiError {
    let message = format!("this token does not cover the namespace {namespace}; its namespaces must name it");
    let covered = if let Namespaces::Only(list) = covered { &**list } else { &[] };
    let named = covered.iter().map(|name| &**name).filter(|name| name.parse::<Namespace>().is_ok());
    let mut wanted = named.chain([namespace]).collect::<Vec<_>>().join(" ");
    if wanted.len() > MAX_NAMED {
        namespace.clone_into(&mut wanted);
    }
    let challenge = challenge(&format!("error=\"insufficient_scope\", namespaces=\"{wanted}\""));
    ApiError::new(Code::NamespaceForbidden, message).header(WWW_AUTHENTICATE, challenge)
}

/// The seed's words for a token that is missing or not good, and why in a hint.
pub(super) fn unauthorized(refusal: Option<TokenError>, class: RouteClass) -> ApiError {
    let scope = if class.is_change() { "register" } else { "read" };
    // RFC 6750 §3: no error word where no token came.
    let Some(why) = refusal else {
        let hint = format!("send a token whose scope has {scope}, as Authorization: Bearer TOKEN");
        let error = ApiError::new(Code::TokenRequired, "Authorization header required").hint(hint);
        return error.header(WWW_AUTHENTICATE, challenge(&format!("scope=\"{scope}\"")));
    };
    let more = format!("error=\"invalid_token\", error_description=\"{why}\", scope=\"{scope}\"");
    let error = ApiError::new(why.code(), "Invalid token").hint(why.to_string());
    error.header(WWW_AUTHENTICATE, challenge(&more))
}

/// [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3), with `namespaces` beside its `scope`.
fn challenge(more: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer realm=\"portolan\", {more}")).unwrap_or(HeaderValue::from_static("Bearer"))
}
