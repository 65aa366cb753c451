//! Counts what belongs to other installs and, while this replica leads, watches whether they still exist.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::observations::{InstallState, LeaseView, Observations};
use super::{Installs, NAMED_INSTALLS, OtherInstalls, lease_of};
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::model::text;
use crate::operator::events::Events;
use crate::operator::ingest::Ingest;
use crate::operator::status;
use crate::telemetry::metrics::Metrics;

/// Time between two polls.
const POLL: Duration = Duration::from_secs(5);
/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Most Leases that one poll reads; the objects of further installs are left alone.
const MAX_LEASES: usize = 16;

/// The keys of other installs' objects.
type Others = BTreeMap<String, Vec<ServiceKey>>;

/// The task of [`Installs`].
pub struct InstallsTask {
    installs: Installs,
    client: Client,
    ingest: Ingest,
    leadership: Arc<dyn Leadership>,
    events: Events,
    metrics: Metrics,
    observations: Observations,
    /// Objects that were reported as left alone, with their install.
    reported: HashMap<ServiceKey, String>,
    /// Installs whose unreadable Lease was reported.
    unreadable: HashSet<String>,
}

impl InstallsTask {
    /// The task of `installs`, over the objects of `ingest`.
    pub fn new(
        installs: Installs,
        client: Client,
        ingest: Ingest,
        leadership: Arc<dyn Leadership>,
        events: Events,
        metrics: Metrics,
    ) -> Self {
        Self {
            installs,
            client,
            ingest,
            leadership,
            events,
            metrics,
            observations: Observations::default(),
            reported: HashMap::new(),
            unreadable: HashSet::new(),
        }
    }

    /// Polls until `stop`.
    ///
    /// # Errors
    /// Never fails; failures are retried at the next poll.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let round = async {
                poll.tick().await;
                self.poll().await;
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = round => {}
            }
        }
    }

    async fn poll(&mut self) {
        let others = self.others();
        self.count(&others);
        let leads = self.leadership.leads();
        self.observations.keep(|install| leads && others.contains_key(install));
        self.unreadable.retain(|install| leads && others.contains_key(install));
        self.reported
            .retain(|key, whose| leads && others.get(whose).is_some_and(|keys| keys.binary_search(key).is_ok()));
        let mut over = HashSet::new();
        if leads {
            for (install, keys) in others.iter().take(MAX_LEASES) {
                match self.ask(install).await {
                    Some(InstallState::Gone) => drop(over.insert((install, "is gone"))),
                    Some(InstallState::Silent) => drop(over.insert((install, "has not been renewed for a minute"))),
                    Some(InstallState::Alive) => self.report_left_alone(install, keys),
                    Some(InstallState::Undecided) | None => {}
                }
            }
        }
        self.take_over(&others, &over);
    }

    /// The watched objects that others write, in order for each install; none of one that only policies name.
    fn others(&self) -> Others {
        let mut others = Others::new();
        let objects = self.ingest.objects();
        for (key, observed) in &*objects {
            if let Some(install) = self.installs.other(observed.status()) {
                others.entry(install.to_owned()).or_default().push(key.clone());
            }
        }
        for keys in others.values_mut() {
            keys.sort_unstable();
        }
        for install in self.installs.0.of_policies.load().iter() {
            others.entry(install.clone()).or_default();
        }
        others
    }

    fn count(&self, others: &Others) {
        let objects = others.values().map(Vec::len).sum();
        self.metrics.cluster.objects_of_others.set(i64::try_from(objects).unwrap_or(i64::MAX));
        let writing = others.iter().filter(|(_, keys)| !keys.is_empty()).map(|(install, _)| install);
        let other_installs = OtherInstalls { objects, installs: writing.take(NAMED_INSTALLS).cloned().collect() };
        if *self.installs.other_installs() != other_installs {
            self.installs.0.other_installs.store(Arc::new(other_installs));
        }
    }

    /// The install's state; none if its Lease cannot be read now.
    async fn ask(&mut self, install: &str) -> Option<InstallState> {
        let (namespace, name) = lease_of(install)?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), namespace.as_str());
        let view = match timeout(ANSWER_TIMEOUT, leases.get_opt(name)).await {
            Ok(Ok(Some(lease))) => {
                let spec = lease.spec.unwrap_or_default();
                LeaseView::Held(spec.holder_identity, spec.renew_time)
            }
            Ok(Ok(None)) => LeaseView::Gone,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                self.may_not_read(install, &status.message);
                return Some(InstallState::Alive);
            }
            Ok(Err(_)) | Err(_) => return None,
        };
        self.unreadable.remove(install);
        Some(self.observations.note(install, view, Instant::now()))
    }

    fn may_not_read(&mut self, install: &str, why: &str) {
        if self.unreadable.insert(install.to_owned()) {
            tracing::warn!(
                "the Lease {install} may not be read, so this install never takes over the objects of that one: give this ServiceAccount the \
                 verb get on that Lease, or remove status.install from these objects: {}",
                text::escape(why, 300)
            );
        }
    }

    /// Reports each object once as written by another install.
    fn report_left_alone(&mut self, install: &str, keys: &[ServiceKey]) {
        for key in keys {
            if self.reported.contains_key(key) {
                continue;
            }
            let Some(observed) = self.ingest.known(key) else { continue };
            let notice = status::elsewhere_notice(install);
            tracing::warn!("{key} is left alone: {}", notice.note);
            self.events.send(&observed, notice);
            self.reported.insert(key.clone(), install.to_owned());
        }
    }

    /// From now on this install may write the objects of installs that have ended.
    fn take_over(&self, others: &Others, over: &HashSet<(&String, &'static str)>) {
        let before = self.installs.0.over.load_full();
        let now: HashSet<String> = over.iter().map(|(install, _)| (*install).clone()).collect();
        if *before == now {
            return;
        }
        self.installs.0.over.store(Arc::new(now));
        for (install, why) in over.iter().filter(|(install, _)| !before.contains(*install)) {
            let keys = others.get(*install).map_or(&[][..], Vec::as_slice);
            tracing::info!(objects = keys.len(), "this install takes over the objects of {install}: its Lease {why}");
            self.ingest.mark(keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ObjectReference;
    use kube::client::Body;
    use tokio::sync::mpsc;

    use super::*;
    use crate::model::ports::AlwaysLeads;
    use crate::model::samples::Anywhere;
    use crate::model::time::Clock;
    use crate::operator::events::EventSettings;
    use crate::store::{Opened, Store, StoreSettings};

    /// A client of an API server that has nothing, and the paths that are asked for.
    fn nothing() -> (Client, mpsc::UnboundedReceiver<String>) {
        let (paths, asked) = mpsc::unbounded_channel();
        let answer = move |request: Request<Body>| {
            let sent = paths.send(request.uri().path().to_owned());
            let status = r#"{"kind": "Status", "status": "Failure", "message": "", "reason": "NotFound", "code": 404}"#;
            std::future::ready(sent.map(|()| {
                let body = Body::from(status.as_bytes().to_vec());
                Response::builder().status(404).body(body).expect("a response")
            }))
        };
        (Client::new(tower::service_fn(answer), "shop"), asked)
    }

    #[tokio::test]
    async fn an_install_that_only_policies_name_is_asked_about_and_has_no_objects() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = StoreSettings::sample(folder.path());
        let (metrics, leads) = (Metrics::default(), Arc::new(AlwaysLeads));
        let Opened { store, .. } = Store::open(settings, Clock::system(), metrics.clone()).expect("a store");
        let (ingest, _) = Ingest::new(&[], store, leads.clone(), Arc::new(Anywhere), metrics.clone());
        let (client, mut asked) = nothing();
        let whole = ObjectReference::default();
        let settings = EventSettings { instance: "a".to_owned(), whole, guard_holds: Box::new(|| false) };
        let (events, _) = Events::new(client.clone(), settings, leads.clone(), metrics.clone());
        let installs = Installs::new(&"portolan".parse().expect("a namespace"));
        let mut task = InstallsTask::new(installs.clone(), client, ingest, leads, events, metrics);

        installs.name_in_policies(["gone/portolan", "portolan/portolan", "odd"].into_iter());
        task.poll().await;
        assert_eq!(asked.try_recv().as_deref(), Ok("/apis/coordination.k8s.io/v1/namespaces/gone/leases/portolan"));
        assert!(asked.try_recv().is_err(), "the others are its own, or no Lease");
        assert_eq!(*installs.other_installs(), OtherInstalls::default());
        installs.name_in_policies(std::iter::empty());
        task.poll().await;
        assert!(asked.try_recv().is_err());
    }
}
