//! Following a catalog that changes faster than the prober reads.

use std::sync::Arc;

use portolan::catalog::{Batch, Entry, LastCheck};
use portolan::model::outcome::Health;
use portolan::model::service::{InstanceId, Service};
use uuid::Uuid;

use crate::harness::{Mode, Rig, Target, every_second, seldom, until};

/// One thread: nothing runs while the test publishes, so the prober misses most of it.
#[tokio::test]
async fn a_prober_that_lags_behind_the_feed_catches_up_from_a_snapshot() {
    let rig = Rig::start();
    let (early, late) = (Target::start(Mode::Ok).await, Target::start(Mode::Ok).await);
    rig.register("early", &early.url(), every_second()).await;
    rig.register("stays", &early.url(), seldom()).await;
    rig.until_health("early", Health::Healthy).await;
    rig.until_health("stays", Health::Healthy).await;

    let mut snapshot = (*rig.catalog.snapshot()).clone();
    let mut service = Service::clone(rig.entry("early").service());
    let gone = snapshot.remove(&service.key).expect("it is there");
    service.id = Uuid::now_v7();
    service.key = "default/late".parse_key();
    service.instances[0].id = InstanceId(1_000_000);
    service.instances[0].spec = {
        let mut spec = (*service.instances[0].spec).clone();
        spec.health_url = Some(portolan::model::url::EndpointUrl::health(&late.url()).expect("a url"));
        Arc::new(spec)
    };
    snapshot.put(Arc::new(Entry::new(service, LastCheck::default())));
    for _ in 0..3000 {
        snapshot.advance(snapshot.revision() + 1, snapshot.sequence() + 1);
        let batch = Batch { sequence: snapshot.sequence(), revision: snapshot.revision(), ..Batch::default() };
        rig.catalog.publish(snapshot.clone(), batch);
    }
    late.until_hit(1).await;
    until("the two are tracked", || rig.report().tracked == 2).await;
    let hits = early.hits();
    late.until_hit(3).await;
    assert_eq!(early.hits(), hits, "{} is gone", gone.service().key);
}

trait ParseKey {
    fn parse_key(&self) -> portolan::model::name::ServiceKey;
}

impl ParseKey for str {
    fn parse_key(&self) -> portolan::model::name::ServiceKey {
        let (namespace, name) = self.split_once('/').expect("namespace/name");
        portolan::model::name::ServiceKey::new(&namespace.parse().expect("a label"), &name.parse().expect("a label"))
    }
}
