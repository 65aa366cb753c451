//! One probe, from the name to the verdict: resolve, test every address, dial the pinned one, speak.

mod network;

pub use network::Network;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::model::check::{Target, TlsCheck};
use crate::model::outcome::{Outcome, Reason, Stage};
use crate::model::url::Host;
use crate::prober::addresses::{AddressPolicy, Denied, Rule, budget_key};
use crate::prober::dialer::Network;
use crate::prober::names::hosts::is_localhost;
use crate::prober::names::{MAX_LOOKUPS, Names, ResolverSettings, Unresolved};
use crate::prober::protocols::connect::{self, Way};
use crate::prober::protocols::tcp::{Stream, farewell};
use crate::prober::protocols::time_wait::Closing;
use crate::prober::protocols::tls::client_cert::Client;
use crate::prober::protocols::tls::{Inside, Tls};
use crate::prober::protocols::trace::{Ending, Trace};
use crate::prober::protocols::{grpc, http};
use crate::telemetry::metrics::Metrics;

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
    /// Most sockets of this machine in TIME_WAIT while probes still add to them: beyond, a connection that the peer does not close is
    /// reset. Linux has about 28,000 ports to dial from.
    pub time_wait: u32,
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
            time_wait: 4096,
            metrics: Metrics::default(),
        }
    }
}

/// Does the I/O of probes; cloning shares it.
#[derive(Debug, Clone)]
pub struct Dialer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    policy: AddressPolicy,
    names: Names,
    tls: Tls,
    closing: Arc<Closing>,
    /// Stands in for sockets and resolver in a simulation.
    network: Option<Arc<dyn Network>>,
}

/// Whether an address, given as its budget key, may be dialled now.
pub type May<'a> = &'a (dyn Fn(IpAddr) -> bool + Sync);

/// Addresses that passed the policy, for one probe. Resolve anew for the next: names move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    addresses: Addresses,
    resolve_us: Option<u32>,
}

/// Nearly every target has one, which costs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Addresses {
    One([IpAddr; 1]),
    Many(Box<[IpAddr]>),
}

impl Pinned {
    fn new(found: &[IpAddr]) -> Option<Self> {
        let addresses = match found {
            [] => return None,
            [only] => Addresses::One([only.to_canonical()]),
            many => Addresses::Many(interleaved(many.iter().map(IpAddr::to_canonical))),
        };
        Some(Self { addresses, resolve_us: None })
    }

    /// The addresses to try, in order, at least one: families take turns
    /// ([RFC 8305 §4](https://www.rfc-editor.org/rfc/rfc8305#section-4)).
    pub fn addresses(&self) -> &[IpAddr] {
        match &self.addresses {
            Addresses::One(only) => only,
            Addresses::Many(many) => many,
        }
    }

    /// The address whose budget the probe spends: the first one, spellings of one IPv4 address alike.
    pub fn key(&self) -> IpAddr {
        let first = self.addresses().first();
        budget_key(first.copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

/// Families in turn, each in the order that it has, the first one's first.
fn interleaved(addresses: impl Iterator<Item = IpAddr>) -> Box<[IpAddr]> {
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv4);
    v4.reverse();
    v6.reverse();
    let mut turns = Vec::with_capacity(v4.len() + v6.len());
    while let Some(next) = v4.pop() {
        turns.push(next);
        turns.extend(v6.pop());
    }
    turns.extend(v6.into_iter().rev());
    turns.into()
}

impl Dialer {
    /// Reads the system's resolver settings.
    pub fn new(settings: DialSettings) -> Self {
        Self::over(settings, None)
    }

    /// A dialer whose names and connections `network` makes up.
    #[doc(hidden)]
    pub fn simulated(settings: DialSettings, network: Arc<dyn Network>) -> Self {
        Self::over(settings, Some(network))
    }

    fn over(settings: DialSettings, network: Option<Arc<dyn Network>>) -> Self {
        let DialSettings { policy, ca_dir, resolver, lookups, time_wait, metrics } = settings;
        let names = Names::new(resolver, lookups, metrics.clone());
        let (tls, closing) = (Tls::new(ca_dir, metrics), Arc::new(Closing::new(time_wait)));
        Self(Arc::new(Shared { policy, names, tls, closing, network }))
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
        self.probe_if(target, pinned, deadline, &|_| true).await
    }

    /// The same, where each address beyond the first is dialled only if `may` allows it at that moment: it gets the address's budget key,
    /// so that a name whose first address never answers is no way around the second one's budget.
    pub async fn probe_if(&self, target: &Target, pinned: &Pinned, deadline: Instant, may: May<'_>) -> Outcome {
        let mut trace = Trace::begin(Stage::Connect);
        trace.resolved_in(pinned.resolve_us);
        if deadline <= Instant::now() {
            return trace.end(no_time());
        }
        if let Some(network) = &self.0.network {
            return network.probe(target, pinned.addresses(), deadline).await;
        }
        // a judgement made in time stands even where draining the body was cut off
        drop(timeout_at(deadline, self.run(target, pinned, deadline, may, &mut trace)).await);
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
        let mut found = found.map_err(|error| unresolved(target, error))?;
        let admitted = |address: &IpAddr| self.admit(*address, target.port());
        if is_localhost(name) {
            // the one machine that it always means may be allowed in one family alone
            let family = |denied: &Denied| matches!(denied.rule, Rule::Loopback | Rule::DenyList(_));
            let allowed: Vec<_> =
                found.iter().copied().filter(|ip| admitted(ip).err().is_none_or(|d| !family(&d))).collect();
            found = if allowed.is_empty() { found } else { allowed.into() };
        }
        for address in found.iter() {
            admitted(address)
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

    async fn run(&self, target: &Target, pinned: &Pinned, deadline: Instant, may: May<'_>, trace: &mut Trace) {
        let may = |ip| may(budget_key(ip));
        let way = Way { port: target.port(), deadline, closing: &self.0.closing, may: &may };
        let mut stream = match connect::first(pinned.addresses(), &way, trace).await {
            Ok(stream) => stream,
            Err(ending) => return trace.judge(ending),
        };
        match target {
            Target::Tcp { .. } => {
                trace.judge(Ending::pass(None, "the connection opened"));
                farewell(stream).await;
            }
            Target::Http { host, port, target, request_options, tls, expected } => {
                let question = http::Question {
                    host,
                    port: *port,
                    target,
                    request_options: request_options.as_deref(),
                    secure: tls.is_some(),
                    expected,
                };
                match tls {
                    None => {
                        http::ask(&mut stream, &question, trace).await;
                        farewell(stream).await;
                    }
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
        let Some((mut stream, client)) = self.secure(stream, check, question.host, Inside::Http1, trace).await else {
            return;
        };
        http::ask(&mut stream, question, trace).await;
        trace.amend(|ending| client.explain(ending));
        farewell(stream).await;
    }

    async fn grpc(&self, stream: Stream, check: Option<&TlsCheck>, question: &grpc::Question<'_>, trace: &mut Trace) {
        let Some(check) = check else { return grpc::ask(stream.unbuffered(), question, trace).await };
        let secure = self.secure(stream, check, question.host, Inside::Http2, trace).await;
        let Some((stream, client)) = secure else { return };
        grpc::ask(stream, question, trace).await;
        trace.amend(|ending| client.explain(ending));
    }

    /// Shakes hands; where that fails, it is judged and the connection ended.
    async fn secure(
        &self,
        stream: Stream,
        check: &TlsCheck,
        host: &Host,
        inside: Inside,
        trace: &mut Trace,
    ) -> Option<(TlsStream<Stream>, Arc<Client>)> {
        trace.enter(Stage::Tls);
        match self.0.tls.handshake(stream.unbuffered(), check, host, inside).await {
            Ok(opened) => Some(opened),
            Err((ending, stream)) => {
                trace.judge(ending);
                farewell(stream).await;
                None
            }
        }
    }
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
        Stage::Tls => Ending::fail(
            Reason::Timeout,
            "connected, but the TLS handshake did not end in time; is TLS spoken on that port?",
        ),
        Stage::Request | Stage::Status => Ending::fail(Reason::Timeout, "connected, but no full answer came in time"),
    }
}
