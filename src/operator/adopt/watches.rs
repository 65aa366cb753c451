//! Which objects of the cluster are watched for adopting.

use futures::future::try_join3;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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

/// Starts the watches of what adopting depends on.
pub(super) fn follow(
    client: &Client,
    sender: &mpsc::Sender<Message>,
    stop: &CancellationToken,
) -> impl Future<Output = Result<((), (), ()), Closed>> + use<> {
    let slices = Follower::<EndpointSlice, _, _>::new(
        Api::all(client.clone()),
        SLICES,
        Slice::from,
        |followed| Message::Endpoints(EndpointNews::Slices(followed)),
        sender.clone(),
    );
    let services = Follower::<Service, _, _>::new(
        Api::all(client.clone()),
        "",
        CoreService::from,
        |followed| Message::Endpoints(EndpointNews::Services(followed)),
        sender.clone(),
    );
    let namespaces = Follower::<Namespace, _, _>::new(
        Api::all(client.clone()),
        LABELLED,
        |namespace| namespace.name_any(),
        Message::Namespaces,
        sender.clone(),
    );
    try_join3(slices.run(stop.clone()), services.run(stop.clone()), namespaces.run(stop.clone()))
}
