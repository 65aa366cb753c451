//! The program itself, two replicas of it, through what goes wrong in a cluster. In each: nothing is deregistered wrongly, reads are answered
//! throughout, and no replica has to be started again.

mod acknowledged;
mod away;
mod history;
mod leader;
mod leases;
mod life;
mod reads;
mod recreated;
mod replica;
mod start;
mod statuses;
mod steady;
mod upgrade;

use control_plane::{ControlPlane, Kubeconfig};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Installed, install, shared};
use crate::sync::replica::until;
use crate::sync::{apply, manifest, objects};
use replica::{Replica, Setup};

/// Portolan's namespace, where its services are, too.
pub(crate) struct Cluster<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    /// What the program may: exactly what `deploy/` gives it.
    account: Kubeconfig,
    folder: TempDir,
    objects: Api<DynamicObject>,
}

impl Cluster<'static> {
    async fn shared() -> Self {
        Self::of(shared().await).await
    }
}

impl<'a> Cluster<'a> {
    async fn of(plane: &'a ControlPlane) -> Self {
        let Installed { namespace, account } = install(plane, "cluster").await;
        let objects = objects(plane, &namespace).await;
        Self { plane, namespace, account, folder: tempfile::tempdir().expect("a folder"), objects }
    }

    /// Starts a replica, or starts it again on what it left.
    async fn start(&self, name: &str) -> Replica {
        self.start_as(name, &self.account).await
    }

    async fn start_as(&self, name: &str, account: &Kubeconfig) -> Replica {
        let folder = self.folder.path().to_owned();
        Setup { name, account, namespace: &self.namespace, folder }.start().await
    }

    /// One that leads and one that follows.
    async fn two(&self) -> (Replica, Replica) {
        let one = self.start("one").await;
        self.until_leads("one").await;
        let two = self.start("two").await;
        one.until_ready().await;
        two.until_ready().await;
        (one, two)
    }

    /// The holder of the Lease; empty if there is none.
    async fn leader(&self) -> String {
        let leases: Api<Lease> = Api::namespaced(self.plane.client().await.expect("a client"), &self.namespace);
        let lease = leases.get_opt("portolan").await.expect("an answer");
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        holder.rsplit_once('_').map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    async fn until_leads(&self, name: &str) {
        until(&format!("{name} leads"), async || self.leader().await == name).await;
    }

    /// Applies a service with instances at `urls`, probed by tcp every second.
    async fn apply(&self, name: &str, urls: &[String]) {
        apply(self.plane, &manifest(&self.namespace, name, urls)).await;
    }

    async fn state(&self, name: &str) -> Value {
        self.objects.get(name).await.expect("it is there").data["status"]["state"].clone()
    }

    async fn until_state(&self, name: &str, state: &str) {
        until(&format!("{name} is {state}"), async || self.state(name).await == state).await;
    }

    async fn delete(&self, name: &str) {
        let args = ["delete", "services.portolan.dev", name, "-n", &self.namespace];
        self.plane.kubectl().run(&args).await.expect("deleted");
    }

    /// What the API server calls the replicas.
    fn user(&self) -> String {
        format!("system:serviceaccount:{}:portolan", self.namespace)
    }
}
