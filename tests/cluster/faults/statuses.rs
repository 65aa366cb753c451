//! Every status of an object, in order.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::TryStreamExt;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::Cluster;

/// A state of an object that somebody wrote.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) status: Value,
    pub(crate) at: Instant,
}

/// Watches a namespace's objects until it is dropped.
pub(crate) struct Statuses {
    words: Arc<Mutex<Vec<Word>>>,
    task: JoinHandle<()>,
}

impl Statuses {
    /// Starts now.
    pub(crate) async fn from_now(cluster: &Cluster<'_>) -> Self {
        let objects = cluster.objects.clone();
        let list = objects.list(&ListParams::default()).await.expect("a list");
        let from = list.metadata.resource_version.expect("a revision");
        let words: Arc<Mutex<Vec<Word>>> = Arc::default();
        let heard = Arc::clone(&words);
        let task = tokio::spawn(async move {
            let watch = objects.watch(&WatchParams::default(), &from).await.expect("a watch");
            let mut watch = pin!(watch);
            while let Some(event) = watch.try_next().await.expect("the watch goes on") {
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                    heard.lock().expect("no panic").push(word(object));
                }
            }
        });
        Self { words, task }
    }

    pub(crate) fn words(&self) -> Vec<Word> {
        assert!(!self.task.is_finished(), "the watch goes on");
        self.words.lock().expect("no panic").clone()
    }
}

impl Drop for Statuses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn word(mut object: DynamicObject) -> Word {
    Word { status: object.data["status"].take(), at: Instant::now() }
}

impl Word {
    /// Whether any instance is unproved.
    pub(crate) fn is_unknown(&self) -> bool {
        let instances = self.status["instances"].as_array();
        instances.is_none_or(|all| all.iter().any(|instance| instance["health"] == "Unknown"))
    }
}
