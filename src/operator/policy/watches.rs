//! Which objects of the cluster are watched for policies.

use futures::future::OptionFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::operator::kubernetes::follow::{Closed, Followed, Follower};
use crate::operator::namespaces::{KnownNamespace, KnownPolicy, Lenient, PolicySettings};

/// News of one of the watches.
pub(super) enum Message {
    Policies(Followed<KnownPolicy>),
    Namespaces(Followed<KnownNamespace>),
}

/// Starts the watches of what is switched on.
pub(super) fn follow(
    client: &Client,
    settings: &PolicySettings,
    sender: &mpsc::Sender<Message>,
    stop: &CancellationToken,
) -> impl Future<Output = Result<(), Closed>> + use<> {
    let all = Api::all(client.clone());
    let policies = Follower::<Lenient, _, _>::new(all, "", KnownPolicy::of, Message::Policies, sender.clone());
    let namespaces = Follower::<Namespace, _, _>::new(
        Api::all(client.clone()),
        "",
        |namespace| KnownNamespace {
            name: namespace.name_any(),
            labels: namespace.metadata.labels.unwrap_or_default(),
        },
        Message::Namespaces,
        sender.clone(),
    );
    let (policies_on, stop) = (settings.policies, stop.clone());
    async move {
        let policies: OptionFuture<_> = policies_on.then(|| policies.run(stop.clone())).into();
        let (first, second) = futures::join!(policies, namespaces.run(stop));
        first.unwrap_or(Ok(())).and(second)
    }
}
