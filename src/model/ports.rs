//! The traits between parts that must not know each other; `app.rs` plugs one side into the other.

use std::sync::Arc;

use futures::future::BoxFuture;
use uuid::Uuid;

pub use super::health::StreakProgress;
use super::name::{InstanceName, Namespace, ServiceKey, ServiceName};
use super::outcome::Outcome;
use super::probe::Sample;
use super::service::{InstanceSpec, Owner, Service};
use super::time::UnixMs;
use super::url::EndpointUrl;
pub use super::write_error::{ClusterError, FullService, WriteError};

/// Who asks, as far as ownership goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Becomes the owner of what it registers.
    pub owner: Owner,
    /// May change what others own.
    pub admin: bool,
}

impl Caller {
    /// Whether it may change what `owner` registered.
    pub fn may_change(&self, owner: &Owner) -> bool {
        self.admin || self.owner == *owner
    }
}

/// A validated register call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Namespace.
    pub namespace: Namespace,
    /// Service.
    pub service: ServiceName,
    /// Instance; `default` unless given.
    pub instance: InstanceName,
    /// Its content.
    pub spec: InstanceSpec,
}

impl Registration {
    /// Namespace and name.
    pub fn key(&self) -> ServiceKey {
        ServiceKey::new(&self.namespace, &self.service)
    }
}

/// What a register call did.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The service as it is now.
    pub service: Arc<Service>,
    /// The instance's generation, for `If-Match` on its removal.
    pub generation: u64,
    /// Whether it only repeated what was known (not counted by the rate limit).
    pub renewed: bool,
    /// The URLs of the instance that it put others in place of.
    pub replaced: Vec<ReplacedUrl>,
}

/// A URL of an instance in whose place a registration put another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedUrl {
    /// `base_url` or `health_url`.
    pub field: &'static str,
    /// The one that the instance had.
    pub old: EndpointUrl,
    /// The one that it has now; none where it has no health URL any more.
    pub new: Option<EndpointUrl>,
    /// Whether the instance was healthy until then.
    pub was_healthy: bool,
}

impl ReplacedUrl {
    /// Those of `old` that `new` replaces.
    pub fn between(old: &InstanceSpec, new: &InstanceSpec, was_healthy: bool) -> Vec<Self> {
        let urls = [
            ("base_url", Some(&old.base_url), Some(&new.base_url)),
            ("health_url", old.health_url.as_ref(), new.health_url.as_ref()),
        ];
        let replaced = urls.into_iter().filter(|(_, old, new)| old.is_some() && old != new);
        let replaced = replaced.filter_map(|(field, old, new)| Some((field, old?.clone(), new.cloned())));
        replaced.map(|(field, old, new)| Self { field, old, new, was_healthy }).collect()
    }
}

/// Which service a removal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceRef {
    /// By id.
    Id(Uuid),
    /// By place.
    Key(ServiceKey),
}

/// A deregister call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The service.
    pub service: ServiceRef,
    /// One instance of it, or the whole.
    pub instance: Option<InstanceName>,
    /// Whether the whole may go though it has several instances.
    pub all: bool,
    /// Only this generation of the instance.
    pub if_generation: Option<u64>,
}

/// Where a registration becomes durable: the store (standalone) or the Kubernetes API (cluster).
pub trait Registrar: Send + Sync + 'static {
    /// Adds, changes or renews an instance. Resolves once it is durable and visible to the next read here.
    fn register(
        &self,
        registration: Registration,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Registered, WriteError>>;
    /// The answer to a call that only repeats what is known, while nothing about its service is on its way. Changes nothing.
    fn renewed(&self, registration: &Registration, caller: &Caller) -> Option<Registered>;
    /// Removes an instance or a service. Resolves once that is durable and visible.
    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>>;
}

/// Why no on-demand check was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnDemandError {
    /// Gone meanwhile.
    #[error("Service not found")]
    NotFound,
    /// The address's budget or the prober's slots are spent.
    #[error(
        "this address is probed as often as PORTOLAN_PROBE_PER_ADDRESS allows; try again in {retry_after_seconds} s"
    )]
    OverBudget {
        /// Seconds, ≥ 1.
        retry_after_seconds: u64,
    },
    /// The prober does not run here.
    #[error("the prober is not running; try again")]
    Unavailable,
}

/// One instance's on-demand result.
#[derive(Debug, Clone)]
pub struct OnDemandResult {
    /// The instance.
    pub instance: InstanceName,
    /// The probe; none where the instance has no check.
    pub outcome: Option<Outcome>,
    /// Whether a flap hold kept a pass from showing.
    pub held: bool,
}

/// A check made now, on request: it overrides thresholds, never a flap hold. Resolves once its effect is visible to the next read.
pub trait OnDemand: Send + Sync + 'static {
    /// Probes every instance of the service, joining probes in flight.
    fn check_now(&self, service: Uuid) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>>;
}

/// What the prober knows of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceProbing {
    /// Which.
    pub instance: InstanceName,
    /// The newest conclusive outcomes of one kind.
    pub streak: StreakProgress,
    /// When the next probe is due, wall clock.
    pub next_due: UnixMs,
    /// Why the health does not follow the outcomes now, one sentence; none when it does.
    pub held: Option<&'static str>,
    /// The newest outcome.
    pub last: Option<Outcome>,
    /// The newest passing one.
    pub last_pass: Option<Outcome>,
    /// The newest failing one since this process began to probe it.
    pub last_fail: Option<Outcome>,
    /// The newest probes, oldest first, at most 60.
    pub samples: Vec<Sample>,
}

/// What is known of services and their instances that are probed.
pub type ProbingByService = Vec<(Uuid, Vec<InstanceProbing>)>;

/// Tells what the prober knows now, without probing anything.
pub trait Probing: Send + Sync + 'static {
    /// For each of the services that is there, its instances that are probed. Keep a call to a few hundred instances: the prober does
    /// nothing else meanwhile.
    fn probing(&self, services: Vec<Uuid>) -> BoxFuture<'static, Result<ProbingByService, OnDemandError>>;
}

/// The address policy as far as it can be told without DNS.
pub trait AddressGate: Send + Sync + 'static {
    /// Refuses a URL whose host is a denied address or whose port is a denied one.
    ///
    /// # Errors
    /// A sentence that names the address, the rule, and the setting that would allow it.
    fn admit(&self, url: &EndpointUrl) -> Result<(), String>;
}

/// What this process may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It probes, and writes for all.
    Leads,
    /// It has lost the lease and sees no other holder: it probes for its own readers and writes nothing for others.
    Alone,
    /// Another replica probes; its verdicts come back by the watch.
    Follows,
}

/// Whether this process probes and writes; standalone always does.
pub trait Leadership: Send + Sync + 'static {
    /// Asked right before each write and each probe.
    fn role(&self) -> Role;

    /// Whether it may write for all.
    fn leads(&self) -> bool {
        self.role() == Role::Leads
    }

    /// Whether it probes.
    fn probes(&self) -> bool {
        self.role() != Role::Follows
    }
}

/// Standalone: there is nobody else.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysLeads;

impl Leadership for AlwaysLeads {
    fn role(&self) -> Role {
        Role::Leads
    }
}

/// Why a request could not be passed on to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassOnError {
    /// No replica leads now, or the leader does not answer.
    #[error("no replica leads at the moment; try again")]
    NoLeader,
    /// The request came from a replica already: one hop is all.
    #[error("the replica that was thought to lead does not; try again")]
    SecondHop,
    /// As many are under way as may be.
    #[error("too many requests wait for the replica that leads; try again")]
    Busy,
}

/// The header of a request that another replica passed on. It says nothing about who asks, and only keeps it from going on further.
pub const PASSED_ON: http::HeaderName = http::HeaderName::from_static("portolan-passed-on");

/// The header of an answer whose replica does not probe: it knows every verdict, and not when each service was last checked.
pub const PROBED_ELSEWHERE: http::HeaderName = http::HeaderName::from_static("portolan-probed-elsewhere");

/// Takes a request that only the leader can answer to it, as it came, with the caller's own token, which the leader verifies itself.
pub trait PassOn: Send + Sync + 'static {
    /// The leader's answer.
    fn pass_on(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<bytes::Bytes>, PassOnError>>;
}

/// How old what is read here may be: in cluster mode the mirror can be cut off from the Kubernetes API.
pub trait Freshness: Send + Sync + 'static {
    /// Time since the mirror was last known to be current, when that is more than a moment ago. Asked for every answer: an atomic read.
    fn stale_for(&self) -> Option<std::time::Duration>;

    /// Whether this replica probes, and so knows when each service was last checked.
    fn probes_here(&self) -> bool {
        true
    }
}
