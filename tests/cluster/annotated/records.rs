//! The targets of DNS records follow health and drains.

use kube::api::{Patch, PatchParams};
use portolan::operator::annotated::Kind;
use serde_json::{Value, json};

use super::{Stage, instance, orders};
use crate::sync::backend::Backend;
use crate::sync::replica::Setup;

const KIND: Kind = Kind::DnsEndpoint;

fn endpoint(name: &str, record_type: &str, targets: &[&str]) -> Value {
    json!({ "dnsName": name, "recordType": record_type, "recordTTL": 60, "targets": targets })
}

#[tokio::test]
async fn targets_are_the_healthy_instances_and_nothing_else_changes() {
    let stage = Stage::new().await;
    let mut a = endpoint("db.example.com", "A", &["203.0.113.1"]);
    a["labels"] = json!({ "owner": "staff" });
    a["providerSpecific"] = json!([{ "name": "aws/weight", "value": "10" }]);
    a["setIdentifier"] = json!("one");
    let other = endpoint("db.example.com", "TXT", &["\"kept\""]);
    let endpoints =
        [a.clone(), endpoint("db.example.com", "AAAA", &[]), other.clone(), endpoint("w.example.com", "CNAME", &[])];
    stage.put(KIND, "db", &orders(), &json!({ "endpoints": endpoints })).await;
    let label = json!({
        "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint", "metadata": { "labels": { "team": "data" } },
    });
    let api = stage.api(KIND).await;
    api.patch("db", &PatchParams::apply("staff"), &Patch::Apply(&label)).await.expect("applied");

    let replica = Setup::of(&stage.namespace).writes(&[KIND]).start(stage.plane.admin()).await;
    let (mut one, two) = (Backend::start(), Backend::start());
    let mut manifest = stage.manifest(&[
        instance("a", "192.0.2.10:5432", &two),
        instance("b", "192.0.2.9:5432", &one),
        instance("c", "[2001:db8::2]:5432", &two),
        instance("d", "db-one.corp.example:5432", &two),
        instance("e", "db-two.corp.example:5432", &two),
        json!({ "name": "f", "baseUrl": "postgres://192.0.2.3:5432", "check": { "none": {} } }),
    ]);
    stage.apply(&manifest).await;
    let (v6, txt, name): (&[&str], &[&str], &[&str]) = (&["2001:db8::2"], &["\"kept\""], &["db-one.corp.example"]);
    stage.until_targets("db", &[&["192.0.2.9", "192.0.2.10"], v6, txt, name]).await;
    stage.until_note("db", "Written").await;
    one.down().await;
    stage.until_targets("db", &[&["192.0.2.10"], v6, txt, name]).await;
    one.up();
    stage.until_targets("db", &[&["192.0.2.9", "192.0.2.10"], v6, txt, name]).await;
    manifest["spec"]["instances"][0]["drain"] = json!({ "reason": "new disks" });
    manifest["spec"]["instances"][3]["weight"] = json!(0);
    stage.apply(&manifest).await;
    let second: &[&str] = &["db-two.corp.example"];
    stage.until_targets("db", &[&["192.0.2.9"], v6, txt, second]).await;
    manifest["spec"]["instances"][3]["weight"] = json!(100);
    manifest["spec"]["instances"][0]["drain"] = json!(null);
    stage.apply(&manifest).await;
    stage.until_targets("db", &[&["192.0.2.9", "192.0.2.10"], v6, txt, second]).await;

    let object = stage.get(KIND, "db").await;
    let mut now = object.data["spec"]["endpoints"][0].clone();
    now["targets"] = a["targets"].clone();
    assert_eq!((now, &object.data["spec"]["endpoints"][2]), (a, &other));
    assert_eq!(object.metadata.labels.expect("labels")["team"], "data");
    let managers = object.metadata.managed_fields.expect("managers");
    let staff = managers.iter().find(|entry| entry.manager.as_deref() == Some("staff")).expect("still there");
    let owned = json!({ "f:metadata": { "f:labels": { "f:team": {} } } });
    assert_eq!(staff.fields_v1.as_ref().expect("fields").0, owned);
    replica.stop().await;
}

#[tokio::test]
async fn targets_in_another_order_are_left_alone() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).writes(&[KIND]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    let instances = [instance("a", "192.0.2.1:5432", &backend), instance("b", "192.0.2.2:5432", &backend)];
    stage.apply(&stage.manifest(&instances)).await;
    let endpoints = json!({ "endpoints": [endpoint("db.example.com", "A", &["192.0.2.2", "192.0.2.1"])] });
    stage.put(KIND, "db", &orders(), &endpoints).await;
    stage.until_note("db", "Written").await;
    assert_eq!(stage.targets("db").await, [["192.0.2.2", "192.0.2.1"]]);
    replica.stop().await;
}

#[tokio::test]
async fn while_none_is_healthy_the_last_targets_stay_unless_the_object_asks_for_none() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).writes(&[KIND]).start(stage.plane.admin()).await;
    let (mut one, mut two) = (Backend::start(), Backend::start());
    let instances = [instance("a", "192.0.2.1:5432", &one), instance("b", "192.0.2.2:5432", &two)];
    stage.apply(&stage.manifest(&instances)).await;
    let endpoints = json!({ "endpoints": [endpoint("db.example.com", "A", &[])] });
    stage.put(KIND, "keeps", &orders(), &endpoints).await;
    let mut empties = orders();
    empties["portolan.dev/when-all-down"] = json!("Empty");
    stage.put(KIND, "empties", &empties, &endpoints).await;
    let mut odd = orders();
    odd["portolan.dev/when-all-down"] = json!("none");
    stage.put(KIND, "odd", &odd, &endpoints).await;
    for name in ["keeps", "empties", "odd"] {
        stage.until_targets(name, &[&["192.0.2.1", "192.0.2.2"]]).await;
    }
    stage.until_note("odd", "InvalidAnnotation").await;
    two.down().await;
    for name in ["keeps", "empties", "odd"] {
        stage.until_targets(name, &[&["192.0.2.1"]]).await;
    }
    one.down().await;
    stage.until_targets("empties", &[&[]]).await;
    stage.until_note("empties", "NoneHealthy").await;
    stage.until_note("keeps", "KeptWhileDown").await;
    assert_eq!(stage.targets("keeps").await, [["192.0.2.1"]]);
    assert_eq!(stage.targets("odd").await, [["192.0.2.1"]]);
    two.up();
    for name in ["keeps", "empties"] {
        stage.until_targets(name, &[&["192.0.2.2"]]).await;
        stage.until_note(name, "Written").await;
    }

    stage.plane.kubectl().run(&["delete", "psvc", "orders", "-n", &stage.namespace]).await.expect("deleted");
    for name in ["keeps", "empties"] {
        stage.until_note(name, "ServiceNotFound").await;
        assert_eq!(stage.targets(name).await, [["192.0.2.2"]], "a name never vanishes by accident");
    }
    stage.apply(&stage.manifest(&instances)).await;
    stage.until_note("keeps", "Written").await;
    stage.put(KIND, "keeps", &orders(), &endpoints).await;
    stage.until_targets("keeps", &[&["192.0.2.2"]]).await;
    replica.stop().await;
}
