//! Which instance a workload stands for.

use portolan::operator::annotated::Kind;
use serde_json::{Value, json};

use super::{Stage, external, instance, orders};
use crate::sync::backend::Backend;
use crate::sync::replica::Setup;

fn named(name: &str) -> Value {
    json!({ "portolan.dev/service": "orders", "portolan.dev/instance": name })
}

#[tokio::test]
async fn an_instance_is_found_by_address_by_port_and_by_name() {
    let stage = Stage::new().await;
    let kind = Kind::ExternalWorkload;
    let replica = Setup::of(&stage.namespace).writes(&[kind]).start(stage.plane.admin()).await;
    let (up, mut down) = (Backend::start(), Backend::start());
    down.down().await;
    stage
        .apply(&stage.manifest(&[
            instance("a", "192.0.2.1:5432", &up),
            instance("b", "192.0.2.1:6432", &down),
            instance("c", "[2001:db8::3]:5432", &up),
            instance("d", "db.example.com:5432", &up),
        ]))
        .await;
    stage.put(kind, "by-port", &orders(), &external(&["192.0.2.1"], &[5432])).await;
    stage.put(kind, "other-port", &orders(), &external(&["192.0.2.1"], &[6432])).await;
    stage.put(kind, "both", &orders(), &external(&["192.0.2.1"], &[])).await;
    stage.put(kind, "second-address", &orders(), &external(&["192.0.2.7", "2001:DB8::3"], &[])).await;
    stage.put(kind, "by-name", &named("d"), &external(&["192.0.2.9"], &[])).await;
    for name in ["by-port", "second-address", "by-name"] {
        stage.until_condition(kind, name, "True", "Healthy").await;
    }
    for name in ["other-port", "both"] {
        stage.until_condition(kind, name, "False", "ConnectRefused").await;
    }
    down.up();
    for name in ["other-port", "both"] {
        stage.until_condition(kind, name, "True", "Healthy").await;
    }
    let [.., message] = stage.condition(kind, "both").await;
    assert_eq!(message, "a at 192.0.2.1:5432, b at 192.0.2.1:6432 are healthy");
    replica.stop().await;
}

#[tokio::test]
async fn what_matches_nothing_gets_no_traffic_and_says_what_to_do() {
    let stage = Stage::new().await;
    let kind = Kind::ExternalWorkload;
    let replica = Setup::of(&stage.namespace).writes(&[kind]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    let unchecked = json!({ "name": "b", "baseUrl": "postgres://192.0.2.2:5432", "check": { "none": {} } });
    let manifest = stage.manifest(&[instance("a", "192.0.2.1:5432", &backend), unchecked]);
    stage.apply(&manifest).await;
    let at = |ip: &str, ports: &[u16]| external(&[ip], ports);
    stage.put(kind, "address", &orders(), &at("192.0.2.9", &[])).await;
    stage.put(kind, "port", &orders(), &at("192.0.2.1", &[80])).await;
    stage.put(kind, "name", &named("z"), &at("192.0.2.1", &[])).await;
    stage.put(kind, "odd", &json!({ "portolan.dev/service": "Orders DB" }), &at("192.0.2.1", &[])).await;
    stage.put(kind, "unchecked", &orders(), &at("192.0.2.2", &[])).await;
    for (name, reason, part) in [
        ("address", "InstanceNotFound", "no instance of orders has the address of this object"),
        ("port", "InstanceNotFound", "no instance of orders has the ports of this object"),
        ("name", "InstanceNotFound", "orders has no instance z; add it, or correct the annotation"),
        ("odd", "InvalidAnnotation", "try \"orders-db\""),
        ("unchecked", "NotChecked", "b at 192.0.2.2:5432 is not proved"),
    ] {
        stage.until_condition(kind, name, "False", reason).await;
        let [.., message] = stage.condition(kind, name).await;
        assert!(message.contains(part), "{name}: {message}");
    }
    let mut moved = manifest.clone();
    moved["spec"]["instances"][0]["baseUrl"] = json!("postgres://192.0.2.9:5432");
    stage.apply(&moved).await;
    stage.until_condition(kind, "address", "True", "Healthy").await;
    stage.plane.kubectl().run(&["delete", "psvc", "orders", "-n", &stage.namespace]).await.expect("deleted");
    stage.until_condition(kind, "address", "False", "ServiceNotFound").await;
    replica.stop().await;
}
