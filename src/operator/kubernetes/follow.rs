//! Lists and watches one kind of object for a task that needs the present state of all of them, for as long as the process runs.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams, WatchEvent};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::list_watch::{self, ApiError, ListWatch, WatchLength};
use crate::model::backoff::Backoff;
use crate::model::name::Namespace;
use crate::model::text;

/// Objects of one page.
const PAGE: u32 = 500;
/// Time for a page, and for a watch to open.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses after an error.
const ERROR_PAUSES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// The same for a kind that Portolan can do without.
const OPTIONAL_PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5));
/// After how many failures in a row of a first list a warning is worth it.
const MAX_FAILED: u32 = 4;
/// Longest foreign text in a log line, in characters.
const MAX_TEXT: usize = 300;

/// The task that reads the news is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) struct Closed;

/// Why a round ended early.
pub(in crate::operator) enum FollowError {
    /// The revision to resume from is too old or unusable: list again.
    Expired,
    /// 403.
    Forbidden(String),
    /// 404: the API server does not serve the kind.
    NotServed,
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
        404 => FollowError::NotServed,
        // The API server's data was restored from an earlier state.
        504 if message.contains("Too large resource version") => FollowError::Expired,
        401 | 429 | 500.. => FollowError::Other(text::escape(message, MAX_TEXT)),
        _ => FollowError::Expired,
    }
}

/// The news of a watch, with what is kept of each object.
#[derive(Debug)]
pub(in crate::operator) enum News<T> {
    /// All that there is, in one namespace or in all.
    Listed(Option<Namespace>, Vec<T>),
    /// One that was added or changed.
    Put(Box<T>),
    /// One that was removed.
    Removed(Box<T>),
}

/// What a follower sends: news, or that it may not list and watch, or that there is no such kind.
#[derive(Debug)]
pub(in crate::operator) enum Followed<T> {
    News(News<T>),
    /// It may not list and watch.
    Forbidden(String),
    /// The API server does not serve the kind, so there are no such objects. Kinds of Kubernetes itself are always served.
    NotServed,
}

/// Follows one kind.
pub(in crate::operator) struct Follower<K, T, M> {
    api: Api<K>,
    /// The namespace that `api` is limited to.
    scope: Option<Namespace>,
    /// Which of them, by label.
    labels: String,
    /// What is kept of an object; of a list, each page is reduced to that before the next one comes.
    keep: fn(K) -> T,
    wrap: fn(Followed<T>) -> M,
    reader: mpsc::Sender<M>,
    /// The resourceVersion to resume from; none before a list.
    from: Option<String>,
    backoff: Backoff,
    /// Lists that failed one after the other, but for a missing right.
    failed: u32,
}

impl<K, T, M> Follower<K, T, M>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    T: Send + 'static,
    M: Send + 'static,
{
    pub(in crate::operator) fn new(
        api: Api<K>,
        labels: &str,
        keep: fn(K) -> T,
        wrap: fn(Followed<T>) -> M,
        reader: mpsc::Sender<M>,
    ) -> Self {
        Self {
            api,
            scope: None,
            labels: labels.to_owned(),
            keep,
            wrap,
            reader,
            from: None,
            backoff: ERROR_PAUSES,
            failed: 0,
        }
    }

    /// Marks a kind that Portolan can do without: a refusal is retried less often.
    #[must_use]
    pub(in crate::operator) fn optional(self) -> Self {
        Self { backoff: OPTIONAL_PAUSES, ..self }
    }

    /// Follows them until `stop`; ends early only if its reader is gone.
    pub(in crate::operator) async fn run(self, stop: CancellationToken) -> Result<(), Closed> {
        list_watch::run(self, stop).await
    }

    async fn send(&self, followed: Followed<T>) -> Result<(), FollowError> {
        self.reader.send((self.wrap)(followed)).await.map_err(|_| FollowError::Closed)
    }

    async fn list(&mut self) -> Result<String, FollowError> {
        let mut params = ListParams::default().labels(&self.labels).limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = list_watch::answer(ANSWER_TIMEOUT, self.api.list(&params)).await?;
            all.extend(page.items.into_iter().map(self.keep));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.send(Followed::News(News::Listed(self.scope.clone(), all))).await?;
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }

    async fn event(&mut self, event: WatchEvent<K>) -> Result<(), FollowError> {
        self.from = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let from = object.resource_version();
                self.send(Followed::News(News::Put(Box::new((self.keep)(object))))).await?;
                from
            }
            WatchEvent::Deleted(object) => {
                let from = object.resource_version();
                self.send(Followed::News(News::Removed(Box::new((self.keep)(object))))).await?;
                from
            }
            WatchEvent::Bookmark(mark) => Some(mark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(of_status(status.code, &status.message)),
        };
        Ok(())
    }
}

impl<K, T, M> Follower<K, T, M>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
    T: Send + 'static,
    M: Send + 'static,
{
    /// Follows those in one namespace, or in all.
    pub(in crate::operator) fn within(
        (client, scope): (&Client, Option<&Namespace>),
        labels: &str,
        keep: fn(K) -> T,
        wrap: fn(Followed<T>) -> M,
        reader: mpsc::Sender<M>,
    ) -> Self {
        let api = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace.as_str()),
            None => Api::all(client.clone()),
        };
        Self { scope: scope.cloned(), ..Self::new(api, labels, keep, wrap, reader) }
    }
}

impl<K, T, M> ListWatch for Follower<K, T, M>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    T: Send + 'static,
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
        let (length, api) = (WatchLength::random(), self.api.clone());
        let params = length.params().labels(&self.labels);
        let events = list_watch::answer(ANSWER_TIMEOUT, api.watch(&params, &from)).await?;
        self.backoff.reset();
        self.failed = 0;
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
                // The list shows that it may again.
                self.from = None;
                // If the queue is full, the next round says it again.
                drop(self.reader.try_send((self.wrap)(Followed::Forbidden(why))));
            }
            FollowError::NotServed => {
                self.from = None;
                drop(self.reader.try_send((self.wrap)(Followed::NotServed)));
            }
            // It resumes where it was; an unusable position is an `Expired`.
            FollowError::Other(why) if self.from.is_none() => {
                self.failed = self.failed.saturating_add(1);
                if self.failed == MAX_FAILED {
                    tracing::warn!("{} cannot be listed; this is tried again: {why}", self.api.resource_url());
                }
            }
            FollowError::Other(why) => tracing::debug!("a watch of {} is resumed: {why}", self.api.resource_url()),
        }
        Ok(())
    }

    fn pause(&mut self) -> Duration {
        self.backoff.next()
    }
}
