//! Cases that cannot be provoked from outside, or only by chance.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::Prober;
use crate::catalog::{Entry, LastCheck};
use crate::model::health::{Event, step};
use crate::model::outcome::{Health, Outcome, Reason, Stage, Timings, Verdict};
use crate::model::ports::AlwaysLeads;
use crate::model::service::{CheckId, Instance, InstanceId, InstanceSpec, Service};
use crate::model::time::{Clock, Now, UnixMs};
use crate::model::url::EndpointUrl;
use crate::prober::targets::{ProbePhase, Run};
use crate::prober::{DialSettings, Dialer, ProberSettings};
use crate::store::{Store, StoreSettings};
use crate::telemetry::metrics::Metrics;

fn prober(folder: &tempfile::TempDir) -> Prober {
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let settings = StoreSettings::sample(folder.path());
    let opened = Store::open(settings, clock.clone(), metrics.clone()).expect("opens");
    let dialer = Dialer::new(DialSettings::default());
    let (leads, store) = (Arc::new(AlwaysLeads), opened.store);
    let settings = ProberSettings::default();
    let mut prober = Prober::new(settings, dialer, store, HashMap::new(), leads, clock, metrics).0;
    prober.probing = true;
    prober
}

/// A service of one instance.
fn entry() -> Arc<Entry> {
    Arc::new(Entry::new(service(1, &["default"]), LastCheck::default()))
}

/// A service with these instances, numbered from 1.
fn service(revision: u64, instances: &[&str]) -> Service {
    let url = EndpointUrl::health("tcp://192.0.2.1:1").expect("a url");
    let spec = InstanceSpec { health_url: Some(url.clone()), ..InstanceSpec::at(url) };
    let at = UnixMs::wall();
    let spec = Arc::new(spec);
    let instance = |(number, name): (i64, &&str)| {
        let (id, name) = (InstanceId(number), name.parse().expect("a name"));
        Instance::new(id, name, Arc::clone(&spec), (Health::Unknown, Reason::Probing), at)
    };
    let instances = (1..).zip(instances).map(instance).collect();
    Service { registered_at: at, updated_at: at, revision, sequence: revision, ..Service::sample("user", instances) }
}

fn outcome(verdict: Verdict, reason: Reason) -> Outcome {
    let message = reason.to_string();
    let (at, timings) = (UnixMs::wall(), Timings::default());
    Outcome {
        verdict,
        reason,
        stage: Stage::Resolve,
        at,
        address: None,
        code: None,
        certificate_expires_at: None,
        message,
        timings,
    }
}

#[tokio::test]
async fn a_batch_from_before_a_request_takes_nothing_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut prober = prober(&folder);
    let entry = |revision, instances: &[&str]| Arc::new(Entry::new(service(revision, instances), LastCheck::default()));
    prober.follow(&[entry(2, &["a", "b"])]);
    prober.follow(&[entry(1, &["a"])]);
    assert!(prober.targets.get(CheckId::plain(2)).is_some(), "b is newer than the batch");
    prober.follow(&[entry(3, &["a"])]);
    assert!(prober.targets.get(CheckId::plain(2)).is_none(), "b is gone");
}

#[tokio::test]
async fn a_fall_that_was_withheld_names_what_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut prober = prober(&folder);
    prober.follow(&[entry()]);
    let id = CheckId::plain(1);
    let judge = |prober: &mut Prober, verdict, reason| {
        let now = prober.clock.now();
        prober.judge(id, outcome(verdict, reason), now.steady, now);
    };
    judge(&mut prober, Verdict::Pass, Reason::Passed);
    judge(&mut prober, Verdict::Fail, Reason::ConnectRefused);
    judge(&mut prober, Verdict::Fail, Reason::ConnectRefused);
    // The fail that confirms it is counted but not shown, as the guard leaves it.
    let refused = outcome(Verdict::Fail, Reason::ConnectRefused);
    let tracked = prober.targets.get_mut(id).expect("tracked");
    let confirmed = step(&tracked.state, &tracked.timing, Event::Probe(&refused), prober.clock.now());
    assert!(confirmed.is_fall());
    tracked.state = confirmed.withheld(&tracked.state).state;
    judge(&mut prober, Verdict::Inconclusive, Reason::ResolverDown);
    prober.release(id, prober.clock.now());
    let state = &prober.targets.get(id).expect("tracked").state;
    assert_eq!((state.health(), state.reason()), (Health::Unhealthy, Reason::ConnectRefused));
}

#[tokio::test]
async fn silence_of_a_check_that_cannot_run_is_explained_by_what_bars_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut prober = prober(&folder);
    prober.follow(&[entry()]);
    let id = CheckId::plain(1);
    for (last, reason) in [(Reason::CaUnavailable, Reason::CaUnavailable), (Reason::ResolverDown, Reason::Unproven)] {
        let now = prober.clock.now();
        prober.judge(id, outcome(Verdict::Pass, Reason::Passed), now.steady, now);
        prober.judge(id, outcome(Verdict::Inconclusive, last), now.steady, now);
        let tracked = prober.targets.get(id).expect("tracked");
        assert_eq!(tracked.state.health(), Health::Healthy);
        let late = Now { steady: tracked.state.unproven_at(&tracked.timing), ..now };
        prober.silent(id, late);
        let state = &prober.targets.get(id).expect("tracked").state;
        assert_eq!((state.health(), state.reason()), (Health::Unknown, reason));
    }
}

#[tokio::test]
async fn a_probe_that_panics_counts_for_nothing_and_the_next_one_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut prober = prober(&folder);
    prober.follow(&[entry()]);
    let now = prober.clock.now().steady;
    let task = prober.probes.start_broken();
    prober.targets.get_mut(CheckId::plain(1)).expect("tracked").phase =
        ProbePhase::Running(Run { task, started: now, at: Instant::now() });

    let broken = prober.probes.join_next().await.expect("it ended");
    prober.ended(broken, prober.clock.now());

    let tracked = prober.targets.get(CheckId::plain(1)).expect("tracked");
    let last = tracked.last.as_ref().expect("an outcome");
    assert_eq!((last.verdict, last.reason), (Verdict::Inconclusive, Reason::Cancelled));
    assert_eq!((tracked.state.health(), tracked.state.reason()), (Health::Unknown, Reason::Probing));
    assert!(tracked.is_idle() && tracked.due > now, "its next probe is due");
    assert!(prober.persistence.uncommitted() == 0, "readers notice nothing");
}
