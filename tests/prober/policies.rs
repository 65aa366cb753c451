//! Policies of namespaces: what they keep from being probed, and how often the rest is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan::model::check::{Check, CheckTiming};
use portolan::model::label_selector::LabelSelector;
use portolan::model::namespace_policy::{CheckLimits, NamespacePolicy, Networks, PolicyInForce, Ruling};
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{NamespacePolicies, OnDemandError, Probing as _};
use portolan::model::time::UnixMs;
use portolan::prober::ProberSettings;

use crate::harness::{AMPLE, Mode, Rig, Setup, Target, every_second, until};

/// A ruling for the namespace `tenant` alone.
#[derive(Debug)]
struct Tenant {
    ruling: Mutex<Ruling>,
    version: AtomicU64,
}

impl Tenant {
    fn new(ruling: Ruling) -> Arc<Self> {
        Arc::new(Self { ruling: Mutex::new(ruling), version: AtomicU64::new(1) })
    }

    fn set(&self, ruling: Ruling) {
        *self.ruling.lock().expect("not poisoned") = ruling;
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn rig(self: &Arc<Self>, default_interval: Duration) -> Rig {
        let settings =
            ProberSettings { policies: Arc::clone(self) as _, default_interval, ..ProberSettings::default() };
        Setup { settings, ..Setup::default() }.start()
    }
}

impl NamespacePolicies for Tenant {
    fn of(&self, namespace: &str) -> Ruling {
        let own = namespace == "tenant";
        if own { self.ruling.lock().expect("not poisoned").clone() } else { Ruling::Free }
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
}

fn policy(defaults: CheckTiming, limits: CheckLimits, deny: &[&str]) -> Ruling {
    let policy = NamespacePolicy {
        name: "p".into(),
        selector: LabelSelector::default(),
        defaults,
        limits,
        networks: Networks::read(&[] as &[&str], deny).expect("networks"),
    };
    Ruling::Policy(Arc::new(PolicyInForce::combine([&policy]).expect("one")))
}

/// Waits until the next probe is further away than any interval of a second allows.
async fn until_rare(rig: &Rig, service: &str) {
    let waiting = async {
        loop {
            let known = rig.handle.probing(vec![rig.entry(service).service().id]).await.expect("an answer");
            if known[0].1[0].next_due > UnixMs::wall().plus(Duration::from_secs(20)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(AMPLE, waiting).await.expect("it is probed rarely");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_probed_while_it_is_not_known_what_applies() {
    let tenant = Tenant::new(Ruling::Unknown);
    let rig = tenant.rig(Duration::from_secs(1));
    let (own, other) = (Target::start(Mode::Ok).await, Target::start(Mode::Ok).await);
    rig.register("tenant/a", &own.url(), every_second()).await;
    rig.register("other/a", &other.url(), every_second()).await;
    until("the other is probed", || other.hits() > 2).await;
    assert_eq!(rig.check_now("tenant/a").await.expect_err("not now"), OnDemandError::Unavailable);
    assert_eq!((own.hits(), rig.health("tenant/a")), (0, (Health::Unknown, Reason::Probing)));
    tenant.set(Ruling::Free);
    rig.until_health("tenant/a", Health::Healthy).await;
    assert!(rig.check_now("tenant/a").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_denies_gets_no_connection() {
    let deny = || policy(CheckTiming::default(), CheckLimits::default(), &["127.0.0.0/8"]);
    let tenant = Tenant::new(deny());
    // Its own interval would be an hour.
    let rig = tenant.rig(Duration::from_hours(1));
    let (own, other) = (Target::start(Mode::Ok).await, Target::start(Mode::Ok).await);
    rig.register("tenant/a", &own.url(), Check::default()).await;
    rig.register("other/a", &other.url(), every_second()).await;
    until("it fails", || rig.health("tenant/a") == (Health::Unhealthy, Reason::AddressDenied)).await;
    let checked = rig.check_now("tenant/a").await.expect("it is judged");
    let message = &checked[0].outcome.as_ref().expect("an outcome").message;
    assert!(message.contains("NamespacePolicy p denies"), "{message}");
    until("the other is probed", || other.hits() > 2).await;
    assert_eq!(own.hits(), 0);
    tenant.set(Ruling::Free);
    rig.until_health("tenant/a", Health::Healthy).await;
    tenant.set(deny());
    rig.until_health("tenant/a", Health::Unhealthy).await;
    let hits = (own.hits(), other.hits());
    until("time passes", || other.hits() > hits.1 + 2).await;
    assert_eq!(own.hits(), hits.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_defaults_and_limits_count_at_once_and_no_verdict_is_lost() {
    let every = |seconds| CheckTiming { interval_seconds: Some(seconds), ..CheckTiming::default() };
    let defaults = |seconds| policy(every(seconds), CheckLimits::default(), &[]);
    let tenant = Tenant::new(defaults(1));
    let rig = tenant.rig(Duration::from_hours(1));
    let (plain, own) = (Target::start(Mode::Ok).await, Target::start(Mode::Ok).await);
    rig.register("tenant/plain", &plain.url(), Check::default()).await;
    rig.register("tenant/own", &own.url(), every_second()).await;
    until("both are probed", || plain.hits() > 2 && own.hits() > 2).await;
    rig.until_health("tenant/plain", Health::Healthy).await;
    let since = rig.instance("tenant/plain").since;
    tenant.set(defaults(86_400));
    until_rare(&rig, "tenant/plain").await;
    let hits = own.hits();
    until("the other says itself how often", || own.hits() > hits + 2).await;
    let limits = CheckLimits { min_interval_seconds: Some(86_400), ..CheckLimits::default() };
    tenant.set(policy(CheckTiming::default(), limits, &[]));
    until_rare(&rig, "tenant/own").await;
    let shown = rig.instance("tenant/plain");
    assert_eq!((shown.health, shown.since), (Health::Healthy, since));
    let hits = plain.hits();
    tenant.set(defaults(1));
    until("it is probed often again", || plain.hits() > hits + 2).await;
}
