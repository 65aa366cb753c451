//! Writes the slices of one object, one after the other.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use tokio::time::timeout;

use super::object::Owner;
use crate::model::ports::Leadership;
use crate::model::text;
use crate::operator::crd::ServiceResource;
use crate::operator::kubernetes::outage::concerns_all;
use crate::operator::kubernetes::rights::lacks_rights;
use crate::operator::queue::PausingQueue;

/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest foreign text, in characters.
const MAX_TEXT: usize = 300;

/// One request.
#[derive(Debug)]
pub(super) enum Request {
    Create(Box<EndpointSlice>),
    Update(Box<EndpointSlice>),
    /// By name and uid.
    Delete(String, String),
    /// The same, if this object does not exist: a watch may not have delivered it yet.
    DeleteWithout(Owner, String, String),
}

/// What a request did.
#[derive(Debug)]
pub(super) enum Written {
    Put(Box<EndpointSlice>),
    /// By name and uid.
    Removed(String, String),
}

/// Why requests were not made, or failed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// This process no longer leads.
    NotLeading,
    /// Somebody else was faster; the watch delivers what they wrote.
    Conflict,
    /// 403 for lack of rights.
    Forbidden(String),
    /// An answer about these slices alone, such as 403 by an admission policy, 422, or 500 because a webhook cannot be called.
    Refused(String),
    /// A slice of that name exists already.
    Taken(String),
    /// No answer came in time. Perhaps a webhook that is asked about some slices only hangs.
    Unanswered(String),
    /// No connection, or an answer that concerns all writes.
    Unavailable(String),
}

impl WriteError {
    /// The `result` label.
    pub(super) fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotLeading => return None,
            Self::Conflict | Self::Taken(_) => "conflict",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) | Self::Unavailable(_) => "away",
        })
    }

    /// Lets what was to be written wait, unless all writes do.
    pub(super) fn delay<K: Clone + Ord + Hash>(&self, key: &K, queue: &mut PausingQueue<K>, now: Instant) {
        match self {
            Self::NotLeading | Self::Unavailable(_) => {}
            Self::Unanswered(_) => queue.unanswered(key, now),
            Self::Conflict | Self::Taken(_) | Self::Forbidden(_) | Self::Refused(_) => queue.failed(key, now),
        }
    }
}

/// What writes need.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) leadership: Arc<dyn Leadership>,
}

impl Writer {
    /// Makes the requests in the namespace until one fails.
    pub(super) async fn write(self, namespace: &str, requests: Vec<Request>) -> (Vec<Written>, Result<(), WriteError>) {
        let (api, mut written) = (Api::namespaced(self.client.clone(), namespace), Vec::new());
        for request in requests {
            if !self.leadership.leads() {
                return (written, Err(WriteError::NotLeading));
            }
            let request = match self.known(namespace, request).await {
                Ok(request) => request,
                Err(error) => return (written, Err(error)),
            };
            match make(&api, request).await {
                Ok(done) => written.push(done),
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// The request, unless it depends on an object that exists.
    async fn known(&self, namespace: &str, request: Request) -> Result<Request, WriteError> {
        let Request::DeleteWithout(owner, name, uid) = request else { return Ok(request) };
        let api: Api<ServiceResource> = Api::namespaced(self.client.clone(), namespace);
        let found = timeout(ANSWER_TIMEOUT, api.get_metadata_opt(owner.key.name())).await.map_err(|_| no_answer())?;
        match found.map_err(error_of)?.and_then(|object| object.uid()) {
            Some(found) if found == owner.uid.to_string() => Err(WriteError::Conflict),
            _ => Ok(Request::Delete(name, uid)),
        }
    }
}

async fn make(api: &Api<EndpointSlice>, request: Request) -> Result<Written, WriteError> {
    let params = PostParams::default();
    match request {
        Request::Create(slice) => answer(api.create(&params, &slice)).await.map(|slice| Written::Put(Box::new(slice))),
        Request::Update(slice) => {
            answer(api.replace(&slice.name_any(), &params, &slice)).await.map(|slice| Written::Put(Box::new(slice)))
        }
        Request::Delete(name, uid) | Request::DeleteWithout(_, name, uid) => {
            let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            match timeout(ANSWER_TIMEOUT, api.delete(&name, &params)).await {
                Err(_) => Err(no_answer()),
                // Somebody else removed it.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Written::Removed(name, uid)),
                Ok(answer) => answer.map(|_| Written::Removed(name, uid)).map_err(error_of),
            }
        }
    }
}

async fn answer(request: impl Future<Output = kube::Result<EndpointSlice>>) -> Result<EndpointSlice, WriteError> {
    timeout(ANSWER_TIMEOUT, request).await.map_err(|_| no_answer())?.map_err(error_of)
}

fn no_answer() -> WriteError {
    WriteError::Unanswered(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
}

fn error_of(error: kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) => {
            let why = text::escape(&status.message, MAX_TEXT);
            match status.code {
                // Of one that was to be replaced: the watch will say that it is gone.
                404 if status.details.as_ref().is_some_and(|details| details.kind != "namespaces") => {
                    WriteError::Conflict
                }
                409 if status.reason == "AlreadyExists" => WriteError::Taken(why),
                409 => WriteError::Conflict,
                403 if lacks_rights(&status.message) => WriteError::Forbidden(why),
                _ if concerns_all(&status) => WriteError::Unavailable(why),
                _ => WriteError::Refused(why),
            }
        }
        error => WriteError::Unavailable(text::escape(&error.to_string(), MAX_TEXT)),
    }
}
