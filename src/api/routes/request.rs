//! A request as its handler gets it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Response;
use http::request::Parts;
use serde::Serialize;
use uuid::Uuid;

use super::subject::Subject;
use crate::api::access::{Access, Principal};
use crate::api::conn::RequestBody;
use crate::api::http::body::Body;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::http::json;
use crate::api::http::query::Query;
use crate::api::http::rendering::Renderings;
use crate::api::http::reply;
use crate::api::state::ApiState;
use crate::api::watch::{AnswerCursor, LongPoll, Waiting};
use crate::catalog::{Batch, Entry, Snapshot};
use crate::model::service::Service;

/// Seconds after which to ask a replica again that does not know every service yet.
const INCOMPLETE_RETRY_SECONDS: u64 = 2;

/// The parameters of a path; empty where the route has none of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::api) struct Params<'a> {
    pub(in crate::api) id: &'a str,
    pub(in crate::api) name: &'a str,
}

/// What a handler gets besides a body.
#[derive(Clone, Copy)]
pub(in crate::api) struct RequestContext<'a> {
    pub(in crate::api) state: &'a ApiState,
    /// Bounds what is rendered on a thread of its own.
    pub(in crate::api) renderings: &'a Renderings,
    pub(in crate::api) head: &'a Parts,
    pub(in crate::api) params: Params<'a>,
    /// Most bytes of the body.
    pub(in crate::api) max_body: usize,
    /// The caller.
    pub(in crate::api) principal: &'a Principal,
    /// The client's address, past the trusted proxies.
    pub(in crate::api) client: IpAddr,
    /// Gets what the handler knows of a write.
    pub(in crate::api) audit: &'a Subject,
    /// The caller's quota is spent: nothing may change, and only a renewal or a 304 is sent.
    pub(in crate::api) renewals_only: bool,
}

impl<'a> RequestContext<'a> {
    /// The parameters after the `?`.
    ///
    /// # Errors
    /// 400 when they cannot be read.
    pub(super) fn query(&self) -> Result<Query<'a>, ApiError> {
        Query::read(self.head.uri.query())
    }

    /// The same, of which `name` may come several times.
    ///
    /// # Errors
    /// As for [`Self::query`].
    pub(super) fn query_repeating(&self, name: &str) -> Result<Query<'a>, ApiError> {
        Query::read_repeating(self.head.uri.query(), name)
    }

    /// Waits as a long poll asks; see [`LongPoll::wait`].
    ///
    /// # Errors
    /// As there, and 429 `rate_limited` once the caller's quota is spent.
    pub(super) async fn wait(
        &self,
        poll: LongPoll,
        cursor: impl Fn(&Snapshot) -> AnswerCursor,
        concerns: impl Fn(&Batch) -> bool,
        news: impl Fn() -> BoxFuture<'static, ()>,
    ) -> Result<(), ApiError> {
        if self.renewals_only {
            return Err(ApiError::rate_limited());
        }
        let ApiState { catalog, watches, metrics, access, .. } = self.state;
        let validity = access.token_validity(self.principal);
        let waiting = Waiting { catalog, watches, metrics, client: self.client, validity };
        poll.wait(waiting, cursor, concerns, news).await
    }

    /// The bytes of a JSON body.
    ///
    /// # Errors
    /// 415 when it is not declared as plain JSON, 413 over [`Self::max_body`], 408 or 400 when it breaks off.
    pub(super) async fn json(&self, body: RequestBody) -> Result<Bytes, ApiError> {
        json::require_json(&self.head.headers)?;
        body.read(self.max_body).await
    }

    /// The bytes of a JSON body that may be absent.
    ///
    /// # Errors
    /// As for [`Self::json`].
    pub(super) async fn optional_json(&self, body: RequestBody) -> Result<Bytes, ApiError> {
        let bytes = body.read(self.max_body).await?;
        if !bytes.is_empty() {
            json::require_json(&self.head.headers)?;
        }
        Ok(bytes)
    }

    /// Reads a body that may be absent or an object without fields.
    ///
    /// # Errors
    /// As for [`Self::json`], and 400 `invalid_payload`.
    pub(super) async fn no_fields(&self, body: RequestBody) -> Result<(), ApiError> {
        let bytes = self.optional_json(body).await?;
        if bytes.is_empty() { Ok(()) } else { json::require_no_fields(&bytes) }
    }

    /// The service with the id of the path, if the caller may read or write in its namespace. Owners are judged later.
    ///
    /// # Errors
    /// 404 "Service not found", also for a text that is not an id.
    pub(super) fn service(&self, snapshot: &Snapshot) -> Result<Arc<Entry>, ApiError> {
        let entry = read_id(self.params.id).and_then(|id| snapshot.by_id(&id));
        let visible = entry.filter(|entry| self.principal.may_name(entry.service().key.namespace()));
        visible.cloned().ok_or_else(ApiError::service_not_found)
    }

    /// The service with the id of the path, to be shown. A token without the scope `read` gets it only with an instance of its own.
    ///
    /// # Errors
    /// 404 "Service not found"; 403 `insufficient_scope`, whether or not it exists.
    pub(super) fn readable_service(&self, snapshot: &Snapshot) -> Result<Arc<Entry>, ApiError> {
        let entry = self.service(snapshot);
        if self.principal.reads_others() {
            let readable = |entry: &Arc<Entry>| self.principal.may_read(entry.service().key.namespace());
            return entry
                .and_then(|entry| if readable(&entry) { Ok(entry) } else { Err(ApiError::service_not_found()) });
        }
        let own = |entry: &Arc<Entry>| {
            let service = entry.service();
            self.principal.may_write(service.key.namespace()) && self.owns_an_instance(service)
        };
        entry.ok().filter(own).ok_or_else(Access::only_own)
    }

    /// Whether the answer to a write may show the service: to a caller that reads its namespace, or owns one of its instances.
    pub(super) fn may_see(&self, service: &Service) -> bool {
        self.principal.may_read(service.key.namespace()) || self.owns_an_instance(service)
    }

    fn owns_an_instance(&self, service: &Service) -> bool {
        service.instances.iter().any(|instance| instance.owner == self.principal.owner)
    }

    /// 200 with a service whole, and where `extra` is given, one more field beside it.
    pub(super) fn shown<T: Serialize>(
        &self,
        message: &'static str,
        entry: &Arc<Entry>,
        extra: Option<(&'static str, T)>,
    ) -> Response<Body> {
        let owners = self.principal.sees_owners(entry.service().key.namespace());
        reply::entry_with(&self.state.catalog, message, entry, owners, extra)
    }

    /// Refuses while this replica has not heard of every service yet: it cannot tell that there is none of a name, nor how many there are.
    ///
    /// # Errors
    /// 503 `unavailable`.
    pub(in crate::api) fn require_complete(&self) -> Result<(), ApiError> {
        if self.state.history.is_complete() {
            return Ok(());
        }
        let message = "this replica does not know all services yet; try again, or ask another replica";
        Err(ApiError::new(Code::Unavailable, message).retry_after(INCOMPLETE_RETRY_SECONDS))
    }
}

/// An id in its usual form of 36 characters; no other spelling is one.
pub(in crate::api) fn read_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}
