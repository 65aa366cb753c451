//! Cluster mode: the Kubernetes API is the record, the store mirrors it, and the holder of the Lease probes and writes.
//!
//! In: the settings of cluster mode. Out: the tasks of the operator, the registrar for the API, and what `/readyz` reports about them.
//!
//! Read the files in this order: `identity` (who this replica is), `epoch` (which cluster it is in), this file (the operator's tasks), `status` (what
//! `/readyz` reports about them).

mod epoch;
mod identity;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;

use super::AppError;
use super::component_settings;
use super::component_status::{EventReporter, StatusSource};
use super::readiness::StatusReadiness;
use super::startup::{Core, Startup};
use super::tasks::{ShutdownStage, Tasks};
use crate::api::access::AccountSettings;
use crate::api::tls::ServerTls;
use crate::api::{Api, ApiState};
use crate::config::ClusterSettings;
use crate::model::ports::{Authority, Leadership};
use crate::operator::adopt::Adopter;
use crate::operator::annotated::{AnnotatedSettings, AnnotatedTask, Kind, KindStates};
use crate::operator::authority::KubernetesAuthority;
use crate::operator::certificates::Certificates;
use crate::operator::events::{EventSettings, EventWriter, Events};
use crate::operator::ingest::mirror_age::MirrorAge;
use crate::operator::ingest::{Ingest, IngestTask};
use crate::operator::kubernetes::client::Access;
use crate::operator::kubernetes::epoch::Registry;
use crate::operator::kubernetes::health::ApiHealth;
use crate::operator::namespaces::{Policies, PolicySettings};
use crate::operator::policy::PolicyTask;
use crate::operator::publish::{Publications, PublishSettings, Publisher};
use crate::operator::registrar::{Acknowledgements, RegistrarSettings, RestRegistrar, RestRegistrarTask};
use crate::operator::replicas::beat_delivery::BeatDelivery;
use crate::operator::replicas::installs::{Installs, InstallsTask};
use crate::operator::replicas::lease::{self, Elector, ElectorTask};
use crate::operator::replicas::own_beats::OwnBeats;
use crate::operator::replicas::pass_on::LeaderLine;
use crate::operator::replicas::peers::Peers;
use crate::operator::status_writer::StatusTask;
use crate::operator::watch::Watch;
use crate::prober::PublishPolicy;
use crate::store::TimedEnds;
use crate::telemetry::server_events::EventReceiver;
use epoch::KnownEpoch;
use identity::ReplicaIdentity;
use status::ClusterStatus;

/// The operator's handles and tasks.
struct Operator {
    api_health: ApiHealth,
    elector: Elector,
    elector_task: ElectorTask,
    ingest: Ingest,
    ingest_task: IngestTask,
    watch: Watch,
    registrar: RestRegistrar,
    registrar_task: RestRegistrarTask,
    acknowledged_ends: TimedEnds,
    status_task: StatusTask,
    publisher: Option<Publisher>,
    adopter: Option<Adopter>,
    policies: Policies,
    policy_task: Option<PolicyTask>,
    annotated: Option<(AnnotatedTask, KindStates)>,
    event_writer: EventWriter,
    peers: Peers,
    installs: Installs,
    installs_task: InstallsTask,
    leader_line: LeaderLine,
    beat_delivery: BeatDelivery,
    /// What the cluster says about callers, and which of their tokens are accepted.
    callers: (Arc<dyn Authority>, AccountSettings),
}

/// Serves until shutdown. Until the cluster is known, it only answers that it is waiting.
pub(super) async fn run(
    mut startup: Startup,
    cluster: &ClusterSettings,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), AppError> {
    let kubernetes = Access::find(cluster.context.as_deref()).await?;
    let identity = ReplicaIdentity::new(&startup, cluster, &kubernetes).await?;
    let api_health = ApiHealth::default();
    let client = kubernetes.client(&api_health, &startup.metrics)?;
    startup.announce();
    let registry = Registry::new(&client, &identity.namespace);
    let Some(known) = epoch::find(&startup, &registry).await? else {
        tracing::info!("stopped");
        return Ok(());
    };
    let elector = Elector::new(client.clone(), &identity.namespace, &identity.name, identity.address, &startup.metrics);
    let policies = Policies::new(policy_settings(cluster));
    let leadership: Arc<dyn Leadership> = Arc::new(elector.0.clone());
    let (certificates, certificate_reader) =
        Certificates::new(client.clone(), Arc::clone(&leadership), startup.metrics.clone());
    let (policy, objects) = (identity.policy.clone(), Some(Arc::new(certificates) as _));
    let core = startup.core(Some(known.epoch.clone()), policy, Arc::new(policies.clone()), leadership, objects)?;
    let operator = operator(&startup, cluster, &identity, &core, (client, api_health), policies, elector)?;
    let age = mirror_age(&operator, known.file_age);
    let status: Arc<dyn StatusSource> = Arc::new(cluster_status(&startup, &core, &operator, age.clone()));
    let reporter = EventReporter::new(Arc::clone(&status), startup.shutdown.clone());
    let state = api_state(&mut startup, &identity, &core, &operator, age, status, reporter.subscribe());
    let api = Api::new(state);
    let mut tasks = Tasks::new();
    core.start(&mut tasks, &startup.probing, Arc::new(operator.registrar.clone()));
    operator.start(&mut tasks);
    tasks.start(ShutdownStage::Reporting, "the reader of certificates", |stop| certificate_reader.run(stop));
    tasks.start(ShutdownStage::Serving, "the event reporter", |stop| reporter.run(stop));
    if let KnownEpoch { epoch, unconfirmed: true, .. } = known {
        tasks.start(ShutdownStage::Reporting, "the mirror", |stop| registry.confirm(epoch, stop));
    }
    startup.serve(api, tasks, ready).await
}

fn operator(
    startup: &Startup,
    cluster: &ClusterSettings,
    identity: &ReplicaIdentity,
    core: &Core,
    (client, api_health): (Client, ApiHealth),
    policies: Policies,
    (elector, elector_task): (Elector, ElectorTask),
) -> Result<Operator, AppError> {
    let (namespaces, metrics) = (&cluster.watch_namespaces, &startup.metrics);
    let authority = KubernetesAuthority::new(client.clone(), api_health.clone(), metrics.clone());
    let callers = (Arc::new(authority) as _, component_settings::accounts(&startup.settings, cluster));
    let leadership: Arc<dyn Leadership> = Arc::new(elector.clone());
    let addresses = Arc::new(identity.policy.clone());
    let (ingest, ingest_task) =
        Ingest::new(namespaces, core.store.clone(), Arc::clone(&leadership), addresses, metrics.clone());
    let ingest_task = ingest_task.with_policies(policies.clone());
    let ingest_task = if cluster.adopt { ingest_task.with_endpoints() } else { ingest_task };
    let watch = Watch::new(&client, namespaces, &ingest, &api_health, metrics);
    let settings = RegistrarSettings {
        namespaces: identity.rest_namespaces.clone().into(),
        max_services: startup.settings.max_services.map_or(0, |n| n as usize),
        max_instances: startup.settings.max_instances as usize,
        policies: policies.clone(),
    };
    let catalog = || Arc::clone(&core.catalog);
    let installs = Installs::new(&identity.namespace);
    let acknowledgements =
        Acknowledgements::new(core.store.clone(), ingest.clone(), installs.clone(), Arc::clone(&leadership));
    let acknowledged_ends =
        TimedEnds::of_acknowledgements(core.store.clone(), startup.clock.clone(), Arc::clone(&leadership));
    let (registrar, registrar_task) = RestRegistrar::new(
        settings,
        client.clone(),
        ingest.clone(),
        catalog(),
        api_health.clone(),
        acknowledgements,
        metrics.clone(),
    );
    let settings = event_settings(identity, core);
    let (events, event_writer) = Events::new(client.clone(), settings, Arc::clone(&leadership), metrics.clone());
    let peers = Peers::new(client.clone(), &identity.namespace, Arc::clone(&identity.policy.denied_for_now));
    let installs_task = InstallsTask::new(
        installs.clone(),
        client.clone(),
        ingest.clone(),
        Arc::clone(&leadership),
        events.clone(),
        metrics.clone(),
    );
    let leader_line = leader_line(startup, &elector, identity)?;
    let beat_delivery = BeatDelivery::new(leader_line.clone(), Arc::clone(&leadership), Arc::new(core.probing.clone()));
    let (publisher, publications) = publish_settings(cluster, identity, core, &policies).map_or_else(
        || (None, Publications::off()),
        |settings| {
            let (client, leadership) = (client.clone(), Arc::clone(&leadership));
            let (ingest, installs) = (ingest.clone(), installs.clone());
            let (publisher, publications) =
                Publisher::new(client, ingest, catalog(), installs, leadership, settings, metrics.clone());
            (Some(publisher), publications)
        },
    );
    let adopter = cluster.adopt.then(|| {
        let (client, leadership) = (client.clone(), Arc::clone(&leadership));
        Adopter::new(client, ingest.clone(), installs.clone(), leadership, events.clone(), namespaces.clone())
            .with_policies(policies.clone())
    });
    let policy_task = policies.settings().is_on().then(|| {
        let (client, leadership) = (client.clone(), Arc::clone(&leadership));
        PolicyTask::new(client, policies.clone(), ingest.clone(), installs.clone(), leadership)
    });
    let annotated = annotated_settings(cluster, &policies).map(|settings| {
        let (client, leadership) = (client.clone(), Arc::clone(&leadership));
        let (ingest, installs) = (ingest.clone(), installs.clone());
        AnnotatedTask::new(client, ingest, catalog(), installs, leadership, settings, metrics.clone())
    });
    let status_task =
        StatusTask::new(client, ingest.clone(), catalog(), installs.clone(), leadership, events, metrics.clone())
            .with_publications(publications);
    Ok(Operator {
        api_health,
        elector,
        elector_task,
        ingest,
        ingest_task,
        watch,
        registrar,
        registrar_task,
        acknowledged_ends,
        status_task,
        publisher,
        adopter,
        policies,
        policy_task,
        annotated,
        event_writer,
        peers,
        installs,
        installs_task,
        leader_line,
        beat_delivery,
        callers,
    })
}

fn policy_settings(cluster: &ClusterSettings) -> PolicySettings {
    PolicySettings { policies: cluster.policies, selector: cluster.watch_selector.clone() }
}

/// Which kinds of other projects' objects are written; none if none are.
fn annotated_settings(cluster: &ClusterSettings, policies: &Policies) -> Option<AnnotatedSettings> {
    let all = [
        (cluster.workload_entries, Kind::WorkloadEntry),
        (cluster.external_workloads, Kind::ExternalWorkload),
        (cluster.dns_endpoints, Kind::DnsEndpoint),
    ];
    let kinds: Vec<Kind> = all.into_iter().filter_map(|(on, kind)| on.then_some(kind)).collect();
    (!kinds.is_empty()).then(|| AnnotatedSettings {
        kinds,
        namespaces: cluster.watch_namespaces.clone(),
        policies: policies.clone(),
    })
}

/// How to publish; none if that is off.
fn publish_settings(
    cluster: &ClusterSettings,
    identity: &ReplicaIdentity,
    core: &Core,
    policies: &Policies,
) -> Option<PublishSettings> {
    if !cluster.publish {
        return None;
    }
    Some(PublishSettings {
        namespaces: cluster.watch_namespaces.clone(),
        policies: policies.clone(),
        gate: Arc::new(PublishPolicy::new(&identity.policy, cluster.publish_deny.clone().unwrap_or_default())),
        must_learn: cluster.publish_deny.is_none(),
        names: Arc::clone(&core.names),
        on_demand: Arc::new(core.probing.clone()),
    })
}

fn leader_line(startup: &Startup, elector: &Elector, identity: &ReplicaIdentity) -> Result<LeaderLine, AppError> {
    let elector = elector.clone();
    let leader = move || elector.holder().and_then(|holder| holder.address);
    let tls = startup.tls.as_ref().map(ServerTls::to_replicas).transpose()?;
    let replicas = Arc::clone(&identity.policy.denied_for_now);
    Ok(LeaderLine::new(leader, replicas, tls, startup.metrics.clone())?)
}

fn mirror_age(operator: &Operator, file_age: Duration) -> MirrorAge {
    MirrorAge::new(operator.api_health.clone(), operator.ingest.clone(), Arc::new(operator.elector.clone()), file_age)
}

/// Events about the process as a whole refer to its Lease.
fn event_settings(identity: &ReplicaIdentity, core: &Core) -> EventSettings {
    let status = Arc::clone(core.probing.status());
    EventSettings {
        instance: identity.name.clone(),
        whole: ObjectReference {
            api_version: Some("coordination.k8s.io/v1".to_owned()),
            kind: Some("Lease".to_owned()),
            name: Some(lease::NAME.to_owned()),
            namespace: Some(identity.namespace.to_string()),
            ..ObjectReference::default()
        },
        guard_holds: Box::new(move || status.read().guard_holding),
    }
}

fn cluster_status(startup: &Startup, core: &Core, operator: &Operator, age: MirrorAge) -> ClusterStatus {
    ClusterStatus {
        local: startup.local_status(core),
        store: core.store.clone(),
        elector: operator.elector.clone(),
        ingest: operator.ingest.clone(),
        api_health: operator.api_health.clone(),
        installs: operator.installs.clone(),
        policies: operator.policies.clone(),
        annotated: operator.annotated.as_ref().map(|(_, states)| states.clone()),
        age,
    }
}

/// The API over the mirror, with a line to the leader.
fn api_state(
    startup: &mut Startup,
    identity: &ReplicaIdentity,
    core: &Core,
    operator: &Operator,
    age: MirrorAge,
    status: Arc<dyn StatusSource>,
    server_events: EventReceiver,
) -> ApiState {
    let access = startup.access(&identity.default_namespace, Some(operator.callers.clone()));
    let mut state = startup.api_state(
        core,
        Arc::new(operator.registrar.clone()),
        Arc::new(identity.policy.clone()),
        Arc::new(StatusReadiness(status)),
        server_events,
        (access, identity.default_namespace.clone()),
    );
    state.empty_services = Some(Arc::new(operator.ingest.clone()));
    state.policies = Arc::new(operator.policies.clone());
    state.freshness = Some(Arc::new(age));
    state.heartbeats = Arc::new(OwnBeats::new(Arc::new(core.probing.clone()), operator.leader_line.clone()));
    state.pass_on = Some(Arc::new(operator.leader_line.clone()));
    state
}

impl Operator {
    fn start(self, tasks: &mut Tasks) {
        let Self {
            elector_task,
            ingest_task,
            watch,
            registrar_task,
            acknowledged_ends,
            status_task,
            publisher,
            adopter,
            policy_task,
            annotated,
            event_writer,
            peers,
            installs_task,
            beat_delivery,
            ..
        } = self;
        tasks.start(ShutdownStage::Leading, "the elector", |stop| elector_task.run(stop));
        tasks.start(ShutdownStage::Leading, "the ingest of objects", |stop| ingest_task.run(stop));
        tasks.start(ShutdownStage::Reporting, "the watch of objects", |stop| watch.run(stop));
        tasks.start(ShutdownStage::Reporting, "the registrar", |stop| registrar_task.run(stop));
        tasks.start(ShutdownStage::Reporting, "the end of acknowledgements", |stop| acknowledged_ends.run(stop));
        tasks.start(ShutdownStage::Reporting, "the status writer", |stop| status_task.run(stop));
        if let Some(publisher) = publisher {
            tasks.start(ShutdownStage::Reporting, "the publisher", |stop| publisher.run(stop));
        }
        if let Some(adopter) = adopter {
            tasks.start(ShutdownStage::Reporting, "the adoption of core Services", |stop| adopter.run(stop));
        }
        if let Some(task) = policy_task {
            tasks.start(ShutdownStage::Reporting, "the watch of policies", |stop| task.run(stop));
        }
        if let Some((annotated, _)) = annotated {
            tasks.start(ShutdownStage::Reporting, "the writer of annotated objects", |stop| annotated.run(stop));
        }
        tasks.start(ShutdownStage::Reporting, "the event writer", |stop| event_writer.run(stop));
        tasks.start(ShutdownStage::Reporting, "the watch of installs", |stop| installs_task.run(stop));
        tasks.start(ShutdownStage::Reporting, "the watch of replicas", |stop| peers.run(stop));
        tasks.start(ShutdownStage::Reporting, "the delivery of heartbeats", |stop| beat_delivery.run(stop));
    }
}
