//! Refusals of a token, with the challenge that says which token would be accepted.

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::class::RouteClass;
use super::principal::{Namespaces, Principal};
use super::token_error::TokenError;
use super::token_validity::TokenEnd;
use crate::api::http::envelope::{ApiError, Code};
use crate::model::name::Namespace;
use crate::model::owner::CERTIFICATE_ISSUER;
use crate::model::ports::{AccessVerb, ServiceAccount};

/// Longest list of namespaces in a challenge, in bytes.
const MAX_NAMED: usize = 1024;
/// Seconds after which to try again while the keys of the cluster's tokens are unknown.
const KEYS_RETRY: u64 = 2;

impl Principal {
    /// [`Self::may_write`] as an answer.
    ///
    /// # Errors
    /// 403 `namespace_forbidden`.
    pub fn require_write(&self, namespace: &str) -> Result<(), ApiError> {
        if self.may_write(namespace) { Ok(()) } else { Err(self.outside(namespace, AccessVerb::Update)) }
    }

    /// The refusal to do that in a namespace that the token does not cover: 403 `namespace_forbidden`.
    pub fn outside(&self, namespace: &str, verb: AccessVerb) -> ApiError {
        match &self.account {
            None => outside(&self.namespaces, namespace, self.owner.kind()),
            Some(account) => outside_of_account(account, namespace, verb),
        }
    }
}

/// Whether the token's scope covers the request.
pub(super) fn require_scope(principal: &Principal, class: RouteClass, read_auth: bool) -> Result<(), ApiError> {
    if !principal.authenticated {
        return Ok(());
    }
    let scopes = principal.scopes;
    let (granted, scope) = match class {
        RouteClass::Preflight | RouteClass::Operations | RouteClass::Public | RouteClass::Unrouted => return Ok(()),
        RouteClass::OpenRead | RouteClass::Watch if !read_auth => return Ok(()),
        RouteClass::Register
        | RouteClass::Deregister
        | RouteClass::Check
        | RouteClass::Drain
        | RouteClass::Acknowledge
        | RouteClass::Heartbeat => (scopes.register, "register"),
        RouteClass::OpenRead | RouteClass::Watch | RouteClass::TokenRead | RouteClass::Probing => (scopes.read, "read"),
        // Services of other owners are refused where the service is known, with the same message.
        RouteClass::ServiceRead => (scopes.read || scopes.register, "read"),
        // An account's own namespace is all that its token says; what RBAC adds is asked later, by `authorize`.
        RouteClass::Metrics => (principal.reads_all() || principal.account.is_some(), "read"),
    };
    if granted { Ok(()) } else { Err(insufficient_scope(class, scope)) }
}

/// 403: the token lacks `scope`.
pub(super) fn insufficient_scope(class: RouteClass, scope: &str) -> ApiError {
    let message = if class == RouteClass::Metrics {
        "metrics name every service: send a token with the scope read and the namespaces [\"*\"]".to_owned()
    } else {
        format!("this request needs the scope {scope}, which the token lacks")
    };
    let namespaces = if class == RouteClass::Metrics { ", namespaces=\"*\"" } else { "" };
    let challenge = challenge(&format!("error=\"insufficient_scope\", scope=\"{scope}\"{namespaces}"));
    ApiError::new(Code::InsufficientScope, message).header(WWW_AUTHENTICATE, challenge)
}

/// 403: the token does not cover `namespace`. The challenge names the namespaces of a token that would: the present ones and this one.
pub(super) fn outside(covered: &Namespaces, namespace: &str, kind: &'static str) -> ApiError {
    let message = if kind == CERTIFICATE_ISSUER {
        format!(
            "this client certificate does not cover the namespace {namespace}; a token whose namespaces name it does"
        )
    } else {
        format!("this token does not cover the namespace {namespace}; its namespaces must name it")
    };
    let covered = if let Namespaces::Only(list) = covered { &**list } else { &[] };
    let named = covered.iter().map(|name| &**name).filter(|name| name.parse::<Namespace>().is_ok());
    let mut needed = named.chain([namespace]).collect::<Vec<_>>().join(" ");
    if needed.len() > MAX_NAMED {
        namespace.clone_into(&mut needed);
    }
    let challenge = challenge(&format!("error=\"insufficient_scope\", namespaces=\"{needed}\""));
    ApiError::new(Code::NamespaceForbidden, message).header(WWW_AUTHENTICATE, challenge)
}

/// 403: RBAC does not allow the account to do that in `namespace`. No other token would help.
fn outside_of_account(account: &ServiceAccount, namespace: &str, verb: AccessVerb) -> ApiError {
    let role = if verb == AccessVerb::List { "portolan-viewer" } else { "portolan-writer" };
    let message = format!("{} may not do this in the namespace {namespace}, which is not its own", account.user());
    let hint = format!(
        "a RoleBinding allows it: kubectl create rolebinding portolan-{} -n {namespace} --clusterrole={role} --serviceaccount={}:{}",
        account.name, account.namespace, account.name
    );
    ApiError::new(Code::NamespaceForbidden, message).hint(hint)
}

/// 403: RBAC does not allow the account to list services in every namespace, as the metrics need. No other token would help.
pub(super) fn metrics_of_account(account: &ServiceAccount) -> ApiError {
    let message = format!("metrics name every service, and {} may not list services in all namespaces", account.user());
    let hint = format!(
        "a ClusterRoleBinding allows it: kubectl create clusterrolebinding portolan-{0}-{1} --clusterrole=portolan-viewer --serviceaccount={0}:{1}",
        account.namespace, account.name
    );
    ApiError::new(Code::InsufficientScope, message).hint(hint)
}

/// 401 with the legacy gateway's message, and the reason in a hint.
pub(super) fn unauthorized(refusal: Option<TokenError>, class: RouteClass) -> ApiError {
    let scope = if class.is_change() { "register" } else { "read" };
    // RFC 6750 §3: no error code where no token was sent.
    let Some(why) = refusal else {
        let hint = format!("send a token whose scope has {scope}, as Authorization: Bearer TOKEN");
        let error = ApiError::new(Code::TokenRequired, "Authorization header required").hint(hint);
        return error.header(WWW_AUTHENTICATE, challenge(&format!("scope=\"{scope}\"")));
    };
    if why == TokenError::KeysUnknown {
        return ApiError::new(why.code(), why.to_string()).retry_after(KEYS_RETRY);
    }
    let more = format!("error=\"invalid_token\", error_description=\"{why}\", scope=\"{scope}\"");
    let error = ApiError::new(why.code(), "Invalid token").hint(why.to_string());
    error.header(WWW_AUTHENTICATE, challenge(&more))
}

/// 401: the token became invalid while its request waited; 403 if its holder lost a right.
pub(in crate::api) fn token_ended(end: TokenEnd) -> ApiError {
    if end == TokenEnd::Withdrawn {
        return ApiError::new(end.code(), end.to_string());
    }
    let challenge = challenge(&format!("error=\"invalid_token\", error_description=\"{end}\", scope=\"read\""));
    ApiError::new(end.code(), "Invalid token").hint(end.to_string()).header(WWW_AUTHENTICATE, challenge)
}

/// [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3), with `namespaces` beside its `scope`.
fn challenge(more: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer realm=\"portolan\", {more}")).unwrap_or(HeaderValue::from_static("Bearer"))
}
