//! When EndpointSlices change.

use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::environment::{Environment, NAMESPACE};

/// The label that names a slice's core Service.
pub(crate) const SERVICE: &str = "kubernetes.io/service-name";
/// Seconds that a watch lasts at most.
const WATCH: u32 = 290;

pub(crate) fn slices(environment: &Environment) -> Api<EndpointSlice> {
    Api::namespaced(environment.objects.clone().into_client(), NAMESPACE)
}

/// A watch of slices: the core Service, whether its endpoint is ready, and when that was read.
pub(crate) struct Watch {
    events: mpsc::UnboundedReceiver<(String, bool, Instant)>,
    _task: JoinSet<Result<()>>,
}

impl Watch {
    /// Watches those with the label `selector` from now on.
    pub(crate) async fn start(environment: &Environment, selector: &str) -> Result<Self> {
        let (api, params) = (slices(environment), WatchParams::default().labels(selector).timeout(WATCH));
        let now = api.list(&ListParams::default().limit(1)).await?.metadata.resource_version.context("a revision")?;
        let (sender, events) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut from = now;
            loop {
                let mut stream = api.watch(&params, &from).await?.boxed();
                while let Some(event) = stream.next().await {
                    let at = Instant::now();
                    let (WatchEvent::Added(slice) | WatchEvent::Modified(slice)) = event? else { continue };
                    from = slice.metadata.resource_version.clone().context("a revision")?;
                    let service = slice.metadata.labels.and_then(|mut labels| labels.remove(SERVICE));
                    let is_ready = |endpoint: &Endpoint| {
                        endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
                    };
                    sender.send((service.context("a label")?, slice.endpoints.iter().all(is_ready), at))?;
                }
            }
        });
        Ok(Self { events, _task: task })
    }

    /// When the slice of `service` says so, of the events that were not read yet.
    pub(crate) async fn until(&mut self, service: &str, ready: bool) -> Result<Instant> {
        let find = async {
            while let Some((name, is, at)) = self.events.recv().await {
                if name == service && is == ready {
                    return Ok(at);
                }
            }
            Err(anyhow::anyhow!("the watch ended"))
        };
        tokio::time::timeout(PATIENCE, find).await.with_context(|| format!("{service}: not ready={ready} in time"))?
    }
}
