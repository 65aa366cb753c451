//! Makes one probe, from the name to the verdict.
//!
//! - In: a target and a deadline.
//! - Out: an outcome. In between come the addresses ([`Pinned`]), so that the caller can spend the first one's budget.
//!
//! Read the files in this order: this one (resolve, test every address, probe), `pinned` (the addresses in the order to try), `network` (what replaces
//! resolver and sockets in a simulation).

mod network;
mod pinned;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

pub use self::network::Network;
pub use self::pinned::Pinned;
use crate::model::check::Target;
use crate::model::namespace_policy::Ruling;
use crate::model::outcome::{Outcome, Reason, Stage};
use crate::model::ports::{CertificateObjects, LookupError, NameAddresses, NameLookup};
use crate::model::url::Host;
use crate::prober::addresses::{AddressPolicy, Denied, Rule, budget_key};
use crate::prober::names::{MAX_LOOKUPS, Names, ResolverSettings, Unresolved, is_localhost};
use crate::prober::protocols::{Ending, Protocols, Route, Trace};
use crate::telemetry::metrics::Metrics;

/// The settings of a dialer.
#[derive(Debug, Clone)]
pub struct DialSettings {
    /// Where probes may go.
    pub policy: AddressPolicy,
    /// `PORTOLAN_CA_DIR`: where the files named by `tls.ca` are.
    pub ca_dir: Option<PathBuf>,
    /// Reads the ConfigMaps and Secrets named by `tls.ca_from` and `tls.client_cert_from`; none outside of a cluster.
    pub objects: Option<Arc<dyn CertificateObjects>>,
    /// Which name servers to ask.
    pub resolver: ResolverSettings,
    /// Most lookups at once, at most 160 of which are useful; each may take four sockets.
    pub lookups: usize,
    /// Most sockets of this machine in TIME_WAIT: beyond that, a connection that the peer does not close is reset. Linux has about 28,000
    /// ports to dial from.
    pub time_wait: u32,
    /// Most connections at once that open beside the first ones of their probes: of a name's addresses, up to four are dialled at once.
    pub spare_connections: usize,
    /// Where full caches are counted.
    pub metrics: Metrics,
}

impl Default for DialSettings {
    fn default() -> Self {
        Self {
            policy: AddressPolicy::default(),
            ca_dir: None,
            objects: None,
            resolver: ResolverSettings::default(),
            lookups: MAX_LOOKUPS,
            time_wait: 4096,
            spare_connections: 128,
            metrics: Metrics::default(),
        }
    }
}

/// Does the I/O of probes; clones share it.
#[derive(Debug, Clone)]
pub struct Dialer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    policy: AddressPolicy,
    names: Names,
    protocols: Protocols,
    /// Replaces sockets and resolver in a simulation.
    network: Option<Arc<dyn Network>>,
}

impl Dialer {
    /// Reads the system's resolver settings.
    pub fn new(settings: DialSettings) -> Self {
        Self::over(settings, None)
    }

    /// A dialer whose names and connections `network` simulates.
    #[doc(hidden)]
    pub fn simulated(settings: DialSettings, network: Arc<dyn Network>) -> Self {
        Self::over(settings, Some(network))
    }

    fn over(settings: DialSettings, network: Option<Arc<dyn Network>>) -> Self {
        let DialSettings { policy, ca_dir, objects, resolver, lookups, time_wait, spare_connections, metrics } =
            settings;
        let names = Names::new(resolver, lookups, metrics.clone());
        let protocols = Protocols::new(ca_dir, objects, (time_wait, spare_connections), metrics);
        Self(Arc::new(Shared { policy, names, protocols, network }))
    }

    /// Resolves the target and tests every address against the policy. One denied address denies the name, since a name that mixes them is
    /// an attack.
    ///
    /// # Errors
    /// A finished outcome: fail, or inconclusive if the resolver is at fault.
    pub async fn pin(&self, target: &Target, deadline: Instant) -> Result<Pinned, Outcome> {
        self.pin_under(&Ruling::Free, target, deadline).await
    }

    /// Like [`pin`](Self::pin), and tests every address against the policies of the target's namespace, too.
    ///
    /// # Errors
    /// As [`pin`](Self::pin); inconclusive while the policies are not known.
    pub async fn pin_under(&self, ruling: &Ruling, target: &Target, deadline: Instant) -> Result<Pinned, Outcome> {
        let trace = Trace::begin(Stage::Resolve);
        if !ruling.is_known() {
            let why = "the policies of its namespace are not known yet";
            return Err(trace.end(Ending::inconclusive(Reason::Cancelled, why)));
        }
        match self.find(ruling, target, deadline).await {
            Ok(Some(mut pinned)) => {
                pinned.resolve_us = Some(trace.elapsed_us());
                Ok(pinned)
            }
            Ok(None) => Err(trace.end(unresolved(target, Unresolved::NotFound))),
            Err(ending) => Err(trace.end(ending)),
        }
    }

    /// Probes the pinned addresses. Ends by the deadline.
    pub async fn probe(&self, target: &Target, pinned: &Pinned, deadline: Instant) -> Outcome {
        self.probe_if(target, pinned, deadline, &|_| true).await.0
    }

    /// Like [`probe`](Self::probe), but dials each address beyond the first only if `may_dial` allows it at that moment. It gets the address's
    /// budget key, so that a name whose first address never answers cannot bypass the second one's budget. Returns the version that the
    /// answer reports, too, escaped and at most 64 characters, where the check reads it.
    pub async fn probe_if(
        &self,
        target: &Target,
        pinned: &Pinned,
        deadline: Instant,
        may_dial: &(dyn Fn(IpAddr) -> bool + Sync),
    ) -> (Outcome, Option<String>) {
        let mut trace = Trace::begin(Stage::Connect);
        trace.resolved_in(pinned.resolve_us);
        if deadline <= Instant::now() {
            return (trace.end(no_time()), None);
        }
        if let Some(network) = &self.0.network {
            return (network.probe(target, pinned.addresses(), deadline).await, None);
        }
        let may_dial = |ip| may_dial(budget_key(ip));
        let route = Route { addresses: pinned.addresses(), port: target.port(), deadline, may_dial: &may_dial };
        self.0.protocols.probe(target, &route, trace).await
    }

    async fn find(&self, ruling: &Ruling, target: &Target, deadline: Instant) -> Result<Option<Pinned>, Ending> {
        let name = match target.host() {
            Host::Ip(ip) => {
                self.admit(*ip, target.port()).map_err(|denied| denied_by(&denied, denied.to_string()))?;
                ruling.admit(*ip).map_err(denied_as)?;
                return Ok(Pinned::new(&[*ip]));
            }
            Host::Name(name) => name,
        };
        let found = timeout_at(deadline, self.resolve(name)).await.unwrap_or(Err(Unresolved::ResolverDown));
        let mut found = found.map_err(|error| unresolved(target, error))?.addresses;
        let admitted = |address: &IpAddr| self.admit(*address, target.port());
        if is_localhost(name) {
            // This machine may be allowed in one family only.
            let family = |denied: &Denied| matches!(denied.rule, Rule::Loopback | Rule::DenyList(_));
            let allowed: Vec<_> =
                found.iter().copied().filter(|ip| admitted(ip).err().is_none_or(|d| !family(&d))).collect();
            found = if allowed.is_empty() { found } else { allowed.into() };
        }
        let of_name = |why: String| format!("{name} resolves to an address that is denied: {why}");
        for address in found.iter() {
            admitted(address).map_err(|denied| denied_by(&denied, of_name(denied.to_string())))?;
            ruling.admit(*address).map_err(|why| denied_as(of_name(why)))?;
        }
        Ok(Pinned::new(&found))
    }

    async fn resolve(&self, name: &str) -> Result<NameAddresses, Unresolved> {
        match &self.0.network {
            None => self.0.names.resolve(name).await,
            Some(network) => network.resolve(name).await.map(|addresses| NameAddresses { addresses, complete: true }),
        }
    }

    fn admit(&self, address: IpAddr, port: u16) -> Result<(), Denied> {
        self.0.policy.check(address, port)
    }
}

impl NameLookup for Dialer {
    fn addresses(&self, name: String) -> BoxFuture<'static, Result<NameAddresses, LookupError>> {
        let dialer = self.clone();
        async move {
            dialer.resolve(&name).await.map_err(|error| match error {
                Unresolved::NotFound => LookupError::NotFound,
                Unresolved::TooMany => LookupError::TooMany,
                // A server that fails says nothing about the name.
                Unresolved::ServerError | Unresolved::ResolverDown => LookupError::NoAnswer,
            })
        }
        .boxed()
    }
}

fn no_time() -> Ending {
    Ending::inconclusive(Reason::Cancelled, "no time was left to dial")
}

fn denied_by(denied: &Denied, message: String) -> Ending {
    if denied.is_for_now() { Ending::inconclusive(Reason::NoDescriptors, message) } else { denied_as(message) }
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
        Unresolved::ServerError => {
            Ending::fail(Reason::ResolveFailed, format!("the name servers of {host} answer with an error"))
        }
        Unresolved::ResolverDown => {
            Ending::inconclusive(Reason::ResolverDown, format!("this machine's resolver gives no answer for {host}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::model::outcome::Verdict;
    use crate::prober::addresses::OwnListener;

    #[tokio::test]
    async fn an_address_that_cannot_be_judged_now_fails_no_check() {
        let own = OwnListener::asking(([0, 0, 0, 0], 8080).into(), |_| Err(Errno::MFILE.into()));
        let policy = AddressPolicy { own: vec![own], ..AddressPolicy::default() };
        let dialer = Dialer::new(DialSettings { policy, ..DialSettings::default() });
        let target = Target::Tcp { host: Host::Ip([10, 0, 0, 7].into()), port: 8080 };
        let outcome = dialer.pin(&target, Instant::now()).await.expect_err("not dialled");
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Inconclusive, Reason::NoDescriptors));
    }
}
