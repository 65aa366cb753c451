//! One probe, from the name to the verdict: resolve, test every address, dial the pinned one, speak.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::evidence::{Ending, Trace};
use super::network::Network;
use super::policy::{AddressPolicy, Denied, budget_key};
use super::resolve::{MAX_LOOKUPS, Names, ResolverSettings, Unresolved};
use super::tcp::{self, Stream};
use super::tls::{Inside, Tls};
use super::{grpc, http};
use crate::model::check::{Target, TlsCheck};
use crate::model::outcome::{Outcome, Reason, Stage, Verdict};
use crate::model::url::Host;
use crate::telemetry::metrics::Metrics;

/// Most addresses that one probe tries.
const MAX_TRIED: usize = 3;

/// What probing needs to know.
#[derive(Debug, Clone)]
pub struct DialSettings {
    /// Where probes may go.
    pub policy: AddressPolicy,
    /// `PORTOLAN_CA_DIR`: where the files named by `tls.ca` are.
    pub ca_dir: Option<PathBuf>,
    /// Whom to ask for names.
    pub resolver: ResolverSettings,
    /// Most names asked for at once, of 160 that are of use; each may take four sockets.
    pub lookups: usize,
    /// Where it is counted that a cache is full.
    pub metrics: Metrics,
}

impl Default for DialSettings {
    fn default() -> Self {
        Self {
            policy: AddressPolicy::default(),
            ca_dir: None,
            resolver: ResolverSettings::default(),
            lookups: MAX_LOOKUPS,
            metrics: Metrics::default(),
        }
    }
}

/// Why probing cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The resolver.
    #[error("cannot set up the name resolver: {0}")]
    Resolver(#[from] hickory_resolver::net::NetError),
}

/// Does the I/O of probes; cloning shares it.
#[derive(Debug, Clone)]
pub struct Dialer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    policy: AddressPolicy,
    names: Names,
    tls: Tls,
    /// Stands in for sockets and resolver in a simulation.
    network: Option<Arc<dyn Network>>,
}

/// Addresses that passed the policy, for one probe. Resolve anew for the next: names move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    addresses: [IpAddr; MAX_TRIED],
    count: usize,
    resolve_us: Option<u32>,
}

impl Pinned {
    fn new(found: &[IpAddr]) -> Option<Self> {
        let mut addresses = [*found.first()?; MAX_TRIED];
        for (place, address) in addresses.iter_mut().zip(found) {
            *place = address.to_canonical();
        }
        Some(Self { addresses, count: found.len().min(MAX_TRIED), resolve_us: None })
    }

    /// The addresses to try, in order, at least one.
    pub fn addresses(&self) -> &[IpAddr] {
        self.addresses.get(..self.count).unwrap_or(&self.addresses)
    }

    /// The address whose budget the probe spends: the first one, spellings of one IPv4 address alike.
    pub fn key(&self) -> IpAddr {
        budget_key(self.addresses[0])
    }

    /// Keeps of the further addresses, which are tried only when those before do not connect, the ones whose budget allows it, so
    /// that a name whose first address never answers is no way around the second one's budget.
    pub fn keep_further(&mut self, mut may: impl FnMut(IpAddr) -> bool) {
        let mut kept = 1;
        for place in 1..self.count {
            if may(budget_key(self.addresses[place])) {
                self.addresses[kept] = self.addresses[place];
                kept += 1;
            }
        }
        self.count = kept;
    }
}

impl Dialer {
    /// Reads the system's resolver settings.
    ///
    /// # Errors
    /// [`DialError`].
    pub fn new(settings: DialSettings) -> Result<Self, DialError> {
        Self::over(settings, None)
    }

    /// A dialer whose names and connections `network` makes up.
    ///
    /// # Errors
    /// [`DialError`].
    #[doc(hidden)]
    pub fn simulated(settings: DialSettings, network: Arc<dyn Network>) -> Result<Self, DialError> {
        Self::over(settings, Some(network))
    }

    fn over(settings: DialSettings, network: Option<Arc<dyn Network>>) -> Result<Self, DialError> {
        let DialSettings { policy, ca_dir, resolver, lookups, metrics } = settings;
        let names = Names::new(resolver, lookups, metrics.clone())?;
        Ok(Self(Arc::new(Shared { policy, names, tls: Tls::new(ca_dir, metrics), network })))
    }

    /// Finds the target's addresses and tests every one against the policy: one denied address denies the name, since a name that mixes
    /// them is an attack.
    ///
    /// # Errors
    /// A finished outcome: fail, or inconclusive where the resolver is at fault.
    pub async fn pin(&self, target: &Target, deadline: Instant) -> Result<Pinned, Outcome> {
        let trace = Trace::begin(Stage::Resolve);
        match self.find(target, deadline).await {
            Ok(Some(pinned)) => Ok(Pinned { resolve_us: Some(trace.elapsed_us()), ..pinned }),
            Ok(None) => Err(trace.end(unresolved(target, Unresolved::NotFound))),
            Err(ending) => Err(trace.end(ending)),
        }
    }

    /// Probes the pinned addresses. Ends by the deadline.
    pub async fn probe(&self, target: &Target, pinned: &Pinned, deadline: Instant) -> Outcome {
        let mut trace = Trace::begin(Stage::Connect);
        trace.resolved_in(pinned.resolve_us);
        if deadline <= Instant::now() {
            return trace.end(no_time());
        }
        if let Some(network) = &self.0.network {
            return network.probe(target, pinned.addresses(), deadline).await;
        }
        // a judgement made in time stands even where draining the body was cut off
        drop(timeout_at(deadline, self.run(target, pinned, deadline, &mut trace)).await);
        trace.end_judged(late)
    }

    async fn find(&self, target: &Target, deadline: Instant) -> Result<Option<Pinned>, Ending> {
        let name = match target.host() {
            Host::Ip(ip) => {
                self.admit(*ip, target.port()).map_err(|denied| denied_as(denied.to_string()))?;
                return Ok(Pinned::new(&[*ip]));
            }
            Host::Name(name) => name,
        };
        let found = timeout_at(deadline, self.resolve(name)).await.unwrap_or(Err(Unresolved::Down));
        let found = found.map_err(|error| unresolved(target, error))?;
        for address in found.iter() {
            self.admit(*address, target.port())
                .map_err(|denied| denied_as(format!("{name} resolves to an address that is denied: {denied}")))?;
        }
        Ok(Pinned::new(&found))
    }

    async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        match &self.0.network {
            None => self.0.names.resolve(name).await,
            Some(network) => network.resolve(name).await,
        }
    }

    fn admit(&self, address: IpAddr, port: u16) -> Result<(), Denied> {
        self.0.policy.check(address, port)
    }

    async fn run(&self, target: &Target, pinned: &Pinned, deadline: Instant, trace: &mut Trace) {
        let stream = match connect(target.port(), pinned, deadline, trace).await {
            Ok(stream) => stream,
            Err(ending) => return trace.judge(ending),
        };
        match target {
            Target::Tcp { .. } => trace.judge(Ending::pass(None, "the connection opened")),
            Target::Http { host, port, target, manner, tls, expected } => {
                let question = http::Question {
                    host,
                    port: *port,
                    target,
                    manner: manner.as_deref(),
                    secure: tls.is_some(),
                    expected,
                };
                match tls {
                    None => http::ask(stream, &question, trace).await,
                    Some(check) => Box::pin(self.https(stream, check, &question, trace)).await,
                }
            }
            Target::Grpc { host, port, service, tls } => {
                let question = grpc::Question { host, port: *port, service, secure: tls.is_some() };
                Box::pin(self.grpc(stream, tls.as_ref(), &question, trace)).await;
            }
        }
    }

    async fn https(&self, stream: Stream, check: &TlsCheck, question: &http::Question<'_>, trace: &mut Trace) {
        trace.enter(Stage::Tls);
        match self.0.tls.handshake(stream.unbuffered(), check, question.host, Inside::Http1).await {
            Ok(stream) => http::ask(stream, question, trace).await,
            Err(ending) => trace.judge(ending),
        }
    }

    async fn grpc(&self, stream: Stream, check: Option<&TlsCheck>, question: &grpc::Question<'_>, trace: &mut Trace) {
        let Some(check) = check else { return grpc::ask(stream.unbuffered(), question, trace).await };
        trace.enter(Stage::Tls);
        match self.0.tls.handshake(stream.unbuffered(), check, question.host, Inside::Http2).await {
            Ok(stream) => grpc::ask(stream, question, trace).await,
            Err(ending) => trace.judge(ending),
        }
    }
}

/// Tries the addresses in turn, each with an equal share of the time that is left, the last with all of it.
async fn connect(port: u16, pinned: &Pinned, deadline: Instant, trace: &mut Trace) -> Result<Stream, Ending> {
    let mut failure = None;
    for (tried, ip) in pinned.addresses().iter().enumerate() {
        let address = SocketAddr::new(*ip, port);
        trace.dialling(address);
        let ending = match pinned.count - tried {
            0 | 1 => tcp::connect(address).await.map_err(|error| tcp::judge(&error, address)),
            left => connect_within(address, deadline, left).await,
        };
        match ending {
            Ok(stream) => return Ok(stream),
            Err(ending) if ending.reason == Reason::NoDescriptors => return Err(ending),
            Err(ending) => failure = Some(worse(failure, ending)),
        }
    }
    Err(failure.unwrap_or_else(no_time))
}

async fn connect_within(address: SocketAddr, deadline: Instant, left: usize) -> Result<Stream, Ending> {
    let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
    match timeout_at(Instant::now() + share, tcp::connect(address)).await {
        Ok(done) => done.map_err(|error| tcp::judge(&error, address)),
        Err(_) => Err(Ending::fail(Reason::ConnectTimeout, format!("{address} does not answer"))),
    }
}

/// The first conclusive failure: an address family that this machine lacks says nothing about the target.
fn worse(before: Option<Ending>, now: Ending) -> Ending {
    before.filter(|before| before.verdict == Verdict::Fail).unwrap_or(now)
}

fn no_time() -> Ending {
    Ending::inconclusive(Reason::Cancelled, "no time was left to dial")
}

fn denied_as(message: String) -> Ending {
    Ending::fail(Reason::AddressDenied, message)
}

fn unresolved(target: &Target, error: Unresolved) -> Ending {
    let host = target.host();
    match error {
        Unresolved::NotFound => {
            Ending::fail(Reason::NameNotFound, format!("the name {host} does not exist or has no address"))
        }
        Unresolved::TooMany => Ending::fail(Reason::ResolveFailed, format!("{host} has more than 256 addresses")),
        Unresolved::Failed => {
            Ending::fail(Reason::ResolveFailed, format!("the name servers of {host} answer with an error"))
        }
        Unresolved::Down => {
            Ending::inconclusive(Reason::ResolverDown, format!("this machine's resolver gives no answer for {host}"))
        }
    }
}

fn late(stage: Stage) -> Ending {
    match stage {
        Stage::Resolve | Stage::Connect => Ending::fail(Reason::ConnectTimeout, "the connection did not open in time"),
        Stage::Tls => Ending::fail(Reason::Timeout, "connected, but the TLS handshake did not end in time"),
        Stage::Request | Stage::Status => Ending::fail(Reason::Timeout, "connected, but no full answer came in time"),
    }
}
