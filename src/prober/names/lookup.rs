//! One lookup: the system's files, then DNS, with the search domains.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use hickory_proto::rr::Name;

use super::dns::Client;
use super::hosts::Hosts;
use super::resolv_conf::Config;
use super::system_file::{self, Faults};
use super::{ResolverSettings, Unresolved};
use crate::crypto::stamp::Stamp;

/// How often the system's files are checked for changes.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(5);
/// Where the system says which servers to ask, and which names need none.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
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
    /// The files as they were read; others where one could not be read.
    files: [Option<Stamp>; 2],
    checked: Mutex<Instant>,
    /// Whether the log says already that they cannot be read again.
    reported: AtomicBool,
}

impl Loaded {
    /// Reads the system's files if the settings say so. An unreadable file counts as empty until it can be read, and is logged.
    pub(crate) fn new(settings: &ResolverSettings) -> Self {
        match settings {
            ResolverSettings::System => Self::at_start(FILES),
            ResolverSettings::Servers(servers) => {
                Self::of(Config::of(servers.clone()), Hosts::default(), Default::default())
            }
        }
    }

    fn at_start(paths: [&str; 2]) -> Self {
        let (mut files, mut unread) = (stamps(paths), false);
        let Ok((config, hosts)) = parsed::<Infallible>(paths, |path| {
            Ok(system_file::read(Path::new(path)).unwrap_or_else(|error| {
                tracing::warn!("{path} cannot be read, and counts as empty: {error}");
                unread = true;
                Vec::new()
            }))
        });
        if unread {
            files = Default::default();
        }
        Self::of(config, hosts, files)
    }

    /// What the system's files say now. None while one of them cannot be read: what they said before stays in force, which is logged once.
    pub(crate) fn again(&self) -> Option<Self> {
        self.again_from(FILES)
    }

    fn again_from(&self, paths: [&str; 2]) -> Option<Self> {
        let files = stamps(paths);
        let read = |path: &str| system_file::read(Path::new(path)).map_err(|error| (path.to_owned(), error));
        match parsed::<(String, io::Error)>(paths, read) {
            Ok((config, hosts)) => Some(Self::of(config, hosts, files)),
            Err((path, error)) => {
                if !self.reported.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{path} changed and cannot be read; what it said before stays in force: {error}");
                }
                None
            }
        }
    }

    fn of(config: Config, hosts: Hosts, files: [Option<Stamp>; 2]) -> Self {
        let (client, checked) = (Arc::new(Client::new(config)), Mutex::new(Instant::now()));
        Self { client, hosts, running: Mutex::default(), files, checked, reported: AtomicBool::new(false) }
    }

    pub(crate) fn changed(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.elapsed() < FILES_CHECKED_EVERY {
            return false;
        }
        *checked = Instant::now();
        stamps(FILES) != self.files
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

/// What the files say whose bytes `read` gives.
fn parsed<E>(paths: [&str; 2], mut read: impl FnMut(&str) -> Result<Vec<u8>, E>) -> Result<(Config, Hosts), E> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let [resolv_conf, hosts] = paths;
    let mut faults = Faults::default();
    let config = Config::parse(&read(resolv_conf)?, &host, &mut faults);
    faults.log(resolv_conf);
    let mut faults = Faults::default();
    let known = Hosts::parse(&read(hosts)?, &mut faults);
    faults.log(hosts);
    Ok((config, known))
}

fn stamps(paths: [&str; 2]) -> [Option<Stamp>; 2] {
    paths.map(|path| Stamp::of(Path::new(path)))
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

    #[test]
    fn files_that_cannot_be_read_for_a_moment_leave_what_they_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let (resolv_conf, hosts) = (path("resolv.conf"), path("hosts"));
        let (paths, first) =
            ([&*resolv_conf, &*hosts], |loaded: &Loaded| loaded.client.config().servers[0].ip().to_string());
        // A folder opens, and its bytes cannot be read.
        std::fs::create_dir(&hosts).expect("made");
        std::fs::write(&resolv_conf, "nameserver 192.0.2.1").expect("written");
        let loaded = Loaded::at_start(paths);
        assert_eq!((first(&loaded).as_str(), loaded.without_dns("a.test")), ("192.0.2.1", None));
        assert_ne!(loaded.files, stamps(paths), "it is tried again");
        assert!(loaded.again_from(paths).is_none());
        std::fs::remove_dir(&hosts).expect("removed");
        std::fs::write(&hosts, "192.0.2.7 a.test").expect("written");
        let loaded = loaded.again_from(paths).expect("readable");
        assert_eq!((loaded.without_dns("a.test").expect("known").len(), loaded.files), (1, stamps(paths)));
    }
}
