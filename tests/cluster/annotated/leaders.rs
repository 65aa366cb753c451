//! What a change of the leader writes.

use portolan::model::ports::Role;
use portolan::operator::annotated::Kind;
use serde_json::json;

use super::{Stage, external, instance, orders};
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

const KINDS: [Kind; 3] = [Kind::WorkloadEntry, Kind::ExternalWorkload, Kind::DnsEndpoint];

#[tokio::test]
async fn a_new_leader_writes_only_what_changed() {
    let stage = Stage::new().await;
    let mut backends = [Backend::start(), Backend::start(), Backend::start()];
    let first = Setup::of(&stage.namespace).writes(&KINDS).start(stage.plane.admin()).await;
    let instances: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(&backends)
        .enumerate()
        .map(|(n, (name, backend))| instance(name, &format!("192.0.2.{}:5432", n + 1), backend))
        .collect();
    stage.apply(&stage.manifest(&instances)).await;
    stage.put(Kind::WorkloadEntry, "a", &orders(), &json!({ "address": "192.0.2.1" })).await;
    stage.put(Kind::ExternalWorkload, "b", &orders(), &external(&["192.0.2.2"], &[])).await;
    stage.put(Kind::WorkloadEntry, "nowhere", &orders(), &json!({ "address": "192.0.2.9" })).await;
    let endpoints = json!({ "endpoints": [{ "dnsName": "db.example.com", "recordType": "A" }] });
    stage.put(Kind::DnsEndpoint, "db", &orders(), &endpoints).await;
    backends[2].down().await;
    stage.until_condition(Kind::WorkloadEntry, "a", "True", "Healthy").await;
    stage.until_condition(Kind::ExternalWorkload, "b", "True", "Healthy").await;
    stage.until_condition(Kind::WorkloadEntry, "nowhere", "False", "InstanceNotFound").await;
    stage.until_targets("db", &[&["192.0.2.1", "192.0.2.2"]]).await;
    stage.until_note("db", "Written").await;
    until("it is reported", async || {
        crate::sync::status(&crate::sync::objects(stage.plane, &stage.namespace).await, "orders").await["ready"]
            == "2/3"
    })
    .await;
    first.role.set(Role::Follows);
    first.stop().await;

    let mut audit = stage.plane.audit().expect("an audit log");
    // It knows nothing but what the cluster says.
    let second = Setup::of(&stage.namespace).writes(&KINDS).follows().start(stage.plane.admin()).await;
    second.until_complete().await;
    backends[1].down().await;
    second.role.set(Role::Leads);
    stage.until_condition(Kind::ExternalWorkload, "b", "False", "ConnectRefused").await;
    stage.until_targets("db", &[&["192.0.2.1"]]).await;
    let kinds = ["workloadentries", "externalworkloads", "dnsendpoints"];
    let asked =
        audit.requests().await.expect("requests").into_iter().filter(|request| request.namespace == stage.namespace);
    let writes = asked.filter(|request| kinds.iter().any(|kind| request.resource.starts_with(kind)));
    let mut writes: Vec<String> =
        writes.filter(|r| r.verb != "get").map(|r| format!("{} {}", r.verb, r.resource)).collect();
    writes.sort();
    assert_eq!(writes, ["patch dnsendpoints.externaldns.k8s.io", "patch externalworkloads.workload.linkerd.io"]);
    second.stop().await;
}
