//! A control plane with what `kubectl apply -f deploy/install.yaml` makes in it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_plane::{ControlPlane, Kubeconfig, Options};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams, PostParams};
use portolan::operator::crd::{ServiceResource, ServiceSpec};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, Setup};
use crate::{PATIENCE, milliseconds};

/// Portolan's own, where the objects are, too.
pub(crate) const NAMESPACE: &str = "portolan";
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
/// Objects that are created at the same time.
const AT_ONCE: usize = 16;
const LOOK: Duration = Duration::from_millis(5);

/// A control plane of its own.
pub(crate) struct Environment {
    /// All objects, for an admin.
    pub(crate) objects: Api<ServiceResource>,
    leases: Api<Lease>,
    account: Kubeconfig,
    folder: TempDir,
    settings: &'static [(&'static str, &'static str)],
    plane: ControlPlane,
}

impl Environment {
    pub(crate) async fn start() -> Result<Self> {
        let plane = ControlPlane::start_with(Options::default().without_audit()).await?;
        let kubectl = plane.kubectl();
        kubectl.run(&["apply", "--server-side", "-f", INSTALL]).await?;
        kubectl.until_established("services.portolan.dev").await?;
        let client = plane.client().await?;
        Ok(Self {
            objects: Api::namespaced(client.clone(), NAMESPACE),
            leases: Api::namespaced(client, NAMESPACE),
            account: plane.service_account(NAMESPACE, NAMESPACE).await?,
            folder: tempfile::tempdir()?,
            settings: &[],
            plane,
        })
    }

    /// The same with `deploy/components/publish`, in a namespace that allows it.
    pub(crate) async fn start_publishing() -> Result<Self> {
        let settings = &[("PORTOLAN_PUBLISH", "true"), ("PORTOLAN_PUBLISH_DENY", "10.0.0.0/8")];
        let environment = Self::start_with("publish", settings).await?;
        let kubectl = environment.plane.kubectl();
        kubectl.run(&["label", "namespace", NAMESPACE, "portolan.dev/publish=allowed"]).await?;
        Ok(environment)
    }

    /// The same with `deploy/components/adopt`.
    pub(crate) async fn start_adopting() -> Result<Self> {
        Self::start_with("adopt", &[("PORTOLAN_ADOPT", "true")]).await
    }

    async fn start_with(component: &str, settings: &'static [(&'static str, &'static str)]) -> Result<Self> {
        let environment = Self::start().await?;
        let folder = environment.folder.path();
        // kustomize takes no absolute paths.
        let up = "../".repeat(folder.components().count() - 1);
        let deploy = format!("{up}{}/deploy", env!("CARGO_MANIFEST_DIR").trim_start_matches('/'));
        let text = format!("resources: [{deploy}/overlays/cluster]\ncomponents: [{deploy}/components/{component}]\n");
        std::fs::write(folder.join("kustomization.yaml"), text)?;
        let kubectl = environment.plane.kubectl();
        let folder = folder.to_str().context("a path in UTF-8")?;
        kubectl.run(&["apply", "--server-side", "--force-conflicts", "-k", folder]).await?;
        Ok(Self { settings, ..environment })
    }

    /// Starts the replica `name`, on the file that one of its name left.
    pub(crate) async fn replica(&self, name: &str) -> Result<Replica> {
        Setup { name, account: &self.account, folder: self.folder.path(), settings: self.settings }.start().await
    }

    /// Starts a leader on the file that one left, and says after how many milliseconds it was ready.
    pub(crate) async fn leader_again(&self) -> Result<(Replica, f64)> {
        let started = Instant::now();
        let leader = self.replica("leader").await?;
        leader.until_ready().await?;
        let ready = milliseconds(started.elapsed());
        self.next_leader(None).await?;
        Ok((leader, ready))
    }

    /// The kubeconfig of somebody who may list the objects.
    pub(crate) fn admin(&self) -> &Kubeconfig {
        self.plane.admin()
    }

    pub(crate) async fn create(&self, name: &str, spec: ServiceSpec) -> Result<()> {
        self.objects.create(&PostParams::default(), &ServiceResource::new(name, spec)).await?;
        Ok(())
    }

    /// Creates `count` of them, called `service-00000` and so on.
    pub(crate) async fn fill(&self, count: usize, spec: impl Fn() -> Result<ServiceSpec>) -> Result<()> {
        let calls = futures::stream::iter(0..count).map(|n| {
            let spec = spec();
            async move { self.create(&format!("service-{n:05}"), spec?).await }
        });
        calls.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Waits until `count` objects have that state in their status, as long as each look finds more of them.
    pub(crate) async fn until_state(&self, count: usize, state: &str) -> Result<()> {
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let chosen = ListParams::default().fields(&format!("status.state={state}"));
            let found = self.objects.list_metadata(&chosen).await?.items.len();
            if found == count {
                return Ok(());
            }
            if found > most {
                (most, since) = (found, Instant::now());
            }
            ensure!(since.elapsed() < PATIENCE, "only {found} of {count} objects become {state}");
            sleep(Duration::from_secs(2)).await;
        }
    }

    /// The replica that holds the Lease.
    pub(crate) async fn leader(&self) -> Result<Option<String>> {
        let lease = self.leases.get_opt("portolan").await?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        Ok(holder.rsplit_once('_').map(|(name, _)| name.to_owned()))
    }

    /// The holder of the Lease, and how long ago it was renewed.
    pub(crate) async fn lease(&self) -> Result<(Option<String>, Duration)> {
        let spec = self.leases.get("portolan").await?.spec.context("a spec")?;
        let renewed = spec.renew_time.context("a time")?.0;
        let age = jiff::Timestamp::now().duration_since(renewed);
        Ok((spec.holder_identity, age.try_into().unwrap_or_default()))
    }

    /// Waits until another than `old` holds the Lease, and says who.
    pub(crate) async fn next_leader(&self, old: Option<&str>) -> Result<String> {
        let next = async {
            loop {
                match self.leader().await? {
                    Some(leader) if Some(leader.as_str()) != old => return anyhow::Ok(leader),
                    _ => sleep(LOOK).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.context("nobody takes the Lease")?
    }
}
