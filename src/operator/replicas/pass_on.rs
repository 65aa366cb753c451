//! Forwards a request that only the leader can answer.
//!
//! From pod to pod, as from any client in the cluster: over TLS where the replicas have a certificate. The leader decides what the caller may do, by the caller's own token; it
//! believes nothing about the caller from the replica in between.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use super::kept_beats::KeptBeats;
use super::passed_headers::{ANSWER_HEADERS, REQUEST_HEADERS, picked};
use crate::model::ports::{BeatPassed, NOT_LEADING, PASSED_ON, PassOn, PassOnError, PassedBeat};
use crate::telemetry::metrics::Metrics;

/// Most requests in progress to the leader; as many heartbeats may be besides, which on-demand checks must not hold up.
const PLACES: usize = 64;
/// Time to connect: the leader's machine may be gone.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for an answer: the longest probe with some overhead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// Time for the answer to a heartbeat, which waits for nothing.
const BEAT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes: a service with 256 instances of the largest size.
const MAX_ANSWER: usize = 24 << 20;
/// Most memory for all answers in progress, in KiB.
const ALL: usize = 48 << 10;

/// Why the line cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the client for requests to the leader cannot be built: {0}")]
pub struct LeaderLineError(#[from] reqwest::Error);

/// The line to the leader.
#[derive(Clone)]
pub struct LeaderLine {
    leader: Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>,
    scheme: &'static str,
    http: reqwest::Client,
    places: Arc<Semaphore>,
    beat_places: Arc<Semaphore>,
    /// Heartbeats for the next leader.
    kept: KeptBeats,
    /// In KiB.
    memory: Arc<Semaphore>,
    /// The addresses of all replicas.
    replicas: Arc<ArcSwap<Vec<IpAddr>>>,
    metrics: Metrics,
}

impl LeaderLine {
    /// A line to the address that `leader` returns; `replicas` are the addresses of all; with `tls`, replicas speak HTTPS.
    ///
    /// # Errors
    /// [`LeaderLineError`].
    pub fn new(
        leader: impl Fn() -> Option<SocketAddr> + Send + Sync + 'static,
        replicas: Arc<ArcSwap<Vec<IpAddr>>>,
        tls: Option<ClientConfig>,
        metrics: Metrics,
    ) -> Result<Self, LeaderLineError> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let http = crate::crypto::http_client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT);
        let http = match tls {
            Some(tls) => http.tls_backend_preconfigured(tls),
            None => http,
        };
        let http = http.build()?;
        let places = || Arc::new(Semaphore::new(PLACES));
        Ok(Self {
            leader: Arc::new(leader),
            scheme,
            http,
            places: places(),
            beat_places: places(),
            kept: KeptBeats::new(metrics.clone()),
            memory: Arc::new(Semaphore::new(ALL)),
            replicas,
            metrics,
        })
    }

    /// Heartbeats that wait for a leader.
    pub(super) fn kept(&self) -> &KeptBeats {
        &self.kept
    }

    async fn check(self, request: Request<Bytes>) -> Result<Response<Bytes>, PassOnError> {
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.reject("pass_on_full");
            return Err(PassOnError::Busy);
        };
        self.ask(request, ANSWER_TIMEOUT).await
    }

    /// Forwards a heartbeat. A refusal by the leader itself, such as 503 because too many wait, is its answer.
    pub(super) async fn send_beat(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PassOnError> {
        let Ok(_place) = self.beat_places.try_acquire() else { return Err(PassOnError::Busy) };
        self.ask(request, BEAT_TIMEOUT).await
    }

    async fn beat(self, beat: PassedBeat) -> Result<BeatPassed, PassOnError> {
        if beat.request.headers().contains_key(&PASSED_ON) {
            return Err(PassOnError::SecondHop);
        }
        let began = Instant::now();
        match self.send_beat(beat.request.clone()).await {
            Ok(answer) => {
                // Whatever the leader made of it, it is newer than what is kept.
                if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                    self.kept.heard(&(beat.service, beat.instance), began);
                }
                Ok(BeatPassed::Answered(answer))
            }
            Err(PassOnError::NoLeader | PassOnError::Busy | PassOnError::SecondHop) => {
                self.kept.keep(beat).map(|()| BeatPassed::Kept)
            }
        }
    }

    async fn ask(&self, request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, PassOnError> {
        if request.headers().contains_key(&PASSED_ON) {
            return Err(PassOnError::SecondHop);
        }
        let leader = (self.leader)().ok_or(PassOnError::NoLeader)?;
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut headers = picked(&head.headers, &REQUEST_HEADERS);
        headers.insert(PASSED_ON, http::HeaderValue::from_static("1"));
        let asked = self.http.request(head.method, format!("{}://{leader}{target}", self.scheme)).headers(headers);
        let asked = asked.timeout(limit).body(body);
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
    if answer.headers().contains_key(&NOT_LEADING) {
        return Ok(Err(PassOnError::NoLeader));
    }
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

impl PassOn for LeaderLine {
    fn pass_on(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, PassOnError>> {
        Box::pin(self.clone().check(request))
    }

    fn heartbeat(&self, beat: PassedBeat) -> BoxFuture<'static, Result<BeatPassed, PassOnError>> {
        Box::pin(self.clone().beat(beat))
    }

    fn is_replica(&self, peer: IpAddr) -> bool {
        self.replicas.load().contains(&peer.to_canonical())
    }

    fn renewal(&self, renewal: PassedBeat) {
        // If too many are kept, this one is counted as rejected. The program renews again.
        self.kept.keep(renewal).ok();
    }
}
