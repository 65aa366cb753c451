//! The elector against a real API server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control_plane::Kubeconfig;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use portolan::model::ports::{Leadership, Role};
use portolan::operator::replicas::lease::{ADDRESS, Elector, NAME};
use portolan::telemetry::metrics::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::until;
use crate::common::shared;

/// A candidate in this process.
struct Candidate {
    elector: Elector,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

async fn stand(kubeconfig: &Kubeconfig, namespace: &str, name: &str, port: u16) -> Candidate {
    let (metrics, stop, mut tasks) = (Metrics::default(), CancellationToken::new(), JoinSet::new());
    let client = kubeconfig.client().await.expect("a client");
    let address = Some(SocketAddr::from(([127, 0, 0, 1], port)));
    let namespace = namespace.parse().expect("a namespace");
    let (elector, task) = Elector::new(client, &namespace, name, address, &metrics);
    let stopped = stop.clone();
    tasks.spawn(async move { task.run(stopped).await.expect("it only stops") });
    Candidate { elector, metrics, stop, tasks }
}

impl Candidate {
    async fn leave(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
    }

    fn status(&self) -> String {
        let text = self.metrics.render().expect("metrics");
        text.lines().find(|line| line.starts_with("leader_election_master_status")).expect("the series").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_a_released_lease_is_taken_at_once() {
    let plane = shared().await;
    let namespace = plane.namespace("elect").await.expect("a namespace");
    let leases: Api<Lease> = Api::namespaced(plane.client().await.expect("a client"), &namespace);
    let mut first = stand(plane.admin(), &namespace, "a", 1001).await;
    until("the first leads", async || first.elector.leads()).await;
    let second = stand(plane.admin(), &namespace, "b", 1002).await;
    until("the second sees it", async || second.elector.holder().is_some()).await;
    let holder = second.elector.holder().expect("a holder");
    assert_eq!((holder.identity.as_str(), holder.address), (first.elector.identity(), "127.0.0.1:1001".parse().ok()));
    assert_eq!((first.elector.role(), second.elector.role()), (Role::Leads, Role::Follows));
    assert_eq!(first.status(), "leader_election_master_status{name=\"portolan\"} 1");
    assert_eq!(second.status(), "leader_election_master_status{name=\"portolan\"} 0");

    first.leave().await;
    assert_eq!(first.elector.role(), Role::Follows);
    // Given back, it belongs to nobody until the other takes it, which need not wait for it to run out.
    let left = leases.get(NAME).await.expect("the Lease").spec.expect("a spec").holder_identity;
    assert_ne!(left.as_deref(), Some(first.elector.identity()));
    until("the second leads", async || second.elector.leads()).await;
    let lease = leases.get(NAME).await.expect("the Lease");
    let spec = lease.spec.expect("a spec");
    assert_eq!(spec.holder_identity.as_deref(), Some(second.elector.identity()));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(1)));
    assert_eq!(lease.metadata.annotations.expect("annotations")[ADDRESS], "127.0.0.1:1002");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_answers_stops_before_another_begins() {
    let plane = shared().await;
    let namespace = plane.namespace("silence").await.expect("a namespace");
    let proxy = plane.proxy().await.expect("a proxy");
    let behind = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let first = stand(&behind, &namespace, "a", 1001).await;
    until("the first leads", async || first.elector.leads()).await;
    let second = stand(plane.admin(), &namespace, "b", 1002).await;
    until("the second sees it", async || second.elector.holder().is_some()).await;

    proxy.freeze();
    let frozen = Instant::now();
    let (mut ended, mut both) = (None, false);
    while !second.elector.leads() {
        let leads = first.elector.leads();
        ended = if leads { None } else { ended.or(Some(frozen.elapsed())) };
        both |= leads && second.elector.leads();
        assert!(frozen.elapsed() < Duration::from_mins(2), "nobody took over");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (ended, began) = (ended.expect("it ended before"), frozen.elapsed());
    assert!(!both && !first.elector.leads());
    assert!(ended > Duration::from_secs(3), "one answer that is late ends nothing: {ended:?}");
    // Five seconds lie between the two deadlines; a busy machine may take some of them.
    assert!(began > ended + Duration::from_millis(500), "{ended:?} and {began:?}");
    assert_eq!(first.elector.role(), Role::Alone, "it knows of no other");

    proxy.pass();
    until("it sees the other", async || first.elector.role() == Role::Follows).await;
    assert!(second.elector.leads());
}

#[tokio::test]
async fn a_context_that_is_not_there_is_named() {
    let plane = shared().await;
    let config = plane.admin().path();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"))
        .env_clear()
        .env("KUBECONFIG", config)
        .env("DB_PATH", plane.folder().join("unused.db"))
        .args(["serve", "--mode", "cluster", "--context", "nowhere", "--server-port", "0"])
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nowhere") && said.contains("kubectl config get-contexts"), "{said}");
}
