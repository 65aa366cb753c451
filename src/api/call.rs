//! One request on its way through a route.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use uuid::Uuid;

use super::access::{Access, Principal};
use super::dispatch::Shared;
use super::envelope::{ApiError, Code};
use super::query::Query;
use crate::catalog::{Entry, Snapshot};

/// What a route is given: the parts of Portolan, the request's head, and who asks.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) api: &'a Shared,
    pub(super) head: &'a Parts,
    pub(super) who: &'a Principal,
    /// Where the client is, past the trusted proxies.
    pub(super) client: IpAddr,
    /// The caller's quota is spent: nothing may change, and only a renewal or a 304 is sent.
    pub(super) renewals_only: bool,
}

impl<'a> Call<'a> {
    /// The request's query.
    ///
    /// # Errors
    /// 400 when it cannot be read.
    pub(super) fn query(&self) -> Result<Query<'a>, ApiError> {
        Query::read(self.head.uri.query())
    }

    /// The service of that id, if it is there and the caller may see it or change it; owners are judged by what comes next.
    ///
    /// # Errors
    /// 404 "Service not found", also for a text that is no id.
    pub(super) fn by_id(&self, snapshot: &Snapshot, id: &str) -> Result<Arc<Entry>, ApiError> {
        let entry = read_id(id).and_then(|id| snapshot.by_id(&id));
        let seen = entry.filter(|entry| self.who.may_name(entry.service().key.namespace()));
        seen.cloned().ok_or_else(not_found)
    }

    /// The service of that id, to be shown: to a token without the scope `read` only one with an instance of its own.
    ///
    /// # Errors
    /// 404 "Service not found"; 403 `insufficient_scope`, whether or not it is there.
    pub(super) fn shown_by_id(&self, snapshot: &Snapshot, id: &str) -> Result<Arc<Entry>, ApiError> {
        let entry = self.by_id(snapshot, id);
        if self.who.reads_others() {
            return entry.and_then(|entry| {
                let seen = self.who.may_read(entry.service().key.namespace());
                if seen { Ok(entry) } else { Err(not_found()) }
            });
        }
        let own = |entry: &Arc<Entry>| {
            let service = entry.service();
            self.who.may_write(service.key.namespace()) && service.instances.iter().any(|i| i.owner == self.who.owner)
        };
        entry.ok().filter(own).ok_or_else(Access::only_own)
    }
}

/// An id in its usual form of 36 characters; other spellings name nothing.
pub(super) fn read_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// The seed's 404.
pub(super) fn not_found() -> ApiError {
    ApiError::new(Code::ServiceNotFound, "Service not found")
}
