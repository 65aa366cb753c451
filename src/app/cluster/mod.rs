//! Cluster mode: the Kubernetes API is the record, the store mirrors it, and the elector says who probes and writes.

mod place;
mod waiting;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;

use super::AppError;
use super::base::{Base, Engine, Plugs};
use super::component_status::{EventReporter, LocalWords, Words};
use super::readiness::PartsReadiness;
use super::tasks::{Stage, Tasks};
use crate::config::ClusterSettings;
use crate::model::ports::Leadership;
use crate::operator::events::{EventSettings, EventWriter, Events};
use crate::operator::ingest::mirror_age::MirrorAge;
use crate::operator::ingest::{Ingest, IngestTask};
use crate::operator::kubernetes::client::Access;
use crate::operator::kubernetes::epoch::Registry;
use crate::operator::kubernetes::health::ApiHealth;
use crate::operator::registrar::{RegistrarSettings, RestRegistrar, RestRegistrarTask};
use crate::operator::replicas::installs::{Installs, InstallsTask};
use crate::operator::replicas::lease::{self, Elector, ElectorTask};
use crate::operator::replicas::pass_on::LeaderLine;
use crate::operator::replicas::peers::Peers;
use crate::operator::report::Reporter;
use crate::operator::watch::Watch;
use crate::telemetry::server_events::EventReceiver;
use place::Place;
use waiting::Known;
use words::ClusterWords;

/// The parts that talk with the Kubernetes API.
struct Operator {
    api_health: ApiHealth,
    elector: Elector,
    ingest: Ingest,
    registrar: RestRegistrar,
    electing: ElectorTask,
    taking_in: IngestTask,
    watch: Watch,
    registering: RestRegistrarTask,
    reporter: Reporter,
    telling: EventWriter,
    peers: Peers,
    installs: Installs,
    guarding: InstallsTask,
}

/// Serves until the word to stop; before it is known which cluster this is, only that it waits.
pub(super) async fn run(
    mut base: Base,
    told: &ClusterSettings,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), AppError> {
    let access = Access::find(told.context.as_deref()).await?;
    let place = Place::new(&base, told, &access).await?;
    let api_health = ApiHealth::default();
    let client = access.client(&api_health, &base.metrics)?;
    base.announce();
    let registry = Registry::new(&client, &place.namespace);
    let Some(known) = waiting::until_known(&base, &registry).await? else {
        tracing::info!("stopped");
        return Ok(());
    };
    let (elector, electing) =
        Elector::new(client.clone(), &place.namespace, &place.replica, place.address, &base.metrics);
    let engine = base.engine(Some(known.epoch.clone()), place.policy.clone(), Arc::new(elector.clone()))?;
    let operator = operator(&base, told, &place, &engine, client, api_health, (elector, electing));
    let age = mirror_age(&operator, known.age);
    let words: Arc<dyn Words> = Arc::new(words(&base, &engine, &operator, age.clone()));
    let teller = EventReporter::new(Arc::clone(&words), base.shutdown.clone());
    let plugs = plugs(&base, &place, &operator, age, words, teller.hear())?;
    let api = base.api(&engine, plugs);
    let mut tasks = Tasks::new();
    engine.start(&mut tasks, &base.probing);
    operator.start(&mut tasks);
    tasks.start(Stage::Serving, "the teller", |stop| teller.run(stop));
    if let Known { epoch, unconfirmed: true, .. } = known {
        tasks.start(Stage::Reporting, "the mirror", |stop| registry.confirm(epoch, stop));
    }
    base.serve(api, tasks, ready).await
}

fn operator(
    base: &Base,
    told: &ClusterSettings,
    place: &Place,
    engine: &Engine,
    client: Client,
    api_health: ApiHealth,
    (elector, electing): (Elector, ElectorTask),
) -> Operator {
    let (namespaces, metrics) = (&told.watch_namespaces, &base.metrics);
    let leadership: Arc<dyn Leadership> = Arc::new(elector.clone());
    let addresses = Arc::new(place.policy.clone());
    let (ingest, taking_in) =
        Ingest::new(namespaces, engine.store.clone(), Arc::clone(&leadership), addresses, metrics.clone());
    let watch = Watch::new(&client, namespaces, &ingest, &api_health, metrics);
    let settings = RegistrarSettings {
        namespaces: place.rest_namespaces.clone().into(),
        max_services: base.settings.max_services.map_or(0, |n| n as usize),
        max_instances: base.settings.max_instances as usize,
    };
    let catalog = || Arc::clone(&engine.catalog);
    let (registrar, registering) =
        RestRegistrar::new(settings, client.clone(), ingest.clone(), catalog(), api_health.clone(), metrics.clone());
    let settings = event_settings(place, engine);
    let (events, telling) = Events::new(client.clone(), settings, Arc::clone(&leadership), metrics.clone());
    let peers = Peers::new(client.clone(), &place.namespace, Arc::clone(&place.policy.denied_for_now));
    let installs = Installs::new(&place.namespace);
    let guarding = InstallsTask::new(
        installs.clone(),
        client.clone(),
        ingest.clone(),
        Arc::clone(&leadership),
        events.clone(),
        metrics.clone(),
    );
    let reporter =
        Reporter::new(client, ingest.clone(), catalog(), installs.clone(), leadership, events, metrics.clone());
    Operator {
        api_health,
        elector,
        ingest,
        registrar,
        electing,
        taking_in,
        watch,
        registering,
        reporter,
        telling,
        peers,
        installs,
        guarding,
    }
}

fn mirror_age(operator: &Operator, file: Duration) -> MirrorAge {
    MirrorAge::new(operator.api_health.clone(), operator.ingest.clone(), Arc::new(operator.elector.clone()), file)
}

/// What concerns the process as a whole is told of its Lease.
fn event_settings(place: &Place, engine: &Engine) -> EventSettings {
    let status = Arc::clone(engine.probing.status());
    EventSettings {
        instance: place.replica.clone(),
        whole: ObjectReference {
            api_version: Some("coordination.k8s.io/v1".to_owned()),
            kind: Some("Lease".to_owned()),
            name: Some(lease::NAME.to_owned()),
            namespace: Some(place.namespace.to_string()),
            ..ObjectReference::default()
        },
        guard_holds: Box::new(move || status.read().guard_holding),
    }
}

/// How this replica stands.
fn words(base: &Base, engine: &Engine, operator: &Operator, age: MirrorAge) -> ClusterWords {
    let status = Arc::clone(engine.probing.status());
    ClusterWords {
        local: LocalWords::new(engine.store.clone(), status, base.shutdown.clone()),
        store: engine.store.clone(),
        elector: operator.elector.clone(),
        ingest: operator.ingest.clone(),
        api_health: operator.api_health.clone(),
        installs: operator.installs.clone(),
        age,
    }
}

/// What the API is given in this mode.
fn plugs(
    base: &Base,
    place: &Place,
    operator: &Operator,
    age: MirrorAge,
    words: Arc<dyn Words>,
    told: EventReceiver,
) -> Result<Plugs, AppError> {
    let elector = operator.elector.clone();
    let leader = move || elector.holder().and_then(|holder| holder.address);
    Ok(Plugs {
        registrar: Arc::new(operator.registrar.clone()),
        addresses: Arc::new(place.policy.clone()),
        readiness: Arc::new(PartsReadiness(words)),
        freshness: Some(Arc::new(age)),
        pass_on: Some(Arc::new(LeaderLine::new(leader, base.metrics.clone())?)),
        told,
        default_namespace: place.default_namespace.clone(),
    })
}

impl Operator {
    fn start(self, tasks: &mut Tasks) {
        let Self { electing, taking_in, watch, registering, reporter, telling, peers, guarding, .. } = self;
        tasks.start(Stage::Leading, "the elector", |stop| electing.run(stop));
        tasks.start(Stage::Leading, "the ingest", |stop| taking_in.run(stop));
        tasks.start(Stage::Reporting, "the watch", |stop| watch.run(stop));
        tasks.start(Stage::Reporting, "the registrar", |stop| registering.run(stop));
        tasks.start(Stage::Reporting, "the status writer", |stop| reporter.run(stop));
        tasks.start(Stage::Reporting, "the events", |stop| telling.run(stop));
        tasks.start(Stage::Reporting, "the watch of installs", |stop| guarding.run(stop));
        tasks.start(Stage::Reporting, "the watch of replicas", |stop| peers.run(stop));
    }
}
