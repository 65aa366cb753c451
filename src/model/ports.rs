//! The traits between parts that must not know each other; `app` connects them.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use uuid::Uuid;

pub use super::acknowledgement::{AcknowledgementChange, AcknowledgementOrder};
pub use super::authority::{
    AccessVerb, Authority, AuthorityError, IssuerKey, KeyForm, ReviewedToken, ServiceAccount, TokenIssuer,
};
pub use super::heartbeats::{Beat, BeatError, BeatStatus, Heard, Heartbeats, MAX_NOTE};
use super::name::{CheckName, InstanceName, Namespace, ServiceKey, ServiceName};
pub use super::namespace_policy::{AnyNamespace, NamespacePolicies};
pub use super::on_demand::{OnDemandCheck, OnDemandResult};
use super::outcome::{Health, Outcome, Reason};
pub use super::publishing::{LearnedNetwork, LookupError, NameAddresses, NameLookup, PublishGate};
use super::service::{InstanceSpec, Owner, Service};
use super::time::{UnixMs, age};
pub use super::write_error::{ClusterError, FullService, WriteError};
pub use super::{certificates::CertificateObjects, empty_services::EmptyServices, health::StreakProgress};
use super::{probe::Sample, url::EndpointUrl};

/// The caller, as far as ownership is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The owner of what it registers.
    pub owner: Owner,
    /// Whether it may change what others own.
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
    /// Whether the instance's name only follows from its external id: the call then means the instance that has this id at this address, and
    /// a new one may take another name; see [`name_of`](super::registration::name_of).
    pub derived: bool,
    /// What is registered.
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
    /// The instance's name: the given one, or the one that was derived.
    pub instance: InstanceName,
    /// The instance's generation, for `If-Match` on its removal.
    pub generation: u64,
    /// Whether it only repeated what was registered; the rate limit does not count it then.
    pub renewed: bool,
    /// The instance's URLs that it replaced.
    pub replaced: Vec<ReplacedUrl>,
}

/// A URL that a registration replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedUrl {
    /// `base_url` or `health_url`.
    pub field: &'static str,
    /// The former URL.
    pub old: EndpointUrl,
    /// The new URL; none if the instance has no health URL any more.
    pub new: Option<EndpointUrl>,
    /// Whether the instance was healthy until then.
    pub was_healthy: bool,
}

impl ReplacedUrl {
    /// The URLs of `old` that differ in `new`.
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

/// Which service a removal refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceRef {
    /// By id.
    Id(Uuid),
    /// By namespace and name.
    Key(ServiceKey),
}

/// Which instance of a service a call refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRef {
    /// The service.
    pub service: ServiceRef,
    /// The instance.
    pub instance: InstanceName,
}

/// What a removal takes away of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalScope {
    /// Everything.
    Service,
    /// The instance of that name.
    Instance(InstanceName),
    /// The instances with that external id.
    ExternalId(String),
}

/// A deregister call, or a removal by Portolan itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The service.
    pub service: ServiceRef,
    /// What is removed of it.
    pub scope: RemovalScope,
    /// Whether several instances may be removed at once.
    pub all: bool,
    /// Removes the instance only at this generation.
    pub if_generation: Option<u64>,
    /// Why Portolan itself removes it, for the history; none where a client asked for it.
    pub why: Option<RemovalReason>,
}

/// Why Portolan itself removes an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// Its lease was not renewed for this long.
    LeaseNotRenewed(std::time::Duration),
    /// It was unhealthy for this long without a break.
    Unhealthy(std::time::Duration),
}

impl std::fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LeaseNotRenewed(silence) => write!(f, "lease not renewed for {}", age(*silence)),
            Self::Unhealthy(span) => write!(f, "unhealthy for {}", age(*span)),
        }
    }
}

/// What becomes of an instance's drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainChange {
    /// It is taken out of selection, or its drain gets another reason and end.
    Start(DrainOrder),
    /// Its drain ends, if it has one.
    End,
    /// Its drain ends by itself, if it still ends at that time.
    Expire(UnixMs),
}

/// A request to drain an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainOrder {
    /// Why, for people; 1 to [`MAX_DRAIN_REASON`](super::service::MAX_DRAIN_REASON) characters.
    pub reason: String,
    /// The client or operator that asks for it.
    pub by: String,
    /// When it ends by itself, wall clock; none if it does not.
    pub until: Option<UnixMs>,
}

/// Where a registration becomes durable: the store (standalone) or the Kubernetes API (cluster).
pub trait Registrar: Send + Sync + 'static {
    /// Adds, changes or renews an instance. Resolves once it is durable and visible to the next read here.
    fn register(
        &self,
        registration: Registration,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Registered, WriteError>>;
    /// The answer to a call that only repeats what is registered, while no other call about its service is on its way. Changes nothing.
    fn renewed(&self, registration: &Registration, caller: &Caller) -> Option<Registered>;
    /// Removes an instance or a service. Resolves once that is durable and visible.
    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>>;
    /// Drains an instance or ends that. Resolves once it is durable and visible, with the service as it is then; a call that changes nothing
    /// is not an error.
    fn drain(
        &self,
        instance: InstanceRef,
        change: DrainChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>>;
    /// Acknowledges what fails of a service, or of one instance, or ends that. Whoever may write in the namespace may do it: it is a note, and
    /// changes nothing of the instance. Otherwise as [`Registrar::drain`].
    fn acknowledge(
        &self,
        service: ServiceRef,
        instance: Option<InstanceName>,
        change: AcknowledgementChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>>;
}

/// Why no on-demand check was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnDemandError {
    /// The service was removed meanwhile.
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

/// Probes on request: the outcome overrides thresholds, but never a hold for flapping.
pub trait OnDemand: Send + Sync + 'static {
    /// Probes every instance of the service, or only the one that is named, joining probes in progress. Resolves once the next read shows
    /// the effect.
    fn check_now(
        &self,
        service: Uuid,
        instance: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>>;

    /// The same, but only shows the outcomes: no health, streak or reason follows from them. A probe that was due anyway counts as usual.
    fn observe_now(
        &self,
        service: Uuid,
        instance: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>>;
}

/// What the prober knows of one check of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceProbing {
    /// The instance. Its checks follow each other, the plain one first.
    pub instance: InstanceName,
    /// The check.
    pub check: CheckName,
    /// Whether it only warns.
    pub advisory: bool,
    /// What its outcomes add up to.
    pub health: Health,
    /// Why.
    pub reason: Reason,
    /// Since when, wall clock.
    pub since: UnixMs,
    /// The newest conclusive outcomes of one kind.
    pub streak: StreakProgress,
    /// When the next probe is due, wall clock; of a heartbeat, when its lease expires.
    pub next_due: UnixMs,
    /// Why the health does not follow the outcomes now, in one sentence; none if it does.
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

/// Services with their probed instances.
pub type ProbingByService = Vec<(Uuid, Vec<InstanceProbing>)>;

/// Reports what the prober knows, without probing.
pub trait Probing: Send + Sync + 'static {
    /// The probed instances of each of the services that exists. Ask for at most a few hundred instances: the prober does nothing else
    /// meanwhile.
    fn probing(&self, services: Vec<Uuid>) -> BoxFuture<'static, Result<ProbingByService, OnDemandError>>;
}

/// The address policy, as far as it applies without DNS.
pub trait AddressGate: Send + Sync + 'static {
    /// Refuses a URL whose host is a denied address or whose port is a denied one.
    ///
    /// # Errors
    /// A sentence with the address, the rule, and the setting that would allow it.
    fn admit(&self, url: &EndpointUrl) -> Result<(), String>;

    /// Why it cannot be said now whether the URL leads to this server itself; [`AddressGate::admit`] allows such a URL, and each probe judges
    /// its address again. None once it can.
    fn undecided(&self, url: &EndpointUrl) -> Option<String> {
        let _ = url;
        None
    }
}

/// What this process may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It probes, and writes for all replicas.
    Leads,
    /// It has lost the Lease and sees no other holder: it probes for its own readers and writes nothing.
    Alone,
    /// Another replica probes; its verdicts arrive by the watch.
    Follows,
}

/// Whether this process probes and writes; standalone always does.
pub trait Leadership: Send + Sync + 'static {
    /// Asked right before each write and each probe.
    fn role(&self) -> Role;

    /// Whether it may write for all replicas.
    fn leads(&self) -> bool {
        self.role() == Role::Leads
    }

    /// Whether it probes.
    fn probes(&self) -> bool {
        self.role() != Role::Follows
    }
}

/// The standalone server: there is no other.
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
    /// The request came from a replica already; it is forwarded only once.
    #[error("this was forwarded to a replica that does not lead; try again")]
    SecondHop,
    /// Too many requests are in progress.
    #[error("too many requests wait for the replica that leads; try again")]
    Busy,
}

/// The header of a request that another replica forwarded. It grants nothing; it only prevents a second hop.
pub const PASSED_ON: http::HeaderName = http::HeaderName::from_static("portolan-passed-on");

/// The header of a refusal by a replica that was taken for the leader, to tell it from the leader's own answer.
pub const NOT_LEADING: http::HeaderName = http::HeaderName::from_static("portolan-not-leading");

/// The header that names the subject of a forwarded request's certificate. It counts only from a replica, which shows the server's own one.
pub const CERTIFICATE_SUBJECT: http::HeaderName = http::HeaderName::from_static("portolan-certificate-subject");

/// The header of an answer from a replica that does not probe: it knows every verdict, but not when each service was last checked.
pub const PROBED_ELSEWHERE: http::HeaderName = http::HeaderName::from_static("portolan-probed-elsewhere");

/// A heartbeat that reached a replica which does not probe, or a register call there that only repeats what is registered and so renews a
/// lease. The replica has checked that the caller may send it.
#[derive(Debug)]
pub struct PassedBeat {
    /// The service.
    pub service: Uuid,
    /// The instance.
    pub instance: InstanceName,
    /// What is reported; none of a register call.
    pub beat: Option<Beat>,
    /// The request as it came, with its body.
    pub request: http::Request<bytes::Bytes>,
}

/// What became of a heartbeat that was to be passed on.
#[derive(Debug)]
pub enum BeatPassed {
    /// The leader's answer.
    Answered(http::Response<bytes::Bytes>),
    /// Nobody leads now: it is kept for a minute, the newest of each instance, and delivered once somebody does, this replica included.
    Kept,
}

/// Forwards a request that only the leader can answer, unchanged, with the caller's token, which the leader verifies.
pub trait PassOn: Send + Sync + 'static {
    /// The leader's answer.
    fn pass_on(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<bytes::Bytes>, PassOnError>>;

    /// Forwards a heartbeat, or keeps it. [`PassOnError::Busy`] if too many are kept already.
    fn heartbeat(&self, beat: PassedBeat) -> BoxFuture<'static, Result<BeatPassed, PassOnError>>;

    /// Whether this is the address of a replica of ours, which then has the requests that it forwards in its own audit log.
    fn is_replica(&self, peer: IpAddr) -> bool;

    /// Forwards a renewal of a lease soon, without waiting for the answer: the newest of each instance.
    fn renewal(&self, renewal: PassedBeat);
}

/// How old reads may be: in cluster mode the mirror can be cut off from the Kubernetes API.
pub trait Freshness: Send + Sync + 'static {
    /// Time since the mirror was last known to be current, if that is longer than a moment. Called for every answer, so it must be cheap.
    fn stale_for(&self) -> Option<std::time::Duration>;

    /// Whether this replica probes and so knows when each service was last checked.
    fn probes_here(&self) -> bool {
        true
    }
}
