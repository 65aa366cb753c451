//! Decides when to ask the cluster about a ServiceAccount: before every change, whether its token is still valid; before access to another
//! namespace, whether RBAC allows it. Nobody else waits here.

use std::sync::Arc;

use futures::future::try_join_all;
use http::request::Parts;

use super::Accounts;
use super::reviews::{Need, ReviewError};
use crate::api::access::Access;
use crate::api::access::authorization::token_of;
use crate::api::access::challenges;
use crate::api::access::class::RouteClass;
use crate::api::access::principal::{Namespaces, Principal};
use crate::api::access::token_error::TokenError;
use crate::api::http::envelope::{ApiError, Code};
use crate::model::name::Namespace;
use crate::model::ports::{AccessVerb, AuthorityError, ServiceAccount};

/// Seconds after which to try again while the Kubernetes API does not answer.
const AWAY_RETRY: u64 = 5;
/// The same while it refuses Portolan's questions.
const REFUSED_RETRY: u64 = 30;
/// Most namespaces that one request asks about; beyond that, whether its caller may list in all. Each that is refused counts in the limit of
/// refusals of its account.
const MAX_ASKED: usize = 8;

/// The services that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Place {
    /// None, or not known before its body is read.
    Unknown,
    /// Those of these namespaces, each once.
    In(Vec<Namespace>),
    /// Those of every namespace that the caller may see.
    All,
}

impl Place {
    /// The namespaces that `own` lacks; `None` stands for all namespaces.
    fn lacking(self, own: &Namespaces) -> Vec<Option<Namespace>> {
        let Self::In(namespaces) = self else { return if self == Self::All { vec![None] } else { Vec::new() } };
        let lacking: Vec<_> = namespaces.into_iter().filter(|one| !own.contains(one.as_str())).map(Some).collect();
        if lacking.len() > MAX_ASKED { vec![None] } else { lacking }
    }
}

impl Access {
    /// Completes [`Self::admit`] with what only the cluster knows, before the body is read: refuses a token that it no longer accepts, and adds
    /// the namespaces that RBAC allows to the caller's own. Returns at once unless the caller is a ServiceAccount.
    ///
    /// # Errors
    /// 401 `token_invalid`; 403 `insufficient_scope` for metrics; 503 `unavailable` or `busy`.
    pub(in crate::api) async fn authorize(
        &self,
        head: &Parts,
        class: RouteClass,
        (place, verb): (Place, AccessVerb),
        principal: &mut Principal,
    ) -> Result<(), ApiError> {
        let Some((accounts, account)) = self.account(principal) else { return Ok(()) };
        match class {
            // Whether a registration only renews is known from its body.
            RouteClass::Heartbeat | RouteClass::Register => {
                accounts.confirm(head, &account, Need::Renewal, class).await?;
            }
            _ if class.is_change() => accounts.confirm(head, &account, Need::Write, class).await?,
            RouteClass::OpenRead | RouteClass::Watch if principal.open_reads => return Ok(()),
            _ => {}
        }
        let need = match class {
            RouteClass::Heartbeat => Need::Renewal,
            _ if verb == AccessVerb::List => Need::Read,
            _ => Need::Write,
        };
        let lacking = place.lacking(&principal.namespaces);
        let asked = lacking.iter().map(|namespace| accounts.allows(&account, (verb, namespace.as_ref()), need));
        let allowed = try_join_all(asked).await?;
        for (namespace, _) in lacking.into_iter().zip(allowed).filter(|(_, allowed)| *allowed) {
            match &namespace {
                Some(one) => principal.namespaces.add(one),
                None => principal.namespaces = Namespaces::All,
            }
            principal.granted.push((verb, namespace));
        }
        if class == RouteClass::Metrics && !principal.reads_all() {
            return Err(challenges::metrics_of_account(&account));
        }
        Ok(())
    }

    /// Whether the caller may register in a namespace, which is known from the body. `renews` where the registration changes nothing.
    ///
    /// # Errors
    /// 403 `namespace_forbidden`; as for [`Self::authorize`].
    pub(in crate::api) async fn authorize_registration(
        &self,
        head: &Parts,
        principal: &Principal,
        (namespace, verb): (&Namespace, AccessVerb),
        renews: bool,
    ) -> Result<(), ApiError> {
        let Some((accounts, account)) = self.account(principal) else {
            return principal.require_write(namespace.as_str());
        };
        if !renews {
            accounts.confirm(head, &account, Need::Write, RouteClass::Register).await?;
        }
        let need = if renews { Need::Renewal } else { Need::Write };
        if principal.may_write(namespace.as_str()) || accounts.allows(&account, (verb, Some(namespace)), need).await? {
            return Ok(());
        }
        Err(principal.outside(namespace.as_str(), verb))
    }

    fn account(&self, principal: &Principal) -> Option<(&Accounts, Arc<ServiceAccount>)> {
        let accounts = self.authenticator.as_ref()?.accounts.as_ref()?;
        Some((accounts, principal.account.clone()?))
    }
}

impl Accounts {
    async fn confirm(
        &self,
        head: &Parts,
        account: &ServiceAccount,
        need: Need,
        class: RouteClass,
    ) -> Result<(), ApiError> {
        // It was read from the same headers before.
        let token = token_of(&head.headers).map_err(|refusal| challenges::unauthorized(refusal, class))?;
        self.reviews.require_token(token, account, need).await.map_err(|error| refused(&error, class))
    }

    async fn allows(
        &self,
        account: &Arc<ServiceAccount>,
        what: (AccessVerb, Option<&Namespace>),
        need: Need,
    ) -> Result<bool, ApiError> {
        let allows = self.reviews.allows(account, what, need).await;
        allows.map_err(|error| refused(&error, RouteClass::TokenRead))
    }
}

fn refused(error: &ReviewError, class: RouteClass) -> ApiError {
    match error {
        ReviewError::Revoked => challenges::unauthorized(Some(TokenError::Revoked), class),
        ReviewError::Busy => {
            let message = "too many requests wait for what the Kubernetes API says about their callers; try again";
            ApiError::new(Code::Busy, message).retry_after(1)
        }
        ReviewError::Authority(AuthorityError::NoAnswer) => {
            let message = "the Kubernetes API does not answer, and only it can say what the caller may do; try again";
            ApiError::new(Code::Unavailable, message).retry_after(AWAY_RETRY)
        }
        ReviewError::Authority(AuthorityError::Refused(why)) => {
            let message = format!("Portolan cannot ask the Kubernetes API about the caller: {why}");
            let hint = "Portolan's ServiceAccount may need create on tokenreviews and subjectaccessreviews, which deploy/overlays/cluster gives it";
            ApiError::new(Code::Unavailable, message).hint(hint).retry_after(REFUSED_RETRY)
        }
    }
}
