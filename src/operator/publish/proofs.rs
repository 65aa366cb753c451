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

/// Whether the instance's checks pass now. What only reports itself has no address to prove.
async fn passes(on_demand: &dyn OnDemand, service: Uuid, instance: &InstanceName) -> bool {
    let results = on_demand.observe_now(service, Some(instance.clone())).await.unwrap_or_default();
    let mine = results.into_iter().find(|result| result.instance == *instance);
    mine.is_some_and(|result| result.outcome.is_none_or(|outcome| outcome.verdict == Verdict::Pass))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::on_demand::OnDemandResult;
    use crate::model::ports::OnDemandError;

    /// Answers in turn: whether the instance is known, which without a check is a pass.
    struct Script(Mutex<Vec<bool>>);

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
            let known = self.0.lock().expect("no panic").remove(0);
            let instance = instance.expect("one is named");
            let result = OnDemandResult { instance, outcome: None, held: false, checks: Vec::new() };
            async move { if known { Ok(vec![result]) } else { Err(OnDemandError::NotFound) } }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_proved_by_a_probe_that_passes() {
        let mut proofs = Proofs::new(Arc::new(Script(Mutex::new(vec![false, true]))));
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
}
