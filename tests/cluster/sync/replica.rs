//! One replica of the operator in this process: store, prober, ingest, watch, status writer and events, without an API or a Lease.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use control_plane::Kubeconfig;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ObjectReference;
use portolan::catalog::{Catalog, Entry, Epoch};
use portolan::model::name::{Namespace, ServiceKey};
use portolan::model::outcome::Health;
use portolan::model::ports::{Leadership, NameLookup, OnDemand, Role};
use portolan::model::time::Clock;
use portolan::operator::adopt::Adopter;
use portolan::operator::annotated::{AnnotatedSettings, AnnotatedTask, Kind};
use portolan::operator::events::{EventSettings, Events};
use portolan::operator::ingest::Ingest;
use portolan::operator::kubernetes::health::ApiHealth;
use portolan::operator::namespaces::{Policies, PolicySettings};
use portolan::operator::policy::PolicyTask;
use portolan::operator::publish::{Publications, PublishSettings, Publisher};
use portolan::operator::replicas::installs::{Installs, InstallsTask};
use portolan::operator::status_writer::StatusTask;
use portolan::operator::watch::Watch;
use portolan::prober::ResolverSettings;
use portolan::prober::{AddressPolicy, PublishPolicy};
use portolan::prober::{DialSettings, Dialer};
use portolan::prober::{Prober, ProberHandle, ProberSettings};
use portolan::store::{Opened, Store, StoreSettings};
use portolan::telemetry::metrics::Metrics;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Time for anything that must happen.
pub(crate) const AMPLE: Duration = Duration::from_mins(3);

/// Waits until `holds`, or fails with what it waited for.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < AMPLE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A role that the test sets.
#[derive(Debug)]
pub(crate) struct Switch(AtomicU8);

impl Switch {
    pub(crate) fn set(&self, role: Role) {
        self.0.store(role as u8, Ordering::SeqCst);
    }
}

impl Leadership for Switch {
    fn role(&self) -> Role {
        match self.0.load(Ordering::SeqCst) {
            role if role == Role::Leads as u8 => Role::Leads,
            role if role == Role::Alone as u8 => Role::Alone,
            _ => Role::Follows,
        }
    }
}

/// How to start a replica.
pub(crate) struct Setup {
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) role: Role,
    pub(crate) folder: TempDir,
    pub(crate) interval: Duration,
    /// Where its install's Lease is.
    pub(crate) install: Namespace,
    /// Its folder of CA files.
    pub(crate) ca_dir: Option<PathBuf>,
    /// The networks that it does not publish; none if it publishes nothing.
    pub(crate) publish_deny: Option<Vec<IpNet>>,
    pub(crate) resolver: ResolverSettings,
    /// Whether it adopts core Services.
    pub(crate) adopts: bool,
    /// Which policies and namespaces it follows.
    pub(crate) policies: PolicySettings,
    /// The kinds of other projects' objects that it writes.
    pub(crate) annotated: Vec<Kind>,
}

impl Setup {
    /// A leader that watches `namespace`.
    pub(crate) fn of(namespace: &str) -> Self {
        let namespaces = vec![namespace.parse().expect("a namespace")];
        Self { namespaces, ..Self::of_all() }
    }

    /// A leader that watches all namespaces.
    pub(crate) fn of_all() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let install = "portolan".parse().expect("a namespace");
        let interval = Duration::from_secs(1);
        Self {
            namespaces: Vec::new(),
            role: Role::Leads,
            folder,
            interval,
            install,
            ca_dir: None,
            publish_deny: None,
            resolver: ResolverSettings::System,
            adopts: false,
            policies: PolicySettings::default(),
            annotated: Vec::new(),
        }
    }

    /// For the install with its Lease in `namespace`.
    pub(crate) fn installed_in(self, namespace: &str) -> Self {
        Self { install: namespace.parse().expect("a namespace"), ..self }
    }

    pub(crate) fn follows(self) -> Self {
        Self { role: Role::Follows, ..self }
    }

    /// Publishes endpoints, but for those in `deny`.
    pub(crate) fn publishes(self, deny: &[&str]) -> Self {
        let deny = deny.iter().map(|net| net.parse().expect("a network")).collect();
        Self { publish_deny: Some(deny), ..self }
    }

    /// Adopts core Services.
    pub(crate) fn adopts(self) -> Self {
        Self { adopts: true, ..self }
    }

    /// Follows NamespacePolicies.
    pub(crate) fn follows_policies(self) -> Self {
        let policies = PolicySettings { policies: true, ..self.policies };
        Self { policies, ..self }
    }

    /// Watches only the namespaces with these labels.
    pub(crate) fn selects(self, selector: &str) -> Self {
        let selector = Some(selector.parse().expect("a selector"));
        Self { policies: PolicySettings { selector, ..self.policies }, ..self }
    }

    /// Writes annotated objects of these kinds.
    pub(crate) fn writes(self, kinds: &[Kind]) -> Self {
        Self { annotated: kinds.to_vec(), ..self }
    }

    /// In the folder of an earlier replica.
    pub(crate) fn in_folder(self, folder: TempDir) -> Self {
        Self { folder, ..self }
    }

    fn publishing(
        &self,
        names: Arc<dyn NameLookup>,
        on_demand: Arc<dyn OnDemand>,
        policies: &Policies,
    ) -> Option<PublishSettings> {
        let gate = Arc::new(PublishPolicy::new(&policy(), self.publish_deny.clone()?));
        let (namespaces, policies) = (self.namespaces.clone(), policies.clone());
        Some(PublishSettings { namespaces, policies, gate, must_learn: false, names, on_demand })
    }

    /// Starts it as the user of `kubeconfig`.
    pub(crate) async fn start(self, kubeconfig: &Kubeconfig) -> Replica {
        let (clock, metrics, api_health) = (Clock::system(), Metrics::default(), ApiHealth::default());
        let role = Arc::new(Switch(AtomicU8::new(self.role as u8)));
        let leadership: Arc<dyn Leadership> = role.clone();
        let Opened { store, writer, catalog, probes } =
            Store::open(self.store(), clock.clone(), metrics.clone()).expect("a store");
        let dialer = self.dialer(&metrics);
        let names = Arc::new(dialer.clone());
        let policies = Policies::new(self.policies.clone());
        let settings = ProberSettings {
            default_interval: self.interval,
            policies: Arc::new(policies.clone()),
            ..ProberSettings::default()
        };
        let (prober, on_demand) =
            Prober::new(settings, dialer, store.clone(), probes, leadership.clone(), clock, metrics.clone());
        let client = kubeconfig.client().await.expect("a client");
        let (ingest, taking_in) =
            Ingest::new(&self.namespaces, store.clone(), leadership.clone(), Arc::new(policy()), metrics.clone());
        let taking_in = taking_in.with_policies(policies.clone());
        let taking_in = if self.adopts { taking_in.with_endpoints() } else { taking_in };
        let watch = Watch::new(&client, &self.namespaces, &ingest, &api_health, &metrics);
        let (events, telling) = Events::new(client.clone(), event_settings(), leadership.clone(), metrics.clone());
        let installs = Installs::new(&self.install);
        let guarding = InstallsTask::new(
            installs.clone(),
            client.clone(),
            ingest.clone(),
            leadership.clone(),
            events.clone(),
            metrics.clone(),
        );
        let publishing = self.publishing(names, Arc::new(on_demand.clone()), &policies).map(|settings| {
            let (ingest, catalog, installs) = (ingest.clone(), catalog.clone(), installs.clone());
            Publisher::new(client.clone(), ingest, catalog, installs, leadership.clone(), settings, metrics.clone())
        });
        let (publisher, publications) = publishing.unzip();
        let publications = publications.unwrap_or_else(Publications::off);
        let adopter = self.adopts.then(|| {
            let (leadership, watched) = (leadership.clone(), self.namespaces.clone());
            Adopter::new(client.clone(), ingest.clone(), installs.clone(), leadership, events.clone(), watched)
                .with_policies(policies.clone())
        });
        let policy_task = policies.settings().is_on().then(|| {
            let (client, leadership) = (client.clone(), leadership.clone());
            PolicyTask::new(client, policies.clone(), ingest.clone(), installs.clone(), leadership)
        });
        let annotated = (!self.annotated.is_empty()).then(|| {
            let settings = AnnotatedSettings {
                kinds: self.annotated.clone(),
                namespaces: self.namespaces.clone(),
                policies: policies.clone(),
            };
            let (ingest, catalog, installs) = (ingest.clone(), catalog.clone(), installs.clone());
            let (client, leadership) = (client.clone(), leadership.clone());
            AnnotatedTask::new(client, ingest, catalog, installs, leadership, settings, metrics.clone()).0
        });
        let (objects, verdicts) = (ingest.clone(), catalog.clone());
        let status_task = StatusTask::new(client, objects, verdicts, installs, leadership, events, metrics.clone())
            .with_publications(publications);

        let (first, stop, mut parts) = (CancellationToken::new(), CancellationToken::new(), JoinSet::new());
        let token = || first.clone();
        parts.spawn({
            let stop = token();
            async move { watch.run(stop).await.expect("the watch") }
        });
        parts.spawn({
            let stop = token();
            async move { status_task.run(stop).await.expect("the status writer") }
        });
        spawn_optional(&mut parts, &first, policy_task, adopter, publisher, annotated);
        parts.spawn({
            let stop = token();
            async move { guarding.run(stop).await.expect("the watch of installs") }
        });
        parts.spawn({
            let stop = token();
            async move { telling.run(stop).await.expect("the events") }
        });
        parts.spawn({
            let stop = token();
            async move { prober.run(stop).await.expect("the prober") }
        });
        parts.spawn({
            let stop = token();
            async move { taking_in.run(stop).await.expect("the ingest") }
        });
        let mut storing = JoinSet::new();
        storing.spawn({
            let stop = stop.clone();
            async move { writer.run(stop).await.expect("the writer") }
        });
        Replica { catalog, ingest, on_demand, metrics, role, first, stop, parts, storing, folder: self.folder }
    }

    fn dialer(&self, metrics: &Metrics) -> Dialer {
        Dialer::new(DialSettings {
            policy: policy(),
            ca_dir: self.ca_dir.clone(),
            resolver: self.resolver.clone(),
            metrics: metrics.clone(),
            ..DialSettings::default()
        })
    }

    fn store(&self) -> StoreSettings {
        StoreSettings {
            path: self.folder.path().join("services.db"),
            max_services: 0,
            max_instances: 100_000,
            history_days: 30,
            history_rows: 100_000,
            default_interval: self.interval,
            epoch: Some(Epoch::of(&uuid::Uuid::from_u128(7))),
            durable: false,
        }
    }
}

fn spawn_optional(
    parts: &mut JoinSet<()>,
    stop: &CancellationToken,
    policies: Option<PolicyTask>,
    adopter: Option<Adopter>,
    publisher: Option<Publisher>,
    annotated: Option<AnnotatedTask>,
) {
    let token = || stop.clone();
    if let Some(policies) = policies {
        let stop = token();
        parts.spawn(async move { policies.run(stop).await.expect("the watch of policies") });
    }
    if let Some(adopter) = adopter {
        let stop = token();
        parts.spawn(async move { Box::pin(adopter.run(stop)).await.expect("the adopter") });
    }
    if let Some(publisher) = publisher {
        let stop = token();
        parts.spawn(async move { Box::pin(publisher.run(stop)).await.expect("the publisher") });
    }
    if let Some(annotated) = annotated {
        let stop = token();
        parts.spawn(async move { Box::pin(annotated.run(stop)).await.expect("the writer of annotated objects") });
    }
}

fn event_settings() -> EventSettings {
    let whole = ObjectReference { kind: Some("Lease".into()), ..ObjectReference::default() };
    EventSettings { instance: "replica-0".into(), whole, guard_holds: Box::new(|| false) }
}

fn policy() -> AddressPolicy {
    AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }
}

/// A running replica.
pub(crate) struct Replica {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ingest: Ingest,
    pub(crate) on_demand: ProberHandle,
    pub(crate) metrics: Metrics,
    pub(crate) role: Arc<Switch>,
    first: CancellationToken,
    stop: CancellationToken,
    parts: JoinSet<()>,
    storing: JoinSet<()>,
    folder: TempDir,
}

impl Replica {
    /// The service `namespace/name` as readers get it.
    pub(crate) fn entry(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.catalog.snapshot().find(namespace, name).cloned()
    }

    pub(crate) async fn until_health(&self, namespace: &str, name: &str, health: Health) {
        let what = format!("{name} is {health}");
        until(&what, async || self.entry(namespace, name).is_some_and(|entry| entry.health() == health)).await;
    }

    pub(crate) async fn until_gone(&self, namespace: &str, name: &str) {
        until(&format!("{name} is gone"), async || self.entry(namespace, name).is_none()).await;
    }

    pub(crate) async fn until_complete(&self) {
        until("a list is finished", async || self.ingest.is_complete()).await;
    }

    /// The count of that name with its labels, 0 where there is none.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render().expect("metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// Stops it in order, and leaves its files.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.first.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended.expect("no part panicked");
        }
        self.stop.cancel();
        while let Some(ended) = self.storing.join_next().await {
            ended.expect("no part panicked");
        }
        self.folder
    }
}

/// `namespace/name`.
pub(crate) fn key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey::new(&namespace.parse().expect("a namespace"), &name.parse().expect("a name"))
}
