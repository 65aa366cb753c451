//! Which objects of the cluster the publisher watches.

use futures::future::try_join5;
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::networks::Stated;
use super::object::MANAGER_LABEL;
use super::plan::ALLOWED;
use crate::operator::kubernetes::follow::{Closed, Followed, Follower};

/// News of one of the watches.
pub(super) enum Message {
    Slices(Followed<EndpointSlice>),
    Services(Followed<Service>),
    Namespaces(Followed<Namespace>),
    ServiceNetworks(Followed<Stated>),
    NodeNetworks(Followed<Stated>),
}

/// Starts the watches of what publishing depends on.
pub(super) fn follow(
    client: &Client,
    sender: &mpsc::Sender<Message>,
    stop: &CancellationToken,
) -> impl Future<Output = Result<((), (), (), (), ()), Closed>> + use<> {
    // The slices of Services with a selector are most of all, and none of them matter here.
    let slices = format!("{MANAGER_LABEL}!=endpointslice-controller.k8s.io");
    let slices = Follower::new(Api::all(client.clone()), &slices, |slice| slice, Message::Slices, sender.clone());
    let services = Follower::new(Api::all(client.clone()), "", |service| service, Message::Services, sender.clone());
    let namespaces =
        Follower::new(Api::all(client.clone()), ALLOWED, |namespace| namespace, Message::Namespaces, sender.clone());
    let cidrs = Follower::<ServiceCIDR, _, _>::new(
        Api::all(client.clone()),
        "",
        Stated::of_services,
        Message::ServiceNetworks,
        sender.clone(),
    );
    let nodes = Follower::<Node, _, _>::new(
        Api::all(client.clone()),
        "",
        Stated::of_node,
        Message::NodeNetworks,
        sender.clone(),
    );
    try_join5(
        slices.run(stop.clone()),
        services.run(stop.clone()),
        namespaces.run(stop.clone()),
        cidrs.optional().run(stop.clone()),
        nodes.optional().run(stop.clone()),
    )
}
