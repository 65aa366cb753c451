//! Follows one scope: a namespace, or all.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use kube::Client;
use kube::api::{ListParams, Request, Resource, WatchEvent};
use kube::core::metadata::ListMeta;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::error::WatchError;
use crate::model::backoff::Backoff;
use crate::operator::crd::ServiceResource;
use crate::operator::ingest::{Ingest, IngestError, Message, Scope};
use crate::operator::kubernetes::health::ApiHealth;
use crate::operator::kubernetes::list_watch::{self, ApiError, ListWatch, WatchLength};
use crate::operator::read::ObjectId;
use crate::operator::read::raw::RawObject;
use crate::telemetry::metrics::Metrics;

/// Objects of one page.
const PAGE: u32 = 500;
/// Time for a page, and for a watch to open.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses after an error.
const ERROR_PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// Follows one scope.
pub(super) struct Follower {
    client: Client,
    scope: Scope,
    ingest: Ingest,
    api_health: ApiHealth,
    metrics: Metrics,
    /// The revision to resume from; none before a list.
    from: Option<u64>,
    backoff: Backoff,
    last_error: Option<WatchError>,
    /// Whether this round's watch was open.
    open: bool,
    /// Whether the ingest counts on the watch.
    trusted: bool,
}

/// Why a round ended early.
pub(super) enum RoundEnd {
    WatchError(WatchError),
    Closed(IngestError),
}

impl From<IngestError> for RoundEnd {
    fn from(error: IngestError) -> Self {
        Self::Closed(error)
    }
}

impl From<kube::Error> for RoundEnd {
    fn from(error: kube::Error) -> Self {
        Self::WatchError(error.into())
    }
}

impl From<ApiError> for RoundEnd {
    fn from(error: ApiError) -> Self {
        Self::WatchError(error.into())
    }
}

impl From<WatchError> for RoundEnd {
    fn from(error: WatchError) -> Self {
        Self::WatchError(error)
    }
}

/// A page of a list. kube's own type would parse every item twice.
#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<RawObject>,
}

impl Follower {
    pub(super) fn new(client: Client, scope: Scope, ingest: Ingest, api_health: ApiHealth, metrics: Metrics) -> Self {
        Self {
            client,
            scope,
            ingest,
            api_health,
            metrics,
            from: None,
            backoff: ERROR_PAUSES,
            last_error: None,
            open: false,
            trusted: false,
        }
    }

    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), IngestError> {
        list_watch::run(self, stop).await
    }

    async fn list(&mut self) -> Result<u64, RoundEnd> {
        self.ingest.send(Message::Begin(self.scope.clone())).await?;
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let request = self.request().list(&params).map_err(kube::Error::BuildRequest)?;
            let page = list_watch::answer(ANSWER_TIMEOUT, self.client.request::<Page>(request));
            let Page { metadata, items } = page.await?;
            self.api_health.touch();
            self.ingest.ask(|reply| Message::Page(self.scope.clone(), items, reply)).await?;
            params.continue_token = metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let revision = revision(metadata.resource_version.as_deref())?;
                self.ingest.send(Message::End(self.scope.clone(), revision)).await?;
                return Ok(revision);
            }
        }
    }

    async fn list_and_watch(&mut self) -> Result<(), RoundEnd> {
        self.open = false;
        let from = match self.from {
            Some(from) => from,
            None => self.list().await?,
        };
        self.from = Some(from);
        self.watch(from).await
    }

    async fn watch(&mut self, from: u64) -> Result<(), RoundEnd> {
        let length = WatchLength::random();
        let request = self.request().watch(&length.params(), &from.to_string());
        let request = request.map_err(kube::Error::BuildRequest)?;
        let events = list_watch::answer(ANSWER_TIMEOUT, self.client.request_events::<RawObject>(request)).await?;
        self.recovered();
        if !std::mem::replace(&mut self.trusted, true) {
            self.ingest.send(Message::Opened(self.scope.clone())).await?;
        }
        let mut events = pin!(length.with_timeout(events));
        while let Some(event) = events.try_next().await? {
            self.event(event).await?;
        }
        Ok(())
    }

    async fn event(&mut self, event: WatchEvent<RawObject>) -> Result<(), RoundEnd> {
        let (raw, is_there) = match event {
            WatchEvent::Added(raw) | WatchEvent::Modified(raw) => (raw, true),
            WatchEvent::Deleted(raw) => (raw, false),
            WatchEvent::Bookmark(mark) => {
                let revision = revision(Some(&mark.metadata.resource_version))?;
                self.ingest.send(Message::Progress(self.scope.clone(), revision)).await?;
                self.passed(revision);
                return Ok(());
            }
            WatchEvent::Error(status) => return Err(WatchError::from(&*status).into()),
        };
        let revision = revision(raw.metadata().resource_version.as_deref())?;
        let message = match ObjectId::of(raw.metadata()) {
            _ if is_there => Some(Message::Put(Box::new(raw), None)),
            Ok(ObjectId { key, id, revision, .. }) => Some(Message::Removed { key, id, revision, reply: None }),
            // It was also skipped when it was added.
            Err(_) => None,
        };
        if let Some(message) = message {
            self.ingest.send(message).await?;
        }
        self.passed(revision);
        Ok(())
    }

    /// Everything up to `revision` was sent.
    fn passed(&mut self, revision: u64) {
        self.api_health.touch();
        self.from = Some(revision);
        self.backoff.reset();
    }

    fn request(&self) -> Request {
        let namespace = self.scope.as_ref().map(crate::model::name::Namespace::as_str);
        Request::new(ServiceResource::url_path(&(), namespace))
    }

    fn note(&mut self, error: WatchError) {
        if error.needs_list() {
            self.from = None;
        }
        // A watch that breaks is resumed at once; only if that fails is it worth a warning.
        if self.open || error.is_expected() {
            tracing::debug!("{}", error.explain(&self.scope));
        } else if !self.last_error.as_ref().is_some_and(|last_error| last_error.is_like(&error)) {
            let why = error.explain(&self.scope);
            tracing::warn!("{why}");
            if self.last_error.is_none() {
                self.api_health.watch_failed(why);
            }
            self.last_error = Some(error);
        }
    }

    fn recovered(&mut self) {
        self.api_health.touch();
        self.open = true;
        if self.last_error.take().is_some() {
            self.api_health.watch_recovered();
            tracing::info!("services.portolan.dev are watched again");
        }
    }
}

impl ListWatch for Follower {
    type Error = RoundEnd;
    type Fatal = IngestError;

    async fn round(&mut self) -> Result<(), RoundEnd> {
        let end = self.list_and_watch().await;
        // A watch that ends in order is resumed soon.
        if end.is_err() && std::mem::take(&mut self.trusted) {
            self.ingest.send(Message::Broke(self.scope.clone())).await?;
        }
        end
    }

    fn failed(&mut self, end: RoundEnd) -> Result<(), IngestError> {
        match end {
            RoundEnd::WatchError(error) => self.note(error),
            RoundEnd::Closed(error) => return Err(error),
        }
        Ok(())
    }

    fn pause(&mut self) -> Duration {
        self.metrics.cluster.watch_restarts.inc();
        self.backoff.next()
    }
}

fn revision(text: Option<&str>) -> Result<u64, WatchError> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| WatchError::Malformed("a resourceVersion is not a number".to_owned()))
}
