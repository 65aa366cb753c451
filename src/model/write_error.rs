//! Why a write was refused, in the words that answers and `/readyz?verbose` show.

use std::fmt;
use std::sync::Arc;

use super::name::{InstanceName, Namespace, ServiceKey};
use super::time::UnixMs;

/// Most namespaces that a refusal lists.
const MAX_NAMED: usize = 5;

/// Why a write was refused. Each has its own HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No service with that id or name.
    #[error("Service not found")]
    ServiceNotFound,
    /// The service exists, the instance does not.
    #[error("Instance not found")]
    InstanceNotFound,
    /// Another owner's: the instance, or every instance of the service that it would join.
    #[error("this name belongs to another owner; use its owner's token or one with the admin scope")]
    NotOwner,
    /// The service comes from a custom resource.
    #[error(
        "{0} comes from a manifest: `kubectl edit services.portolan.dev {name} -n {namespace}` changes it, `kubectl delete \
         services.portolan.dev {name} -n {namespace}` removes it", name = .0.name(), namespace = .0.namespace()
    )]
    ManifestOwned(ServiceKey),
    /// A drain of an instance that comes from a custom resource.
    #[error(
        "{service} comes from a manifest, whose author drains its instances: give instance {instance} a spec.instances[].drain with a \
         reason, as in `drain: {{reason: kernel update}}`, or take it out again; `kubectl edit services.portolan.dev {name} -n \
         {namespace}` changes it", name = .service.name(), namespace = .service.namespace()
    )]
    ManifestDrain {
        /// The service.
        service: ServiceKey,
        /// The instance.
        instance: InstanceName,
    },
    /// An acknowledgement where nothing fails.
    #[error(
        "nothing to acknowledge: {} now; an acknowledgement is about a failure, and ends with it",
        if *.instance { "this instance neither fails nor warns" } else { "no instance of this service fails or warns" }
    )]
    NothingToAcknowledge {
        /// Whether the call named an instance.
        instance: bool,
    },
    /// Its object is being deleted.
    #[error("{0} is being deleted in the cluster; register again once it is gone")]
    Terminating(ServiceKey),
    /// None of `PORTOLAN_REST_NAMESPACES`.
    #[error("namespace {namespace} accepts no registrations here; {} (PORTOLAN_REST_NAMESPACES lists them)", open_ones(.open))]
    NamespaceClosed {
        /// The requested namespace.
        namespace: Namespace,
        /// Those that accept registrations.
        open: Arc<[Namespace]>,
    },
    /// Its labels are not what `PORTOLAN_WATCH_SELECTOR` asks for.
    #[error(
        "namespace {0} is not watched here, since its labels do not match PORTOLAN_WATCH_SELECTOR; have your administrators label it"
    )]
    NamespaceNotWatched(Namespace),
    /// The NamespacePolicies of the namespace.
    #[error(
        "the service has {0} instances, the most that the NamespacePolicies of its namespace allow \
         (checks.limits.maxInstancesPerService); deregister one that is not needed, or ask your administrators"
    )]
    FullByPolicy(usize),
    /// `MAX_SERVICES`.
    #[error("MAX_SERVICES {}", at_limit(*.0, "service"))]
    TooManyServices(usize),
    /// `MAX_INSTANCES`.
    #[error("PORTOLAN_MAX_INSTANCES {}", at_limit(*.0, "instance"))]
    TooManyInstances(usize),
    /// The service has 256 instances.
    #[error("{0}")]
    ServiceFull(FullService),
    /// The service has several instances, and the call names none and has no `all`.
    #[error("the service has {0} instances; name one, or add ?all=true to remove them all")]
    HasInstances(usize),
    /// Several instances have the external id, at different addresses, and the call has no `all`.
    #[error(
        "{0} instances have this external_id, at different addresses; name one with instance=, or add all=true to remove them all"
    )]
    SharedExternalId(usize),
    /// Another instance of the service has the external id at the same address.
    #[error(
        "instance {0} has this external_id at this address already; leave out `instance` to register it again, or give another \
         external_id"
    )]
    ExternalIdTaken(InstanceName),
    /// Portolan itself would remove a service's last instance, which did not ask for that.
    #[error("this is the last instance of its service, and stays")]
    LastInstance,
    /// `If-Match` names an older generation.
    #[error("If-Match names generation {asked}, but the instance now has generation {current}; nothing was removed")]
    StaleGeneration {
        /// The generation that `If-Match` names.
        asked: u64,
        /// The generation now.
        current: u64,
    },
    /// The store's file is no longer at its path.
    #[error(
        "the store's file was deleted, moved or replaced while the server runs, so nothing is written any more; reads still work; put the \
            file back if you can, and restart the server"
    )]
    FileLost,
    /// No space left.
    #[error("the disk of the store is full; nothing was changed; reads still work")]
    DiskFull,
    /// The file, its folder or its file system is read-only.
    #[error(
        "the store's file or its file system is read-only; nothing was changed; reads still work; make it writable, no restart is needed"
    )]
    ReadOnly,
    /// Another program holds SQLite's lock.
    #[error("another program has the store's file locked; nothing was changed; reads still work; try again")]
    Locked,
    /// The writer's queue is full.
    #[error("too many writes are waiting; try again")]
    Busy,
    /// The server is stopping.
    #[error("the server is shutting down; try again")]
    Closed,
    /// The store failed otherwise; the detail is in the log.
    #[error("the store could not be written: {0}")]
    Store(String),
    /// The Kubernetes API refused it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The rest of a sentence about a limit that is reached.
fn at_limit(most: usize, what: &str) -> String {
    let (plural, are, one) = if most == 1 { ("", "is", "it") } else { ("s", "are", "one") };
    format!("allows {most} {what}{plural}, and {most} {are} registered; deregister {one} or raise the limit")
}

fn open_ones(open: &[Namespace]) -> String {
    let named: Vec<&str> = open.iter().take(MAX_NAMED).map(Namespace::as_str).collect();
    let more = if open.len() > MAX_NAMED { " and more" } else { "" };
    match named.as_slice() {
        [] => "no namespace does".to_owned(),
        [one] => format!("{one} does"),
        all => format!("{}{more} do", all.join(", ")),
    }
}

/// A service at its bound, and which of its instances may be obsolete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullService {
    /// Its instances.
    pub instances: usize,
    /// How many of them are unhealthy.
    pub unhealthy: usize,
    /// The one that has been unhealthy for longest, and since when.
    pub longest: Option<(InstanceName, UnixMs)>,
}

impl FullService {
    /// Counts `instances`; those with a time are unhealthy since then.
    pub fn of<'a>(instances: impl Iterator<Item = (&'a InstanceName, Option<UnixMs>)>) -> Self {
        let mut full = Self { instances: 0, unhealthy: 0, longest: None };
        for (name, since) in instances {
            full.instances += 1;
            let Some(since) = since else { continue };
            full.unhealthy += 1;
            if full.longest.as_ref().is_none_or(|(_, longest)| since < *longest) {
                full.longest = Some((name.clone(), since));
            }
        }
        full
    }
}

impl fmt::Display for FullService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, unhealthy, longest } = self;
        write!(f, "the service has {instances} instances, the most that one may have; ")?;
        match longest {
            None => f.write_str("none of them is unhealthy; deregister one that is not needed"),
            Some((name, since)) => write!(
                f,
                "{unhealthy} of them {are} unhealthy, {name} for the longest, since {since}; deregister what is gone",
                are = if *unhealthy == 1 { "is" } else { "are" },
            ),
        }
    }
}

/// A refusal or a silence of the Kubernetes API. Each has a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Not sent, because the API has not answered for a while.
    #[error("the Kubernetes API does not answer, so nothing was changed; reads still work; try again")]
    Away {
        /// Seconds, ≥ 1.
        retry_after: u64,
    },
    /// Nothing is written before it is known what the policies allow.
    #[error("the policies of namespaces are not known yet, so nothing was changed; reads still work; try again")]
    PoliciesUnknown,
    /// Nothing is written before it is known which policies apply to the namespace.
    #[error("namespace {0} does not exist in the cluster or is not known yet; create it, or try again")]
    NamespaceUnknown(Namespace),
    /// Sent, but no answer came in time.
    #[error(
        "the Kubernetes API did not answer in time, so it is not known whether the change was made; it is safe to repeat the call"
    )]
    Unanswered,
    /// 429.
    #[error("the Kubernetes API is overloaded; nothing was changed; try again")]
    Overloaded {
        /// Seconds, ≥ 1.
        retry_after: u64,
    },
    /// Others changed the object before each attempt of this replica.
    #[error("too many changes to {0} at once; this one was not made; try again")]
    Contended(ServiceKey),
    /// RBAC.
    #[error(
        "Portolan's ServiceAccount may not write services in namespace {0}; `kubectl apply -n {0} -f \
         deploy/rest-namespace.yaml` lets it"
    )]
    NotAllowed(Namespace),
    /// The namespace does not exist.
    #[error("namespace {0} does not exist in the cluster; `kubectl create namespace {0}` creates it")]
    NamespaceMissing(Namespace),
    /// The namespace has a `deletionTimestamp`.
    #[error("namespace {0} is being deleted in the cluster")]
    NamespaceTerminating(Namespace),
    /// A `ResourceQuota`.
    #[error("the ResourceQuota of namespace {0} allows no more services; raise it or deregister one")]
    Quota(Namespace),
    /// The CRD is not installed.
    #[error("the cluster does not know services.portolan.dev; `portolan crd | kubectl apply -f -` installs it")]
    KindMissing,
    /// The CRD's schema or rules, or an admission policy.
    #[error("the cluster refuses this service: {0}")]
    Invalid(String),
    /// The object would exceed 1.5 MiB.
    #[error(
        "with this change, the service would be larger than Kubernetes can store; give its instances less metadata, or use two services"
    )]
    TooLarge,
    /// etcd is full.
    #[error("the cluster's etcd is full; nothing was changed; reads still work")]
    Full,
    /// Only the replica that leads can do it.
    #[error("only the leading replica can do this, and this one does not lead; nothing was changed; try again")]
    NotLeading,
    /// Another install writes the object's status.
    #[error(
        "another install of Portolan writes the status of {0}, so acknowledge it there; its status.install names that install"
    )]
    OtherInstall(ServiceKey),
    /// Anything else; the detail is in the log.
    #[error("the Kubernetes API failed; the server's log says why")]
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_service_names_what_may_be_gone() {
        let names: Vec<InstanceName> = ["a", "b", "c"].iter().map(|name| name.parse().expect("a name")).collect();
        let said =
            |since: [Option<i64>; 3]| FullService::of(names.iter().zip(since.map(|at| at.map(UnixMs)))).to_string();
        let most = "the service has 3 instances, the most that one may have; ";
        let none = "none of them is unhealthy; deregister one that is not needed";
        assert_eq!(said([None; 3]), format!("{most}{none}"));
        let two = "2 of them are unhealthy, c for the longest, since 1970-01-01T00:00:01.000Z; deregister what is gone";
        assert_eq!(said([Some(2000), None, Some(1000)]), format!("{most}{two}"));
        assert!(said([None, Some(1000), None]).contains("1 of them is unhealthy, b for the longest"));
    }
}
