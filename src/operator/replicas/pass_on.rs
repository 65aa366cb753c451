//! Forwards a request that only the leader can answer.
//!
//! Plain HTTP from pod to pod, as from any client in the cluster. The leader decides what the caller may do, by the caller's own token; it
//! believes nothing about the caller from the replica in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, ORIGIN, RETRY_AFTER, USER_AGENT};
use http::{Request, Response};
use tokio::sync::Semaphore;

use crate::model::ports::{PASSED_ON, PassOn, PassOnError};
use crate::telemetry::metrics::Metrics;

/// Most requests in progress to the leader.
const PLACES: usize = 64;
/// Time to connect: the leader's machine may be gone.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for an answer: the longest probe with some overhead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// Largest answer, in bytes: a service with 256 instances of the largest size.
const MAX_ANSWER: usize = 24 << 20;
/// Most memory for all answers in progress, in KiB.
const ALL: usize = 48 << 10;
/// Headers that are forwarded. `X-Forwarded-For` counts only if the leader trusts this replica as a proxy.
const REQUEST_HEADERS: [HeaderName; 7] = [
    AUTHORIZATION,
    ACCEPT,
    CONTENT_TYPE,
    ORIGIN,
    USER_AGENT,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("x-forwarded-for"),
];
/// Headers that come back.
const ANSWER_HEADERS: [HeaderName; 2] = [CONTENT_TYPE, RETRY_AFTER];

/// Why the line cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the client for requests to the leader cannot be built: {0}")]
pub struct LeaderLineError(#[from] reqwest::Error);

/// The line to the leader.
#[derive(Clone)]
pub struct LeaderLine {
    leader: Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>,
    http: reqwest::Client,
    places: Arc<Semaphore>,
    /// In KiB.
    memory: Arc<Semaphore>,
    metrics: Metrics,
}

impl LeaderLine {
    /// A line to the address that `leader` returns.
    ///
    /// # Errors
    /// [`LeaderLineError`].
    pub fn new(
        leader: impl Fn() -> Option<SocketAddr> + Send + Sync + 'static,
        metrics: Metrics,
    ) -> Result<Self, LeaderLineError> {
        let http = crate::crypto::http_client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER_TIMEOUT)
            .build()?;
        let (places, memory) = (Arc::new(Semaphore::new(PLACES)), Arc::new(Semaphore::new(ALL)));
        Ok(Self { leader: Arc::new(leader), http, places, memory, metrics })
    }

    async fn ask(self, request: Request<Bytes>) -> Result<Response<Bytes>, PassOnError> {
        if request.headers().contains_key(&PASSED_ON) {
            return Err(PassOnError::SecondHop);
        }
        let leader = (self.leader)().ok_or(PassOnError::NoLeader)?;
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.reject("pass_on_full");
            return Err(PassOnError::Busy);
        };
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut headers = picked(&head.headers, &REQUEST_HEADERS);
        headers.insert(PASSED_ON, http::HeaderValue::from_static("1"));
        let asked = self.http.request(head.method, format!("http://{leader}{target}")).headers(headers).body(body);
        let answer = async { read(asked.send().await?, &self.memory).await };
        let answer = answer.await.map_err(|error: reqwest::Error| {
            tracing::debug!(%leader, "the leader gave no answer: {error}");
            PassOnError::NoLeader
        })?;
        if matches!(answer, Err(PassOnError::Busy)) {
            self.metrics.reject("pass_on_memory");
        }
        answer
    }
}

async fn read(
    mut answer: reqwest::Response,
    memory: &Semaphore,
) -> Result<Result<Response<Bytes>, PassOnError>, reqwest::Error> {
    let (mut body, mut held) = (BytesMut::new(), Vec::new());
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Ok(Err(PassOnError::NoLeader));
        }
        let taken = u32::try_from(chunk.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(taken) = memory.try_acquire_many(taken) else { return Ok(Err(PassOnError::Busy)) };
        held.push(taken);
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = picked(answer.headers(), &ANSWER_HEADERS);
    Ok(Ok(response))
}

fn picked(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let lines = names.iter().flat_map(|name| from.get_all(name).iter().map(move |value| (name.clone(), value.clone())));
    lines.fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}

impl PassOn for LeaderLine {
    fn pass_on(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, PassOnError>> {
        Box::pin(self.clone().ask(request))
    }
}
