//! One probe, from the name to the verdict: resolve, test every address, dial the pinned one, speak.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::evidence::{Ending, Trace};
use super::policy::{AddressPolicy, budget_key};
use super::resolve::{Names, ResolverSettings, Unresolved};
use super::tls::{Inside, Tls};
use super::{grpc, http, tcp};
use crate::model::check::{Target, TlsCheck};
use crate::model::outcome::{Outcome, Reason, Stage, Verdict};
use crate::model::url::Host;

/// Most addresses that one probe tries.
const MAX_TRIED: usize = 3;

/// What probing needs to know.
#[derive(Debug, Clone, Default)]
pub struct DialSettings {
    /// Where probes may go.
    pub policy: AddressPolicy,
    /// `PORTOLAN_CA_DIR`: where the files named by `tls.ca` are.
    pub ca_dir: Option<PathBuf>,
    /// Whom to ask for names.
    pub resolver: ResolverSettings,
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
}

/// Addresses that passed the policy, for one probe. Resolve anew for the next: names move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    addresses: [IpAddr; MAX_TRIED],
    count: usize,
    resolve_us: Option<u32>,
}

impl Pinned {
    fn new(found: &[IpAddr], resolve_us: Option<u32>) -> Option<Self> {
        let mut addresses = [*found.first()?; MAX_TRIED];
        for (place, address) in addresses.iter_mut().zip(found) {
            *place = address.to_canonical();
        }
        Some(Self { addresses, count: found.len().min(MAX_TRIED), resolve_us })
    }

    /// The addresses to try, in order, at least one.
    pub fn addresses(&self) -> &[IpAddr] {
        self.addresses.get(..self.count).unwrap_or(&self.addresses)
    }

    /// The address whose budget the probe spends: the first one, spellings of one IPv4 address alike.
    pub fn key(&self) -> IpAddr {
        budget_key(self.addresses[0])
    }
}

impl Dialer {
    /// Reads the system's resolver settings.
    ///
    /// # Errors
    /// [`DialError`].
    pub fn new(settings: DialSettings) -> Result<Self, DialError> {
        let names = Names::new(settings.resolver)?;
        Ok(Self(Arc::new(Shared { policy: settings.policy, names, tls: Tls::new(settings.ca_dir) })))
    }

    /// Finds the target's addresses and tests every one against the policy: one denied address denies the name, since a name that mixes
    /// them is an attack.
    ///
    /// # Errors
    /// A finished outcome: fail, or inconclusive where the resolver is at fault.
    pub async fn pin(&self, target: &Target, deadline: Instant) -> Result<Pinned, Outcome> {
        let trace = Trace::begin(Stage::Resolve);
        match self.find(target, deadline).await {
            Ok(found) => Pinned::new(&found, Some(trace.elapsed_us())).ok_or_else(|| trace.end(not_found(target))),
            Err(ending) => Err(trace.end(ending)),
        }
    }

    /// Probes the pinned addresses. Ends by the deadline.
    pub async fn probe(&self, target: &Target, pinned: &Pinned, deadline: Instant) -> Outcome {
        let mut trace = Trace::begin(Stage::Connect);
        trace.resolved_in(pinned.resolve_us);
        // a judgement made in time stands even where draining the body was cut off
        drop(timeout_at(deadline, self.run(target, pinned, deadline, &mut trace)).await);
        trace.end_judged(late)
    }

    async fn find(&self, target: &Target, deadline: Instant) -> Result<Arc<[IpAddr]>, Ending> {
        let found = match target.host() {
            Host::Ip(ip) => Arc::from([*ip]),
            Host::Name(name) => match timeout_at(deadline, self.0.names.resolve(name)).await {
                Ok(found) => found.map_err(|error| unresolved(target, error))?,
                Err(_) => return Err(unresolved(target, Unresolved::Down)),
            },
        };
        for address in found.iter() {
            self.0.policy.check(*address, target.port()).map_err(|denied| {
                let message = match target.host() {
                    Host::Ip(_) => denied.to_string(),
                    Host::Name(name) => format!("{name} resolves to an address that is denied: {denied}"),
                };
                Ending::fail(Reason::AddressDenied, message)
            })?;
        }
        Ok(found)
    }

    async fn run(&self, target: &Target, pinned: &Pinned, deadline: Instant, trace: &mut Trace) {
        let stream = match connect(target.port(), pinned, deadline, trace).await {
            Ok(stream) => stream,
            Err(ending) => return trace.judge(ending),
        };
        match target {
            Target::Tcp { .. } => trace.judge(Ending::pass(None, "the connection opened")),
            Target::Http { host, port, target, tls, expected } => {
                let question = http::Question { host, port: *port, target, secure: tls.is_some(), expected };
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

    async fn https(&self, stream: TcpStream, check: &TlsCheck, question: &http::Question<'_>, trace: &mut Trace) {
        trace.enter(Stage::Tls);
        match self.0.tls.handshake(stream, check, question.host, Inside::Http1).await {
            Ok(stream) => http::ask(stream, question, trace).await,
            Err(ending) => trace.judge(ending),
        }
    }

    async fn grpc(
        &self,
        stream: TcpStream,
        check: Option<&TlsCheck>,
        question: &grpc::Question<'_>,
        trace: &mut Trace,
    ) {
        let Some(check) = check else { return grpc::ask(stream, question, trace).await };
        trace.enter(Stage::Tls);
        match self.0.tls.handshake(stream, check, question.host, Inside::Http2).await {
            Ok(stream) => grpc::ask(stream, question, trace).await,
            Err(ending) => trace.judge(ending),
        }
    }
}

/// Tries the addresses in turn, each with an equal share of the time that is left.
async fn connect(port: u16, pinned: &Pinned, deadline: Instant, trace: &mut Trace) -> Result<TcpStream, Ending> {
    let mut failure: Option<Ending> = None;
    for (tried, ip) in pinned.addresses().iter().enumerate() {
        let address = SocketAddr::new(*ip, port);
        trace.dialling(address);
        let left = u32::try_from(pinned.count - tried).unwrap_or(1);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let ending = match timeout_at(Instant::now() + share, tcp::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => tcp::judge(&error, address),
            Err(_) => Ending::fail(Reason::ConnectTimeout, format!("{address} does not answer")),
        };
        if ending.reason == Reason::NoDescriptors {
            return Err(ending);
        }
        let better = failure.as_ref().is_none_or(|f| f.verdict == Verdict::Inconclusive);
        if better {
            failure = Some(ending);
        }
    }
    Err(failure.unwrap_or_else(|| Ending::inconclusive(Reason::Cancelled, "no address was tried")))
}

fn not_found(target: &Target) -> Ending {
    unresolved(target, Unresolved::NotFound)
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
