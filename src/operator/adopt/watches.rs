//! Which objects of the cluster are watched for adopting.

use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::labels::scopes;
use crate::model::name::Namespace;
use crate::operator::endpoints::{CoreService, EndpointNews, Slice};
use crate::operator::kubernetes::follow::{Closed, Followed, Follower};

/// Slices of core Services, without those that Portolan itself publishes: what is adopted is never its own.
const SLICES: &str = "kubernetes.io/service-name,endpointslice.kubernetes.io/managed-by!=portolan.dev";
/// The label of a namespace whose core Services are all adopted.
const LABELLED: &str = "portolan.dev/adopt=true";

/// News of one of the watches.
pub(super) enum Message {
    Endpoints(EndpointNews),
    Namespaces(Followed<String>),
}

/// Starts the watches of what adopting depends on: of the `watched` namespaces, none for all.
pub(super) fn follow(
    client: &Client,
    watched: &[Namespace],
    sender: &mpsc::Sender<Message>,
    stop: &CancellationToken,
) -> impl Future<Output = Result<Vec<()>, Closed>> + use<> {
    let mut all: Vec<BoxFuture<'static, Result<(), Closed>>> = Vec::new();
    for scope in scopes(watched) {
        let slices = Follower::<EndpointSlice, _, _>::within(
            (client, scope.as_ref()),
            SLICES,
            Slice::from,
            |followed| Message::Endpoints(EndpointNews::Slices(followed)),
            sender.clone(),
        );
        let services = Follower::<Service, _, _>::within(
            (client, scope.as_ref()),
            "",
            CoreService::from,
            |followed| Message::Endpoints(EndpointNews::Services(followed)),
            sender.clone(),
        );
        all.push(slices.run(stop.clone()).boxed());
        all.push(services.run(stop.clone()).boxed());
    }
    let namespaces = Follower::<NamespaceObject, _, _>::new(
        Api::all(client.clone()),
        LABELLED,
        |namespace| namespace.name_any(),
        Message::Namespaces,
        sender.clone(),
    );
    // No Role gives the right to list namespaces, so an install that watches only some has to do without it.
    let namespaces = if watched.is_empty() { namespaces } else { namespaces.optional() };
    all.push(namespaces.run(stop.clone()).boxed());
    try_join_all(all)
}
