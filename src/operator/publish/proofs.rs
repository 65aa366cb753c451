//! Which addresses of host names were proved. Health is about a name; an address that the name got since has to pass a probe before clients
//! are sent there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::Verdict;
use crate::model::ports::OnDemand;
use crate::model::time::UnixMs;

/// Most probes at once.
const MAX_PROBES: usize = 16;
/// Pause after a probe that failed or could not be made.
const RETRY: Duration = Duration::from_secs(5);

/// The addresses of each instance.
pub(super) type Addresses = BTreeMap<InstanceName, Vec<IpAddr>>;

type Probe = (ServiceKey, InstanceName, Option<Vec<IpAddr>>);

/// The proved addresses, and the probes in progress; bounded by the number of published instances.
pub(super) struct Proofs {
    on_demand: Arc<dyn OnDemand>,
    proved: HashMap<ServiceKey, HashMap<InstanceName, HashSet<IpAddr>>>,
    slots: Arc<Semaphore>,
    running: FuturesUnordered<BoxFuture<'static, Probe>>,
    asked: HashSet<(ServiceKey, InstanceName)>,
}

impl Proofs {
    pub(super) fn new(on_demand: Arc<dyn OnDemand>) -> Self {
        Self {
            on_demand,
            proved: HashMap::new(),
            slots: Arc::new(Semaphore::new(MAX_PROBES)),
            running: FuturesUnordered::new(),
            asked: HashSet::new(),
        }
    }

    /// Whether the instance passed a probe while its name had the address.
    pub(super) fn has(&self, key: &ServiceKey, instance: &InstanceName, address: IpAddr) -> bool {
        let proved = self.proved.get(key).and_then(|instances| instances.get(instance));
        proved.is_some_and(|proved| proved.contains(&address))
    }

    /// Probes these instances of the service `id`, unless that is in progress. What of it passes proves their addresses.
    pub(super) fn prove(&mut self, key: &ServiceKey, id: Uuid, unproved: Addresses) {
        for (instance, addresses) in unproved {
            if !self.asked.insert((key.clone(), instance.clone())) {
                continue;
            }
            let (on_demand, slots, key) = (Arc::clone(&self.on_demand), Arc::clone(&self.slots), key.clone());
            let probe = async move {
                let passed = {
                    // Never closed.
                    let _slot = slots.acquire().await;
                    passes(&*on_demand, id, &instance).await
                };
                if !passed {
                    tokio::time::sleep(RETRY).await;
                }
                (key, instance, passed.then_some(addresses))
            };
            self.running.push(probe.boxed());
        }
    }

    /// Waits for the next probe that ends, if there are any. The object that has to be looked at again. Cancel safe.
    pub(super) async fn changed(&mut self) -> Option<ServiceKey> {
        let (key, instance, proved) = self.running.next().await?;
        self.asked.remove(&(key.clone(), instance.clone()));
        if let Some(addresses) = proved {
            self.proved.entry(key.clone()).or_default().entry(instance).or_default().extend(addresses);
        }
        Some(key)
    }

    /// Forgets the addresses that the instances of the object no longer have.
    pub(super) fn retain(&mut self, key: &ServiceKey, has: impl Fn(&InstanceName, IpAddr) -> bool) {
        let Some(instances) = self.proved.get_mut(key) else { return };
        instances.retain(|instance, addresses| {
            addresses.retain(|address| has(instance, *address));
            !addresses.is_empty()
        });
        if instances.is_empty() {
            self.proved.remove(key);
        }
    }

    /// Forgets the object.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.proved.remove(key);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.proved.clear();
        self.running.clear();
        self.asked.clear();
    }
}

/// Whether the instance's checks pass in probes that begin now.
async fn passes(on_demand: &dyn OnDemand, service: Uuid, instance: &InstanceName) -> bool {
    // The first time, the answer may be that of a probe that was running already, and that had dialled a former address.
    for _ in 0..2 {
        let asked = UnixMs::wall();
        let results = on_demand.observe_now(service, Some(instance.clone())).await.unwrap_or_default();
        let Some(result) = results.into_iter().find(|result| result.instance == *instance) else { return false };
        // What only reports itself has no address to prove.
        let mut required = result.checks.iter().filter(|check| !check.advisory).map(|check| &check.outcome);
        if required.clone().any(|outcome| outcome.verdict != Verdict::Pass) {
            return false;
        }
        if required.all(|outcome| outcome.at >= asked) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::on_demand::{OnDemandCheck, OnDemandResult};
    use crate::model::outcome::{Outcome, Reason, Stage, Timings};
    use crate::model::ports::OnDemandError;

    /// The checks of the instance in each answer in turn; none if it is unknown.
    struct Script(Mutex<Vec<Option<Vec<OnDemandCheck>>>>);

    fn check(advisory: bool, verdict: Verdict, at: UnixMs) -> OnDemandCheck {
        let outcome = Outcome {
            verdict,
            reason: Reason::Passed,
            stage: Stage::Connect,
            at,
            address: None,
            code: None,
            certificate_expires_at: None,
            message: String::new(),
            timings: Timings::default(),
        };
        OnDemandCheck { check: "http".parse().expect("a name"), advisory, outcome }
    }

    impl OnDemand for Script {
        fn check_now(
            &self,
            service: Uuid,
            instance: Option<InstanceName>,
        ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
            self.observe_now(service, instance)
        }

        fn observe_now(
            &self,
            _: Uuid,
            instance: Option<InstanceName>,
        ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
            let checks = self.0.lock().expect("no panic").remove(0);
            let instance = instance.expect("one is named");
            let result = checks.map(|checks| OnDemandResult { instance, outcome: None, held: false, checks });
            async move { result.map(|result| vec![result]).ok_or(OnDemandError::NotFound) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_proved_by_a_probe_that_passes() {
        let mut proofs = Proofs::new(Arc::new(Script(Mutex::new(vec![None, Some(vec![])]))));
        let key = ServiceKey::new(&"shop".parse().expect("a name"), &"db".parse().expect("a name"));
        let (a, b): (InstanceName, InstanceName) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        let address = IpAddr::from([192, 0, 2, 1]);
        let ask = |proofs: &mut Proofs| proofs.prove(&key, Uuid::nil(), [(a.clone(), vec![address])].into());
        ask(&mut proofs);
        ask(&mut proofs);
        assert_eq!(proofs.running.len(), 1, "it is asked once at a time");
        assert_eq!(proofs.changed().await, Some(key.clone()));
        assert!(!proofs.has(&key, &a, address), "it failed, and may be tried again");
        ask(&mut proofs);
        assert_eq!(proofs.changed().await, Some(key.clone()));
        assert!(proofs.has(&key, &a, address) && !proofs.has(&key, &b, address));
        assert_eq!(proofs.changed().await, None);
        proofs.retain(&key, |_, _| false);
        assert!(!proofs.has(&key, &a, address) && proofs.proved.is_empty(), "the name no longer has it");
    }

    #[tokio::test]
    async fn required_checks_prove_an_address_by_probes_that_begin_afterwards() {
        let (early, late) = (UnixMs(0), UnixMs(i64::MAX));
        let up = |at| Some(vec![check(false, Verdict::Pass, at)]);
        let noted = |verdict| Some(vec![check(true, verdict, late)]);
        for (answers, proved) in [
            (vec![up(late)], true),
            (vec![up(early), up(late)], true),
            (vec![up(early), up(early)], false),
            (vec![up(early), None], false),
            (vec![Some(vec![check(false, Verdict::Fail, late)])], false),
            (vec![Some(vec![check(false, Verdict::Inconclusive, late)])], false),
            (vec![noted(Verdict::Fail)], true),
        ] {
            let shown = format!("{answers:?}");
            let script = Script(Mutex::new(answers));
            assert_eq!(passes(&script, Uuid::nil(), &"a".parse().expect("a name")).await, proved, "{shown}");
            assert!(script.0.lock().expect("no panic").is_empty(), "{shown}");
        }
    }
}
