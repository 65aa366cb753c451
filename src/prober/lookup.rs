//! One lookup: the system's files, then DNS over hickory, both address families at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::{Either, select};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};

use super::resolve::{ResolverSettings, Unresolved};

/// Most questions under way on one connection to a name server.
const MAX_ACTIVE: usize = 256;
/// Longest time that an answer without a TTL of its own is kept.
const NO_TTL: Duration = Duration::from_mins(1);
/// How long the other address family is waited for once one has answered.
const OTHER_FAMILY: Duration = Duration::from_millis(500);
/// How often the system's files are looked at for changes.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(5);
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The resolver as the system's files describe it, and when they were last looked at.
#[derive(Debug)]
pub(super) struct Loaded {
    resolver: TokioResolver,
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
    files: [Option<SystemTime>; 2],
    checked: Mutex<Instant>,
}

impl Loaded {
    pub(super) fn new(settings: &ResolverSettings) -> Result<Self, NetError> {
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
        options.max_active_requests = MAX_ACTIVE;
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

    pub(super) fn changed(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.elapsed() < FILES_CHECKED_EVERY {
            return false;
        }
        *checked = Instant::now();
        modified() != self.files
    }

    /// The hosts file, and `localhost`, which never goes to DNS (RFC 6761 §6.3).
    pub(super) fn without_dns(&self, name: &str) -> Option<Vec<IpAddr>> {
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
    pub(super) async fn ask(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
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
    let mut until = Instant::now() + NO_TTL;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(search: &[&str], ndots: usize, hosts: &str) -> Loaded {
        let mut loaded = Loaded::new(&ResolverSettings::Servers(Vec::new())).expect("a resolver");
        loaded.search = search.iter().map(|domain| Name::from_ascii(domain).expect("a domain")).collect();
        loaded.ndots = ndots;
        loaded.hosts.read_hosts_conf(hosts.as_bytes()).expect("a hosts file");
        loaded
    }

    #[test]
    fn search_domains_are_tried_as_the_system_says() {
        let near = loaded(&["ns.svc.test.", "svc.test."], 1, "");
        let deep = loaded(&["ns.svc.test."], 5, "");
        for (loaded, name, names) in [
            (&near, "db", &["db.ns.svc.test.", "db.svc.test.", "db."][..]),
            (&near, "db.corp", &["db.corp.", "db.corp.ns.svc.test.", "db.corp.svc.test."]),
            (&near, "db.", &["db."]),
            (&deep, "db.corp.test", &["db.corp.test.ns.svc.test.", "db.corp.test."]),
        ] {
            let asked: Vec<_> = loaded.candidates(name).iter().map(Name::to_ascii).collect();
            assert_eq!(asked, names, "{name}");
        }
    }

    #[test]
    fn the_hosts_file_comes_first_in_any_case_and_with_a_last_dot() {
        let loaded = loaded(&["svc.test."], 5, "10.0.0.9 DB db.corp # a comment\nfd00::9 db\n");
        let both = vec![IpAddr::from([10, 0, 0, 9]), "fd00::9".parse().expect("an address")];
        assert_eq!(loaded.without_dns("db"), Some(both.clone()));
        assert_eq!(loaded.without_dns("db."), Some(both));
        assert_eq!(loaded.without_dns("db.corp"), Some(vec![IpAddr::from([10, 0, 0, 9])]));
        assert_eq!(loaded.without_dns("other"), None);
    }
}
