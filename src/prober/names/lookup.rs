//! One lookup: the system's files, then DNS, with the search domains.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use hickory_proto::rr::Name;

use super::dns::Client;
use super::hosts::Hosts;
use super::resolv_conf::Config;
use super::system_file::{self, Faults};
use super::{ResolverSettings, Unresolved};

/// How often the system's files are checked for changes.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(5);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// Entries beyond which finished lookups are dropped.
const LOOKUPS_BEFORE_CLEANUP: usize = 1024;

type Found = Result<(Vec<IpAddr>, Instant), Unresolved>;
type Running = WeakShared<BoxFuture<'static, Found>>;

/// The resolver as the system's files describe it, and when these were last checked.
#[derive(Debug)]
pub(crate) struct Loaded {
    client: Arc<Client>,
    hosts: Hosts,
    /// Running lookups by name, which callers that want the same name share.
    running: Mutex<HashMap<Box<str>, Running>>,
    files: [Option<SystemTime>; 2],
    checked: Mutex<Instant>,
}

impl Loaded {
    /// Reads the system's files if the settings say so. An unreadable file counts as empty, and is logged.
    pub(crate) fn new(settings: &ResolverSettings) -> Self {
        let files = modified();
        let (config, hosts) = match settings {
            ResolverSettings::System => system(),
            ResolverSettings::Servers(servers) => (Config::of(servers.clone()), Hosts::default()),
        };
        Self::of(config, hosts, files)
    }

    fn of(config: Config, hosts: Hosts, files: [Option<SystemTime>; 2]) -> Self {
        let client = Arc::new(Client::new(config));
        Self { client, hosts, running: Mutex::default(), files, checked: Mutex::new(Instant::now()) }
    }

    pub(crate) fn changed(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.elapsed() < FILES_CHECKED_EVERY {
            return false;
        }
        *checked = Instant::now();
        modified() != self.files
    }

    /// The hosts file, and `localhost`, which never goes to DNS.
    pub(crate) fn without_dns(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.hosts.find(name)
    }

    /// Looks the name up, or joins a lookup that runs already.
    pub(crate) async fn ask(&self, name: &str) -> Found {
        let shared = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.len() >= LOOKUPS_BEFORE_CLEANUP {
                running.retain(|_, lookup| lookup.upgrade().is_some());
            }
            let shared = running.get(name).and_then(WeakShared::upgrade).filter(|lookup| lookup.peek().is_none());
            shared.unwrap_or_else(|| {
                let (client, candidates) = (self.client.clone(), candidates(name, self.client.config()));
                let lookup: Shared<_> = async move { first(&client, candidates).await }.boxed().shared();
                if let Some(weak) = lookup.downgrade() {
                    running.insert(name.into(), weak);
                }
                lookup
            })
        };
        shared.await
    }
}

/// The first candidate with an address, else the least conclusive failure: if one server is silent, nothing is proved.
async fn first(client: &Client, candidates: Vec<Name>) -> Found {
    let mut failure = Unresolved::NotFound;
    for candidate in candidates {
        match client.addresses(&candidate).await {
            Ok((found, until)) => return Ok((found, until.into_std())),
            Err(error) => failure = failure.max(error),
        }
    }
    Err(failure)
}

/// The full names to look up, in order: the name itself first if it has enough dots, else the search domains first.
fn candidates(name: &str, config: &Config) -> Vec<Name> {
    let Ok(mut name) = Name::from_ascii(name) else { return Vec::new() };
    let complete = name.is_fqdn();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let searched = config.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
    let mut names: Vec<Name> = if complete { Vec::new() } else { searched.collect() };
    name.set_fqdn(true);
    let position = if dots >= config.ndots { 0 } else { names.len() };
    // The root among the domains is the name itself.
    names.retain(|searched| *searched != name);
    names.insert(position.min(names.len()), name);
    names
}

fn system() -> (Config, Hosts) {
    let read = |path: &str| {
        system_file::read(Path::new(path)).unwrap_or_else(|error| {
            tracing::warn!("{path} cannot be read, and counts as empty: {error}");
            Vec::new()
        })
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut faults = Faults::default();
    let config = Config::parse(&read(RESOLV_CONF), &host, &mut faults);
    faults.log(RESOLV_CONF);
    let mut faults = Faults::default();
    let hosts = Hosts::parse(&read(HOSTS), &mut faults);
    faults.log(HOSTS);
    (config, hosts)
}

fn modified() -> [Option<SystemTime>; 2] {
    [RESOLV_CONF, HOSTS].map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_are_tried_as_the_system_says() {
        let config = |file: &str| Config::parse(file.as_bytes(), "box", &mut Faults::default());
        let near = config("search ns.svc.test svc.test\noptions ndots:1");
        let deep = config("search ns.svc.test\noptions ndots:5");
        let root = config("search . svc.test");
        for (config, name, names) in [
            (&near, "db", &["db.ns.svc.test.", "db.svc.test.", "db."][..]),
            (&near, "db.corp", &["db.corp.", "db.corp.ns.svc.test.", "db.corp.svc.test."]),
            (&near, "db.", &["db."]),
            (&deep, "db.corp.test", &["db.corp.test.ns.svc.test.", "db.corp.test."]),
            (&root, "db", &["db.svc.test.", "db."]),
        ] {
            let asked: Vec<_> = candidates(name, config).iter().map(Name::to_ascii).collect();
            assert_eq!(asked, names, "{name}");
        }
        let long = "a".repeat(64);
        assert_eq!(candidates(&long, &near), []);
    }
}
