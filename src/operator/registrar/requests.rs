//! The requests about one object, each with a timeout.

use std::time::Duration;

use http::Request;
use kube::api::{DeleteParams, GetParams, PostParams, Preconditions};
use kube::core::Request as Builder;
use kube::{Client, Resource};

use super::error::{self, RequestError, Verb};
use crate::model::name::ServiceKey;
use crate::model::ports::ClusterError;
use crate::operator::crd::ServiceResource;
use crate::operator::ingest::ObservedObject;
use crate::operator::read::raw::RawObject;

/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The field manager of every registration.
pub(super) const MANAGER: &str = "portolan-rest";

/// The services of the Kubernetes API.
#[derive(Clone)]
pub(super) struct Requests(Client);

impl Requests {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Reads the object; none if there is none.
    pub(super) async fn get(&self, key: &ServiceKey) -> Result<Option<RawObject>, RequestError> {
        let request = requests(key).get(key.name(), &GetParams::default());
        match self.ask(Verb::Get, key, request).await {
            Err(RequestError::Moved) => Ok(None),
            Err(error) => Err(error),
            Ok(raw) => Ok(Some(raw)),
        }
    }

    /// Creates the object; [`RequestError::Moved`] if there is one already.
    pub(super) async fn create(&self, key: &ServiceKey, object: &ServiceResource) -> Result<RawObject, RequestError> {
        let request = requests(key).create(&by_us(), body(key, Verb::Create, object)?);
        self.ask(Verb::Create, key, request).await
    }

    /// Replaces the object with this resourceVersion; [`RequestError::Moved`] if it has another.
    pub(super) async fn replace(&self, key: &ServiceKey, object: &ServiceResource) -> Result<RawObject, RequestError> {
        let request = requests(key).replace(key.name(), &by_us(), body(key, Verb::Replace, object)?);
        self.ask(Verb::Replace, key, request).await
    }

    /// Deletes the object with this uid and resourceVersion; [`RequestError::Moved`] if it is another. Returns it if its finalizers still hold
    /// it.
    pub(super) async fn delete(
        &self,
        key: &ServiceKey,
        observed: &ObservedObject,
    ) -> Result<Option<RawObject>, RequestError> {
        let only = Preconditions {
            uid: Some(observed.id().to_string()),
            resource_version: Some(observed.revision().to_string()),
        };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        let request = built(Verb::Delete, key, requests(key).delete(key.name(), &params))?;
        let answer = timed(self.0.request_status::<RawObject>(request)).await?;
        let answer = answer.map_err(|error| error::of(&error, Verb::Delete, key))?;
        Ok(answer.left().filter(|raw| raw.metadata().deletion_timestamp.is_some()))
    }

    async fn ask(
        &self,
        verb: Verb,
        key: &ServiceKey,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<RawObject, RequestError> {
        let request = built(verb, key, request)?;
        let answer = timed(self.0.request::<RawObject>(request)).await?;
        answer.map_err(|error| error::of(&error, verb, key))
    }
}

fn requests(key: &ServiceKey) -> Builder {
    Builder::new(ServiceResource::url_path(&(), Some(key.namespace())))
}

fn by_us() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn body(key: &ServiceKey, verb: Verb, object: &ServiceResource) -> Result<Vec<u8>, RequestError> {
    serde_json::to_vec(object).map_err(|error| error::of(&kube::Error::SerdeError(error), verb, key))
}

fn built(
    verb: Verb,
    key: &ServiceKey,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Request<Vec<u8>>, RequestError> {
    request.map_err(|error| error::of(&kube::Error::BuildRequest(error), verb, key))
}

async fn timed<T>(answer: impl Future<Output = T>) -> Result<T, RequestError> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    answer.map_err(|_| RequestError::NoAnswer(ClusterError::Unanswered))
}
