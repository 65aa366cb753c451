//! Lists and watches one kind of object for the publisher, for as long as the process runs.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{Api, ListParams, WatchEvent};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::view::News;
use crate::model::backoff::Backoff;
use crate::model::text;
use crate::operator::kubernetes::list_watch::{self, ApiError, ListWatch, WatchLength};

/// Objects of one page.
const PAGE: u32 = 500;
/// Time for a page, and for a watch to open.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a watch lasts, in seconds.
const WATCH: std::ops::RangeInclusive<u32> = 240..=290;
/// Pauses after an error.
const ERROR_PAUSES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// Longest foreign text in a log line, in characters.
const MAX_TEXT: usize = 300;

/// The publisher is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// Why a round ended early.
pub(super) enum FollowError {
    /// The revision to resume from is too old or unusable: list again.
    Expired,
    /// 403.
    Forbidden(String),
    /// Anything else.
    Other(String),
    Closed,
}

impl From<ApiError> for FollowError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Failed(kube::Error::Api(status)) => of_status(status.code, &status.message),
            error => Self::Other(text::escape(&error.to_string(), MAX_TEXT)),
        }
    }
}

fn of_status(code: u16, message: &str) -> FollowError {
    match code {
        403 => FollowError::Forbidden(text::escape(message, MAX_TEXT)),
        // The API server's data was restored from an earlier state.
        504 if message.contains("Too large resource version") => FollowError::Expired,
        401 | 429 | 500.. => FollowError::Other(text::escape(message, MAX_TEXT)),
        _ => FollowError::Expired,
    }
}

/// What a follower sends: news, or that it may not list and watch.
pub(super) enum Followed<K> {
    News(News<K>),
    Forbidden(String),
}

/// Follows one kind.
pub(super) struct Follower<K, M> {
    api: Api<K>,
    /// Which of them, by label.
    labels: String,
    wrap: fn(Followed<K>) -> M,
    publisher: mpsc::Sender<M>,
    /// The resourceVersion to resume from; none before a list.
    from: Option<String>,
    backoff: Backoff,
}

impl<K, M> Follower<K, M>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    M: Send + 'static,
{
    pub(super) fn new(api: Api<K>, labels: &str, wrap: fn(Followed<K>) -> M, publisher: mpsc::Sender<M>) -> Self {
        Self { api, labels: labels.to_owned(), wrap, publisher, from: None, backoff: ERROR_PAUSES }
    }

    /// Follows them until `stop`; ends early only if the publisher is gone.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), Closed> {
        list_watch::run(self, stop).await
    }

    async fn send(&self, followed: Followed<K>) -> Result<(), FollowError> {
        self.publisher.send((self.wrap)(followed)).await.map_err(|_| FollowError::Closed)
    }

    async fn list(&mut self) -> Result<String, FollowError> {
        let mut params = ListParams::default().labels(&self.labels).limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = list_watch::answer(ANSWER_TIMEOUT, self.api.list(&params)).await?;
            all.extend(page.items);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.send(Followed::News(News::Listed(all))).await?;
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }

    async fn event(&mut self, event: WatchEvent<K>) -> Result<(), FollowError> {
        self.from = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let from = object.resource_version();
                self.send(Followed::News(News::Put(Box::new(object)))).await?;
                from
            }
            WatchEvent::Deleted(object) => {
                let from = object.resource_version();
                self.send(Followed::News(News::Removed(Box::new(object)))).await?;
                from
            }
            WatchEvent::Bookmark(mark) => Some(mark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(of_status(status.code, &status.message)),
        };
        Ok(())
    }
}

impl<K, M> ListWatch for Follower<K, M>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    M: Send + 'static,
{
    type Error = FollowError;
    type Fatal = Closed;

    async fn round(&mut self) -> Result<(), FollowError> {
        let from = match self.from.clone() {
            Some(from) => from,
            None => self.list().await?,
        };
        self.from = Some(from.clone());
        let (length, api) = (WatchLength::within(WATCH), self.api.clone());
        let params = length.params().labels(&self.labels);
        let events = list_watch::answer(ANSWER_TIMEOUT, api.watch(&params, &from)).await?;
        self.backoff.reset();
        let mut events = pin!(length.with_timeout(events));
        while let Some(event) = events.try_next().await? {
            self.event(event).await?;
        }
        Ok(())
    }

    fn failed(&mut self, error: FollowError) -> Result<(), Closed> {
        match error {
            FollowError::Closed => return Err(Closed),
            FollowError::Expired => self.from = None,
            FollowError::Forbidden(why) => {
                // If the queue is full, the next round says it again.
                drop(self.publisher.try_send((self.wrap)(Followed::Forbidden(why))));
            }
            // It resumes where it was; an unusable position is an `Expired`.
            FollowError::Other(why) => tracing::debug!("a watch for publishing is resumed: {why}"),
        }
        Ok(())
    }

    fn pause(&mut self) -> Duration {
        self.backoff.next()
    }
}
