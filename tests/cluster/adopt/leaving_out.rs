//! Ports, families, and what cannot become an instance.

use serde_json::{Value, json};

use super::{Stage, http, pod};
use crate::sync::replica::{Setup, until};
use crate::sync::status;

#[tokio::test]
async fn ports_go_by_name_or_number_and_pods_of_two_families_count_once() {
    let stage = Stage::new().await;
    let ports = json!([{ "name": "http-api", "port": 80 }, { "name": "sql", "port": 5432 }]);
    stage.core_service("web", &json!({ "ports": ports, "ipFamilyPolicy": "PreferDualStack" })).await;
    let at = |api: u16| json!([{ "name": "http-api", "port": api }, { "name": "sql", "port": 15432 }]);
    stage.slice("web-4a", &at(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.slice("web-4b", &at(8081), &[pod("b", "10.1.0.2", true)]).await;
    let six = [pod("a", "fd00::1", true), pod("c", "fd00::3", true)];
    stage.slice_of("web", "IPv6", "web-6", &at(8080), &six).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    let message = stage.until_adopted("False PortNotFound").await;
    assert_eq!(
        message,
        "the core Service web has several TCP ports; name one of them in from.port: 80 http-api, 5432 sql"
    );
    stage.apply(json!({ "from": { "service": "web", "port": "http-api" } })).await;
    let api = ["a http://10.1.0.1:8080 healthy", "b http://10.1.0.2:8081 healthy", "c http://[fd00::3]:8080 healthy"];
    stage.until_instances(&replica, &api).await;
    stage.apply(json!({ "from": { "service": "web", "port": 80 } })).await;
    stage.until_instances(&replica, &api).await;
    stage.apply(json!({ "from": { "service": "web", "port": 5432, "scheme": "postgres" } })).await;
    let sql = [
        "a postgres://10.1.0.1:15432 healthy",
        "b postgres://10.1.0.2:15432 healthy",
        "c postgres://[fd00::3]:15432 healthy",
    ];
    stage.until_instances(&replica, &sql).await;
    for (port, said) in [(json!("admin"), "admin"), (json!(81), "81")] {
        stage.apply(json!({ "from": { "service": "web", "port": port } })).await;
        stage.until_instances(&replica, &[]).await;
        stage.until_adopted("False PortNotFound").await;
        // The condition is the same for both.
        let message = format!("the core Service web has no TCP port {said}; it has 80 http-api, 5432 sql");
        until("the message names it", async || stage.condition("shop", "Adopted").await.1 == message).await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_service_gets_256_instances_and_says_how_many_are_left_out() {
    let stage = Stage::new().await;
    let pods = |from: usize, n: usize| -> Vec<Value> {
        (from..from + n).map(|n| pod(&format!("p{n:04}"), &format!("10.1.{}.{}", n / 250, n % 250 + 1), true)).collect()
    };
    for slice in 0..3 {
        stage.slice(&format!("web-{slice}"), &http(8080), &pods(slice * 100, 100)).await;
    }
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let written = json!([{ "name": "z", "baseUrl": "http://192.0.2.1", "check": { "none": {} } }]);
    stage.apply(json!({ "from": { "service": "web" }, "instances": written })).await;
    let message = stage.until_adopted("False TooManyEndpoints").await;
    assert_eq!(
        message,
        "the endpoints of the core Service web are instances; 45 are left out, because a service has at most 256 instances"
    );
    let names = || {
        let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
        entry.service().instances.iter().map(|instance| instance.name.to_string()).collect::<Vec<_>>()
    };
    let shown = names();
    assert_eq!((shown.len(), &*shown[0], &*shown[254], &*shown[255]), (256, "p0000", "p0254", "z"));
    for slice in 1..3 {
        stage.delete_slice(&format!("web-{slice}")).await;
    }
    stage.until_adopted("True Adopted").await;
    // One slice alone is larger than a service.
    stage.slice("web-0", &http(8080), &pods(0, 1000)).await;
    let message = stage.until_adopted("False TooManyEndpoints").await;
    assert!(message.contains("; 745 are left out"), "{message}");
    assert_eq!(names(), shown);
    stage.slice("web-0", &http(8080), &pods(0, 2)).await;
    stage.until_adopted("True Adopted").await;
    assert_eq!(names(), ["p0000", "p0001", "z"]);
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_left_out_and_hides_nothing_else() {
    let stage = Stage::new().await;
    let mut nameless = pod("", "10.1.0.5", true);
    nameless.as_object_mut().expect("an object").remove("targetRef");
    let endpoints = [
        pod("good", "10.1.0.1", true),
        pod("metadata", "168.63.129.16", true),
        pod("with.dots", "10.1.0.4", true),
        json!({ "addresses": ["10.1.0.6"], "targetRef": { "kind": "Pod", "name": "silent" } }),
        nameless,
    ];
    stage.slice("web-1", &http(8080), &endpoints).await;
    stage.slice("web-2", &json!([{ "name": "other", "port": 1 }]), &[pod("elsewhere", "10.1.0.2", true)]).await;
    stage
        .slice("web-3", &json!([{ "name": "http", "port": 1, "protocol": "UDP" }]), &[pod("udp", "10.1.0.3", true)])
        .await;
    stage.slice_of("web", "FQDN", "web-4", &http(8080), &[pod("named", "pod.example.com", true)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    let wanted = [
        "10-1-0-5-8f3d62 http://10.1.0.5:8080 healthy",
        "good http://10.1.0.1:8080 healthy",
        "silent http://10.1.0.6:8080 healthy",
        "with-dots-2d8b7e http://10.1.0.4:8080 healthy",
    ];
    let without_hash = |text: &str| text.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
    until("the others are there", async || {
        let shown = replica.entry(&stage.namespace, "shop").map(|entry| super::shown(&entry)).unwrap_or_default();
        let shown: Vec<_> = shown.iter().map(|text| without_hash(text)).collect();
        shown == wanted.iter().map(|text| without_hash(text)).collect::<Vec<_>>()
    })
    .await;
    let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
    let dotted = entry.service().instances.last().expect("four");
    assert!(dotted.name.as_str().starts_with("with-dots-"), "{}", dotted.name);
    assert_eq!(dotted.spec.external_id.as_deref(), Some("with.dots"));
    let message = stage.until_adopted("True Adopted").await;
    assert!(
        message.ends_with("; 3 are left out, because their slice has no such port or they have no IP address"),
        "{message}"
    );
    let status = status(&stage.objects, "shop").await;
    let denied = status["instances"].as_array().expect("instances").iter().find(|one| one["name"] == "metadata");
    assert_eq!(denied.expect("it is listed")["reason"], "AddressDenied", "{status}");
    replica.stop().await;
}

#[tokio::test]
async fn the_api_server_refuses_what_makes_no_sense() {
    let stage = Stage::new().await;
    let refused = async |spec: Value| {
        let manifest = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": { "name": "wrong", "namespace": stage.namespace }, "spec": spec,
        });
        stage.plane.kubectl().apply(&manifest.to_string()).await.expect_err("refused").to_string()
    };
    for (spec, part) in [
        (json!({}), "name at least one instance, or in from a core Service"),
        (json!({ "instances": [] }), "should have at least 1 items"),
        (json!({ "from": {} }), "spec.from.service: Required value"),
        (json!({ "from": { "service": "Web" } }), "spec.from.service"),
        (json!({ "from": { "service": "web", "port": 0 } }), "spec.from.port"),
        (json!({ "from": { "service": "web", "port": "Http" } }), "spec.from.port"),
        (json!({ "from": { "service": "web", "scheme": "a b" } }), "spec.from.scheme"),
        (json!({ "from": { "service": "web" }, "publish": { "service": "web" } }), "cannot be published to it again"),
        (
            json!({ "from": { "service": "web" }, "check": { "heartbeat": { "ttlSeconds": 9 } } }),
            "cannot send heartbeats",
        ),
        (
            json!({ "from": { "service": "web" }, "checks": [{ "name": "x", "heartbeat": { "ttlSeconds": 9 } }] }),
            "cannot send heartbeats",
        ),
    ] {
        let why = refused(spec.clone()).await;
        assert!(why.contains(part), "{spec}: {why}");
    }
}
