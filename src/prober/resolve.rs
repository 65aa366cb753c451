//! Names to addresses: `/etc/hosts`, then DNS, with answers kept for their TTL.
//!
//! Hickory speaks DNS and shares concurrent questions for one name; its cache is off, because keeping the finished answers here costs a
//! tenth, and shows which answers were truly given just now. Answers that a name does not exist are not kept, so that each
//! confirming probe asks anew.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use futures::future::{Either, select};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use tokio::sync::Semaphore;

/// Longest time that an answer is kept, whatever its TTL: a name that moves is noticed soon.
const MAX_TTL: Duration = Duration::from_secs(30);
/// Most names kept.
const MAX_NAMES: usize = 16_384;
/// Most addresses of one name.
const MAX_ADDRESSES: usize = 256;
/// Names looked up at once, of those that resolved before and of all others; each may take four sockets. Others that hang, however many,
/// hold up only others.
const MAX_LOOKUPS: usize = 64;
/// Longest time that one lookup is waited for.
const LOOKUP: Duration = Duration::from_secs(5);
/// How long the other address family is waited for once one has answered.
const OTHER_FAMILY: Duration = Duration::from_millis(500);
/// How recently another name must have resolved for an error to be the name's own.
const RECENT: Duration = Duration::from_mins(1);
/// How often the system's files are looked at for changes.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(5);
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Whom to ask.
#[derive(Debug, Clone, Default)]
pub enum ResolverSettings {
    /// As `/etc/hosts` and `/etc/resolv.conf` say, read again when they change.
    #[default]
    System,
    /// These servers over UDP and TCP, without search domains or a hosts file.
    Servers(Vec<SocketAddr>),
}

/// Why a name yields no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unresolved {
    /// NXDOMAIN, or no address record.
    NotFound,
    /// More than 256 addresses.
    TooMany,
    /// Its servers answer with an error while other names resolve.
    Failed,
    /// Nothing resolves: our resolver is down, or silent.
    Down,
}

/// The resolver and its answers.
#[derive(Debug)]
pub struct Names {
    settings: ResolverSettings,
    loaded: ArcSwap<Loaded>,
    answers: Mutex<HashMap<Box<str>, Answer>>,
    known: Semaphore,
    others: Semaphore,
    proof: Mutex<Proof>,
}

#[derive(Debug)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

/// The resolver as the system's files describe it, and when they were last looked at.
#[derive(Debug)]
struct Loaded {
    resolver: TokioResolver,
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
    files: [Option<SystemTime>; 2],
    checked: Mutex<Instant>,
}

/// The last two names that DNS resolved.
#[derive(Debug, Default)]
struct Proof {
    last: Option<(Box<str>, Instant)>,
    other: Option<(Box<str>, Instant)>,
}

impl Proof {
    fn resolved(&mut self, name: &str, now: Instant) {
        if self.last.as_ref().is_none_or(|(last, _)| **last != *name) {
            self.other = self.last.take();
        }
        self.last = Some((name.into(), now));
    }

    fn others_resolve(&self, name: &str, now: Instant) -> bool {
        let counts = |entry: &(Box<str>, Instant)| *entry.0 != *name && now.duration_since(entry.1) <= RECENT;
        [&self.last, &self.other].into_iter().flatten().any(counts)
    }
}

impl Names {
    /// Reads the system's files where the settings say so.
    ///
    /// # Errors
    /// When the resolver cannot be built; a missing or unreadable file counts as empty, and then a resolver on this machine is asked.
    pub fn new(settings: ResolverSettings) -> Result<Self, NetError> {
        let loaded = ArcSwap::from_pointee(Loaded::new(&settings)?);
        Ok(Self {
            settings,
            loaded,
            answers: Mutex::default(),
            known: Semaphore::new(MAX_LOOKUPS),
            others: Semaphore::new(MAX_LOOKUPS),
            proof: Mutex::default(),
        })
    }

    /// Every address of the name, IPv4 first, at most 256 of them. Takes as long as the resolver does: put a deadline around it.
    ///
    /// # Errors
    /// [`Unresolved`].
    pub async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        self.reload_when_changed();
        if let Some(known) = self.known(name) {
            return Ok(known);
        }
        let loaded = self.loaded.load_full();
        let (addresses, until) = match loaded.without_dns(name) {
            Some(addresses) => (addresses, Instant::now() + MAX_TTL),
            None => self.ask(&loaded, name).await?,
        };
        if addresses.len() > MAX_ADDRESSES {
            return Err(Unresolved::TooMany);
        }
        let addresses: Arc<[IpAddr]> = addresses.into();
        self.keep(name, &addresses, until);
        Ok(addresses)
    }

    async fn ask(&self, loaded: &Loaded, name: &str) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
        let asking = Asking { names: self, name, answered: false };
        let slots = if self.answers().contains_key(name) { &self.known } else { &self.others };
        let _slot = slots.acquire().await.map_err(|_| Unresolved::Down)?;
        let found = tokio::time::timeout(LOOKUP, loaded.ask(name)).await.unwrap_or(Err(Unresolved::Down));
        asking.ended(found.is_ok());
        let now = Instant::now();
        let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(_) => proof.resolved(name, now),
            Err(Unresolved::Failed) if !proof.others_resolve(name, now) => return Err(Unresolved::Down),
            Err(_) => {}
        }
        found
    }

    fn known(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let answers = self.answers();
        let answer = answers.get(name)?;
        (answer.until > Instant::now()).then(|| answer.addresses.clone())
    }

    /// Keeps an answer; a full cache first drops what has run out, and keeps nothing more while that does not help.
    fn keep(&self, name: &str, addresses: &Arc<[IpAddr]>, until: Instant) {
        let now = Instant::now();
        let until = until.min(now + MAX_TTL);
        let mut answers = self.answers();
        if answers.len() >= MAX_NAMES && !answers.contains_key(name) {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() < MAX_NAMES || answers.contains_key(name) {
            answers.insert(name.into(), Answer { addresses: addresses.clone(), until });
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Box<str>, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload_when_changed(&self) {
        let loaded = self.loaded.load();
        if !matches!(self.settings, ResolverSettings::System) || !loaded.changed() {
            return;
        }
        match Loaded::new(&self.settings) {
            Ok(fresh) => {
                self.loaded.store(Arc::new(fresh));
                self.answers().clear();
                tracing::info!("read /etc/resolv.conf and /etc/hosts again, because they changed");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot use the changed /etc/resolv.conf, so the old one stays in use");
            }
        }
    }
}

/// A lookup under way. One that fails, or is given up, takes the name off those that resolved before.
struct Asking<'a> {
    names: &'a Names,
    name: &'a str,
    answered: bool,
}

impl Asking<'_> {
    fn ended(mut self, answered: bool) {
        self.answered = answered;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.names.answers().remove(self.name);
        }
    }
}

impl Loaded {
    fn new(settings: &ResolverSettings) -> Result<Self, NetError> {
        let files = modified();
        let (config, mut options, hosts) = match settings {
            ResolverSettings::System => system(),
            ResolverSettings::Servers(servers) => {
                let servers = servers.iter().map(|server| name_server(*server)).collect();
                (ResolverConfig::from_name_servers(servers), ResolverOpts::default(), Hosts::default())
            }
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.max_active_requests = MAX_LOOKUPS * 4;
        let search = match config.search() {
            [] => config.domain().cloned().into_iter().collect(),
            search => search.to_vec(),
        };
        let ndots = options.ndots;
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build()?;
        Ok(Self { resolver, hosts, search, ndots, files, checked: Mutex::new(Instant::now()) })
    }

    fn changed(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.elapsed() < FILES_CHECKED_EVERY {
            return false;
        }
        *checked = Instant::now();
        modified() != self.files
    }

    /// The hosts file, and `localhost`, which never goes to DNS (RFC 6761 §6.3).
    fn without_dns(&self, name: &str) -> Option<Vec<IpAddr>> {
        let plain = name.strip_suffix('.').unwrap_or(name);
        let parsed = Name::from_ascii(plain).ok()?;
        let find = |kind| self.hosts.lookup_static_host(&Query::query(parsed.clone(), kind));
        let listed: Vec<_> =
            [RecordType::A, RecordType::AAAA].into_iter().filter_map(find).flat_map(|l| addresses(&l)).collect();
        if !listed.is_empty() {
            return Some(listed);
        }
        let local = plain == "localhost" || plain.ends_with(".localhost");
        local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// The full names to ask for, in order: with enough dots the name itself first, else the search domains first.
    fn candidates(&self, name: &str) -> Vec<Name> {
        let Ok(mut name) = Name::from_ascii(name) else { return Vec::new() };
        let complete = name.is_fqdn();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let searched = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = if complete { Vec::new() } else { searched.collect() };
        name.set_fqdn(true);
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, name);
        names
    }

    /// The first candidate with an address, else the least conclusive of the failures: one server's silence leaves the whole open.
    async fn ask(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
        let mut failure = Unresolved::NotFound;
        for candidate in self.candidates(name) {
            match self.both_families(candidate).await {
                Ok(found) => return Ok(found),
                Err(error) => failure = failure.max(error),
            }
        }
        Err(failure)
    }

    async fn both_families(&self, name: Name) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
        let v4 = std::pin::pin!(self.resolver.lookup(name.clone(), RecordType::A));
        let v6 = std::pin::pin!(self.resolver.lookup(name, RecordType::AAAA));
        let (v4, v6) = match select(v4, v6).await {
            Either::Left((v4, rest)) => {
                let v6 = other(&v4, rest).await;
                (v4, v6)
            }
            Either::Right((v6, rest)) => {
                let v4 = other(&v6, rest).await;
                (v4, v6)
            }
        };
        merge(v4, v6)
    }
}

/// The second family's answer. Servers that stay silent on one family are common, so an answer in hand limits the wait.
async fn other<F>(first: &Result<Lookup, NetError>, rest: F) -> Result<Lookup, NetError>
where
    F: Future<Output = Result<Lookup, NetError>>,
{
    if first.as_ref().is_ok_and(|lookup| !addresses(lookup).is_empty()) {
        tokio::time::timeout(OTHER_FAMILY, rest).await.unwrap_or(Err(NetError::Timeout))
    } else {
        rest.await
    }
}

fn merge(v4: Result<Lookup, NetError>, v6: Result<Lookup, NetError>) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
    let mut found = Vec::new();
    let mut until = Instant::now() + MAX_TTL;
    let mut failure = Unresolved::NotFound;
    for answer in [v4, v6] {
        match answer {
            Ok(lookup) => {
                until = until.min(lookup.valid_until());
                found.extend(addresses(&lookup));
            }
            Err(error) => failure = failure.max(classify(&error)),
        }
    }
    if found.is_empty() { Err(failure) } else { Ok((found, until)) }
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn classify(error: &NetError) -> Unresolved {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => Unresolved::NotFound,
        NetError::Dns(_) | NetError::Proto(_) | NetError::ForeignClassRecord { .. } | NetError::Truncated => {
            Unresolved::Failed
        }
        _ => Unresolved::Down,
    }
}

fn system() -> (ResolverConfig, ResolverOpts, Hosts) {
    let (config, options) = hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot use /etc/resolv.conf; names are asked of a resolver on this machine");
        let local = name_server(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
    });
    (config, options, Hosts::from_system().unwrap_or_default())
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    NameServerConfig::new(server.ip(), true, vec![on_port(ConnectionConfig::udp()), on_port(ConnectionConfig::tcp())])
}

fn modified() -> [Option<SystemTime>; 2] {
    SYSTEM_FILES.map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok())
}
