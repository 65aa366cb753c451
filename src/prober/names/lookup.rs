//! One lookup: the system's files, then DNS, with the search domains.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use hickory_proto::rr::Name;

use super::dns::{Client, Resolved};
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

type Found = Result<Resolved, Unresolved>;
type Running = WeakShared<BoxFuture<'static, Found>>;

/// The resolver as the system's files describe it, and when these were last checked.
#[derive(Debug)]
pub(crate) struct Loaded {
    client: Arc<Client>,
    hosts: Hosts,
    /// Running lookups by name, which callers that want the same name share.
    running: Mutex<HashMap<Box<str>, Running>>,
    /// The versions of the files that were read.
    files: [Option<Stamp>; 2],
    checked: Mutex<Instant>,
    /// Whether the log says already that they cannot be read.
    reported: [AtomicBool; 2],
}

impl Loaded {
    /// Reads the system's files if the settings say so. An unreadable file counts as empty until it can be read.
    pub(crate) fn new(settings: &ResolverSettings) -> Self {
        match settings {
            ResolverSettings::System => Self::at_start(FILES),
            ResolverSettings::Servers(servers) => {
                Self::of(Config::of(servers.clone()), Hosts::default(), Default::default())
            }
        }
    }

    fn at_start(paths: [&str; 2]) -> Self {
        let (empty, stamps) = (
            Self::of(Config::parse(b"", &own_host(), &mut Faults::default()), Hosts::default(), Default::default()),
            stamps(paths),
        );
        empty.read(paths, stamps, true).unwrap_or(empty)
    }

    /// What the system's files say now; none if nothing new can be read. What a file said stays in force while it cannot be read again, which
    /// is logged once.
    pub(crate) fn again(&self) -> Option<Self> {
        self.read(FILES, stamps(FILES), false)
    }

    /// Reads the files that changed, or both the `first` time.
    fn read(&self, paths: [&str; 2], stamps: [Option<Stamp>; 2], first: bool) -> Option<Self> {
        let tried = [0, 1].map(|at| first || stamps[at] != self.files[at]);
        let [config, hosts] = [0, 1].map(|at| if tried[at] { self.bytes(paths[at], at) } else { self.unchanged(at) });
        let read = [config.is_some(), hosts.is_some()];
        if read == [false, false] {
            return None;
        }
        let files = [0, 1].map(|at| if read[at] { stamps[at] } else { self.files[at] });
        let config = config.map(|bytes| parsed(paths[0], |faults| Config::parse(&bytes, &own_host(), faults)));
        let hosts = hosts.map(|bytes| parsed(paths[1], |faults| Hosts::parse(&bytes, faults)));
        let config = config.unwrap_or_else(|| self.client.config().clone());
        let mut again = Self::of(config, hosts.unwrap_or_else(|| self.hosts.clone()), files);
        again.reported = [0, 1].map(|at| AtomicBool::new(tried[at] && !read[at]));
        Some(again)
    }

    /// What was read stays; a next failure is news.
    fn unchanged(&self, at: usize) -> Option<Vec<u8>> {
        self.reported[at].store(false, Ordering::Relaxed);
        None
    }

    fn bytes(&self, path: &str, at: usize) -> Option<Vec<u8>> {
        let read = system_file::read(Path::new(path));
        read.inspect_err(|error| {
            if !self.reported[at].swap(true, Ordering::Relaxed) {
                tracing::warn!("{path} cannot be read, so what it said before, if anything, stays in force; this is tried again: {error}");
            }
        })
        .ok()
    }

    fn of(config: Config, hosts: Hosts, files: [Option<Stamp>; 2]) -> Self {
        let (client, checked) = (Arc::new(Client::new(config)), Mutex::new(Instant::now()));
        Self { client, hosts, running: Mutex::default(), files, checked, reported: Default::default() }
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
            Ok(found) => return Ok(found),
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

/// This machine's name.
fn own_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What `parse` makes of a file, with its faults in the log.
fn parsed<T>(path: &str, parse: impl FnOnce(&mut Faults) -> T) -> T {
    let mut faults = Faults::default();
    let parsed = parse(&mut faults);
    faults.log(path);
    parsed
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
    fn a_file_that_cannot_be_read_for_a_moment_leaves_what_it_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let (resolv_conf, hosts) = (path("resolv.conf"), path("hosts"));
        let paths = [&*resolv_conf, &*hosts];
        let again = |loaded: &Loaded| loaded.read(paths, stamps(paths), false);
        let said = |loaded: &Loaded| {
            let server = loaded.client.config().servers[0].ip().to_string();
            (server, loaded.without_dns("a.test").map(|found| found.len()))
        };
        // The bytes of a folder cannot be read.
        let unreadable = |path: &str| {
            drop(std::fs::remove_file(path));
            std::fs::create_dir(path).expect("made");
        };
        let write = |path: &str, text: &str| {
            drop(std::fs::remove_dir(path));
            std::fs::write(path, text).expect("written");
        };
        unreadable(&hosts);
        write(&resolv_conf, "nameserver 192.0.2.1");
        let loaded = Loaded::at_start(paths);
        assert_eq!([0, 1].map(|at| loaded.reported[at].load(Ordering::Relaxed)), [false, true]);
        assert_eq!(said(&loaded), ("192.0.2.1".to_owned(), None));
        assert!(again(&loaded).is_none(), "nothing new can be read");
        write(&hosts, "192.0.2.7 a.test");
        let loaded = again(&loaded).expect("the hosts file, at last");
        assert_eq!(said(&loaded), ("192.0.2.1".to_owned(), Some(1)));
        assert!(again(&loaded).is_none(), "nothing changed");
        unreadable(&hosts);
        write(&resolv_conf, "# moved\nnameserver 192.0.2.22");
        let loaded = again(&loaded).expect("another server");
        assert_eq!(said(&loaded), ("192.0.2.22".to_owned(), Some(1)), "the hosts file says what it said");
        std::fs::remove_dir(&hosts).expect("removed");
        let loaded = again(&loaded);
        assert_eq!(
            loaded.as_ref().map(said),
            Some(("192.0.2.22".to_owned(), None)),
            "a file that is gone says nothing"
        );
    }
}
