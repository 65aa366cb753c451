//! What cannot be brought about from outside: a probe that breaks inside Portolan.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::dial::{DialSettings, Dialer};
use super::track::Place;
use super::{Prober, ProberSettings};
use crate::catalog::{Entry, LastCheck};
use crate::model::check::Check;
use crate::model::name::{InstanceName, Namespace, ServiceKey};
use crate::model::outcome::{Health, Reason, Verdict};
use crate::model::ports::AlwaysLeads;
use crate::model::service::{Instance, InstanceId, InstanceSpec, Owner, Service, Source};
use crate::model::time::{Clock, UnixMs};
use crate::model::url::EndpointUrl;
use crate::store::{Store, StoreSettings};
use crate::telemetry::metrics::Metrics;

fn prober(folder: &tempfile::TempDir) -> Prober {
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let settings = StoreSettings {
        path: folder.path().join("services.db"),
        max_services: 0,
        max_instances: 10,
        history_days: 1,
        history_rows: 10,
        default_interval: Duration::from_secs(30),
    };
    let opened = Store::open(settings, clock.clone(), metrics.clone()).expect("opens");
    let dialer = Dialer::new(DialSettings::default()).expect("a dialer");
    let (leads, store) = (Arc::new(AlwaysLeads), opened.store);
    Prober::new(ProberSettings::default(), dialer, store, HashMap::new(), leads, clock, metrics).0
}

fn entry() -> Arc<Entry> {
    let url = EndpointUrl::health("tcp://192.0.2.1:1").expect("a url");
    let spec = InstanceSpec {
        base_url: url.clone(),
        health_url: Some(url),
        check: Check::default(),
        version: String::new(),
        description: String::new(),
        metadata: BTreeMap::new(),
        weight: 100,
        zone: String::new(),
    };
    let at = UnixMs::wall();
    let instance = Instance {
        id: InstanceId(1),
        name: InstanceName::default(),
        spec: Arc::new(spec),
        owner: Owner::Anonymous,
        generation: 1,
        created_at: at,
        health: Health::Unknown,
        reason: Reason::Probing,
        since: at,
    };
    let service = Service {
        id: Uuid::now_v7(),
        key: ServiceKey::new(&Namespace::default(), &"user".parse().expect("a name")),
        source: Source::Rest,
        registered_at: at,
        updated_at: at,
        revision: 1,
        instances: vec![instance],
    };
    Arc::new(Entry::new(service, LastCheck::default()))
}

#[tokio::test]
async fn a_probe_that_breaks_counts_for_nothing_and_the_next_one_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut prober = prober(&folder);
    prober.follow(&[entry()]);
    let now = prober.clock.now().steady;
    let task = prober.probes.spawn(async { panic!("a bug") });
    prober.tracked.get_mut(&InstanceId(1)).expect("tracked").place = Place::Running(task, now);

    let broken = prober.probes.join_next().await.expect("it ended");
    prober.ended(broken, prober.clock.now());

    let tracked = &prober.tracked[&InstanceId(1)];
    let last = tracked.last.as_ref().expect("an outcome");
    assert_eq!((last.verdict, last.reason), (Verdict::Inconclusive, Reason::Cancelled));
    assert_eq!((tracked.state.health(), tracked.state.reason()), (Health::Unknown, Reason::Probing));
    assert!(matches!(tracked.place, Place::Idle) && tracked.due > now, "its next probe is due");
    assert!(prober.commits.is_empty(), "readers notice nothing");
}
