//! Parts of Portolan in other surroundings: the API without a store, and the prober at a rate that no setting allows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use portolan::api::access::{Access, AccessSettings};
use portolan::api::conn::{self, ConnSettings};
use portolan::api::{Api, ApiSettings, ApiState, InFlight, InFlightLimits, Part, Readiness, WatchLimiter, WatchLimits};
use portolan::app::{self, RunOptions};
use portolan::config::{ServeArgs, Settings};
use portolan::model::name::{InstanceName, Namespace};
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{
    AcknowledgementChange, AddressGate, AnyNamespace, Beat, BeatError, Caller, DrainChange, Heard, Heartbeats,
    InstanceRef, OnDemand, OnDemandError, OnDemandResult, Probing, ProbingByService, Registered, Registrar,
    Registration, Removal, ServiceRef, WriteError,
};
use portolan::model::service::{Instance, InstanceId, Service, Source};
use portolan::model::time::{Clock, UnixMs};
use portolan::model::url::EndpointUrl;
use portolan::store::{Opened, Store, StoreSettings};
use portolan::telemetry::access_log::AccessLog;
use portolan::telemetry::audit::AuditLog;
use portolan::telemetry::metrics::Metrics;
use portolan::telemetry::server_events::EventReceiver;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Answers like the store, but keeps nothing.
struct Nowhere;

impl Registrar for Nowhere {
    fn register(&self, call: Registration, caller: Caller) -> BoxFuture<'static, Result<Registered, WriteError>> {
        let now = UnixMs::wall();
        let key = call.key();
        let unchecked = (Health::Unknown, Reason::NotChecked);
        let new = Instance::new(InstanceId(1), call.instance.clone(), Arc::new(call.spec), unchecked, now);
        let instance = Instance { owner: caller.owner, ..new };
        let service = Service {
            id: Uuid::now_v7(),
            key,
            source: Source::Rest,
            registered_at: now,
            updated_at: now,
            revision: 1,
            sequence: 1,
            unreported: None,
            instances: vec![instance],
        };
        let (service, instance) = (Arc::new(service), call.instance);
        let registered = Registered { service, instance, generation: 1, renewed: false, replaced: Vec::new() };
        futures::future::ready(Ok(registered)).boxed()
    }

    fn renewed(&self, _: &Registration, _: &Caller) -> Option<Registered> {
        None
    }

    fn deregister(&self, _: Removal, _: Caller) -> BoxFuture<'static, Result<(), WriteError>> {
        futures::future::ready(Err(WriteError::ServiceNotFound)).boxed()
    }

    fn drain(&self, _: InstanceRef, _: DrainChange, _: Caller) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        futures::future::ready(Err(WriteError::ServiceNotFound)).boxed()
    }

    fn acknowledge(
        &self,
        _: ServiceRef,
        _: Option<InstanceName>,
        _: AcknowledgementChange,
        _: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        futures::future::ready(Err(WriteError::ServiceNotFound)).boxed()
    }
}

impl OnDemand for Nowhere {
    fn check_now(
        &self,
        _: Uuid,
        _: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        futures::future::ready(Err(OnDemandError::Unavailable)).boxed()
    }

    fn observe_now(
        &self,
        _: Uuid,
        _: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        futures::future::ready(Err(OnDemandError::Unavailable)).boxed()
    }
}

impl Heartbeats for Nowhere {
    fn beat(&self, _: Uuid, _: &InstanceName, _: Beat) -> Result<Heard, BeatError> {
        Err(BeatError::Unavailable)
    }

    fn registered(&self, _: Uuid, _: &InstanceName) -> Result<Heard, BeatError> {
        Err(BeatError::Unavailable)
    }
}

impl Probing for Nowhere {
    fn probing(&self, _: Vec<Uuid>) -> BoxFuture<'static, Result<ProbingByService, OnDemandError>> {
        futures::future::ready(Err(OnDemandError::Unavailable)).boxed()
    }
}

impl AddressGate for Nowhere {
    fn admit(&self, _: &EndpointUrl) -> Result<(), String> {
        Ok(())
    }
}

impl Readiness for Nowhere {
    fn parts(&self) -> Vec<Part> {
        Vec::new()
    }
}

/// Serves the API over [`Nowhere`], with the same access log, limit and metrics as Portolan in the same benchmark.
pub(crate) async fn serve() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let interval = Duration::from_secs(30);
    let settings = StoreSettings {
        path: folder.path().join("unused.db"),
        max_services: 0,
        max_instances: 1,
        history_days: 1,
        history_rows: 1,
        default_interval: interval,
        epoch: None,
        durable: true,
    };
    let Opened { store, catalog, writer: _writer, .. } = Store::open(settings, clock.clone(), metrics.clone())?;
    let access = AccessSettings {
        read_auth: false,
        token_max: Duration::from_hours(24),
        default_namespace: Namespace::default(),
        rate_per_minute: None,
        read_rate_per_minute: None,
        trusted_proxies: Vec::new(),
        cors_origins: Vec::new(),
        allowed_hosts: Vec::new(),
        bound_to_loopback: true,
        certificate_required: false,
    };
    let (access_log, lines) = AccessLog::new(false, Box::new(std::io::sink()), &metrics);
    let api = Api::new(ApiState {
        catalog,
        registrar: Arc::new(Nowhere),
        on_demand: Arc::new(Nowhere),
        heartbeats: Arc::new(Nowhere),
        probing: Arc::new(Nowhere),
        addresses: Arc::new(Nowhere),
        policies: Arc::new(AnyNamespace),
        history: store,
        access: Access::new(access, None, metrics.clone(), clock),
        access_log,
        audit: AuditLog::without_file(),
        metrics: metrics.clone(),
        readiness: Arc::new(Nowhere),
        empty_services: None,
        freshness: None,
        pass_on: None,
        server_events: EventReceiver::closed(),
        watches: WatchLimiter::new(WatchLimits::default()),
        in_flight: InFlight::new(InFlightLimits::default(), metrics.clone()),
        bodies: InFlight::new(InFlightLimits::BODIES, metrics.clone()),
        settings: ApiSettings { default_namespace: Namespace::default(), service_metrics: true },
    });
    let listener = crate::roles::listen().await?;
    let stop = CancellationToken::new();
    tokio::select! {
        served = conn::serve(listener, ConnSettings::default(), api, metrics, stop.clone()) => Ok(served?),
        written = lines.run(stop) => Ok(written?),
    }
}

/// The whole server with `services` targets that are each due every 400 ms: more than two cores can probe.
pub(crate) async fn prober(targets: &str, services: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut settings = Settings::load(&ServeArgs::default(), |_| None)?;
    settings.server_port = 0;
    settings.db_path = folder.path().join("s.db");
    settings.health_check_interval = Duration::from_millis(400);
    settings.max_services = None;
    settings.rate_limit_per_minute = None;
    let shutdown = CancellationToken::new();
    let (ready, address) = tokio::sync::oneshot::channel();
    let options = RunOptions::without_log(shutdown.clone());
    let server = app::run(settings, options, |address| {
        // Nobody waits if the process is ending anyway.
        let _ = ready.send(address);
    });
    let targets = targets.to_owned();
    let fill = async move {
        let url = format!("http://{}", address.await?);
        crate::registrations::fill(&url, services, Some(&targets)).await?;
        eprintln!("listening on {url}");
        std::future::pending::<Result<()>>().await
    };
    let terminated = crate::roles::terminated();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        failed = fill => return failed,
        ended = terminated => ended?,
    }
    shutdown.cancel();
    Ok(server.await?)
}
