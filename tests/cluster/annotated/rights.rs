//! The rights of the three components, and their lack.

use kube::api::{Api, Patch, PatchParams};
use portolan::operator::annotated::Kind;
use serde_json::{Value, json};

use super::{Stage, external, instance, orders, resource};
use crate::common::{install, install_with, shared};
use crate::leading::pod::Pod;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

const COMPONENTS: [&str; 3] = ["workload-entries", "external-workloads", "dns-endpoints"];
const SETTINGS: [(&str, &str); 3] = [
    ("PORTOLAN_WORKLOAD_ENTRIES", "true"),
    ("PORTOLAN_EXTERNAL_WORKLOADS", "true"),
    ("PORTOLAN_DNS_ENDPOINTS", "true"),
];
const RESOURCES: [&str; 3] =
    ["workloadentries.networking.istio.io", "externalworkloads.workload.linkerd.io", "dnsendpoints.externaldns.k8s.io"];

async fn put_all(stage: &Stage) {
    stage.put(Kind::WorkloadEntry, "vm", &orders(), &json!({ "address": "192.0.2.1" })).await;
    stage.put(Kind::ExternalWorkload, "vm", &orders(), &external(&["192.0.2.1"], &[])).await;
    let endpoints = json!({ "endpoints": [{ "dnsName": "db.example.com", "recordType": "A" }] });
    stage.put(Kind::DnsEndpoint, "db", &orders(), &endpoints).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_writes_with_exactly_these_rights() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &COMPONENTS).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let kubectl = plane.kubectl_as(&installed.account);
    for resource in RESOURCES {
        let is_dns = resource.starts_with("dns");
        for (may, verb, part) in [
            (true, "list", ""),
            (true, "watch", ""),
            (is_dns, "patch", ""),
            (!is_dns, "patch", "--subresource=status"),
            (false, "update", ""),
            (false, "create", ""),
            (false, "delete", ""),
        ] {
            let args = [verb, resource, "-n", "default", part];
            let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
            assert_eq!(kubectl.can_i(&args).await.expect("an answer"), may, "{args:?}");
        }
    }
    let text = plane
        .kubectl()
        .run(&[
            "get",
            "deployment",
            "portolan",
            "-n",
            &stage.namespace,
            "-o",
            "jsonpath={.spec.template.spec.containers[0].env}",
        ])
        .await
        .expect("a deployment");
    assert!(SETTINGS.iter().all(|(name, _)| text.contains(name)), "{text}");

    let mut audit = plane.audit().expect("an audit log");
    let folder = tempfile::tempdir().expect("a folder");
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &SETTINGS).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    put_all(&stage).await;
    stage.until_condition(Kind::WorkloadEntry, "vm", "True", "Healthy").await;
    stage.until_condition(Kind::ExternalWorkload, "vm", "True", "Healthy").await;
    stage.until_targets("db", &[&["192.0.2.1"]]).await;
    let agent = format!("system:serviceaccount:{}:portolan", stage.namespace);
    let refused: Vec<_> =
        audit.requests().await.expect("requests").into_iter().filter(|r| r.user == agent && r.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_holds_the_program_to_the_targets_of_annotated_records() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["dns-endpoints"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let endpoint = |name: &str, target: &str| json!({ "dnsName": name, "recordType": "A", "targets": [target] });
    let spec =
        json!({ "endpoints": [endpoint("db.example.com", "192.0.2.1"), endpoint("web.example.com", "192.0.2.1")] });
    stage.put(Kind::DnsEndpoint, "ours", &orders(), &spec).await;
    stage.put(Kind::DnsEndpoint, "theirs", &json!({}), &spec).await;
    let client = installed.account.client().await.expect("a client");
    let as_portolan: Api<kube::api::DynamicObject> =
        Api::namespaced_with(client, &stage.namespace, &resource(Kind::DnsEndpoint));
    let patch = async |name: &str, change: Value| -> Result<(), String> {
        let tried = as_portolan.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await;
        tried.map(drop).map_err(|error| error.to_string())
    };
    let targets = |second: Value| json!({ "spec": { "endpoints": [endpoint("db.example.com", "192.0.2.2"), second] } });
    let right = targets(endpoint("web.example.com", "192.0.2.3"));
    let foreign = "only DNSEndpoints with the annotation portolan.dev/service";
    until("the policy is in force", async || {
        patch("theirs", right.clone()).await.is_err_and(|why| why.contains(foreign))
    })
    .await;
    patch("ours", right).await.expect("targets are its own to write");
    patch("ours", json!({ "metadata": { "annotations": { "portolan.dev/targets": "Written" } } }))
        .await
        .expect("its note");
    for wrong in [
        targets(endpoint("bank.example.com", "192.0.2.3")),
        targets(endpoint("db.example.com", "192.0.2.3")),
        json!({ "spec": { "endpoints": [endpoint("db.example.com", "192.0.2.2")] } }),
        targets(json!({ "dnsName": "web.example.com", "recordType": "A", "targets": ["192.0.2.3"], "recordTTL": 1 })),
        json!({ "metadata": { "annotations": { "portolan.dev/service": "another" } } }),
        json!({ "metadata": { "annotations": { "portolan.dev/when-all-down": "Empty" } } }),
        json!({ "metadata": { "labels": { "app": "portolan" } } }),
    ] {
        let refused = patch("ours", wrong.clone()).await.expect_err(&format!("{wrong}"));
        assert!(refused.contains("only the targets of a DNSEndpoint"), "{refused}");
    }
    let by_hand = Patch::Merge(json!({ "metadata": { "labels": { "app": "db" } } }));
    stage.api(Kind::DnsEndpoint).await.patch("ours", &PatchParams::default(), &by_hand).await.expect("others may");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_it_says_what_to_apply_once_and_serves_the_rest() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    put_all(&stage).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut audit = plane.audit().expect("an audit log");
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &SETTINGS).await;
    let (mut refused, agent) = (0, format!("system:serviceaccount:{}:portolan", stage.namespace));
    until("it was refused again and again", async || {
        let asked = audit.requests().await.expect("requests").into_iter();
        let lists = asked.filter(|request| RESOURCES.contains(&&*request.resource));
        refused += lists.filter(|request| request.user == agent && request.code == 403).count();
        refused >= 9
    })
    .await;
    let shown = pod.get("/readyz?verbose").await.text;
    for (component, resource) in COMPONENTS.iter().zip(RESOURCES) {
        let (plural, _) = resource.split_once('.').expect("a group");
        let said = format!("{plural}: no right to list and watch; apply deploy/components/{component}");
        assert_eq!(pod.log().matches(&said).count(), 1, "{}", pod.log());
        assert!(shown.contains(&said), "{shown}");
    }
    assert!(pod.is_ready().await, "{shown}");
    assert_eq!(stage.condition(Kind::WorkloadEntry, "vm").await[0], "");
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_right_to_write_is_reported_until_it_is_back() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["external-workloads"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let role = format!("portolan-external-workloads-{}", stage.namespace);
    let set = async |verbs: Value| {
        let patch = json!([{ "op": "replace", "path": "/rules/1/verbs", "value": verbs }]).to_string();
        let args = ["patch", "clusterrole", &role, "--type=json", "-p", &patch];
        plane.kubectl().run(&args).await.expect("patched");
    };
    set(json!(["get"])).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [SETTINGS[1]];
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.put(Kind::ExternalWorkload, "vm", &orders(), &external(&["192.0.2.1"], &[])).await;
    let shown = async || pod.get("/readyz?verbose").await.text;
    let said = "externalworkloads: no right to patch; apply deploy/components/external-workloads";
    until("it is reported", async || shown().await.contains(said)).await;
    set(json!(["patch"])).await;
    stage.until_condition(Kind::ExternalWorkload, "vm", "True", "Healthy").await;
    until("nothing is wrong any more", async || shown().await.contains("[+] annotated: health is written")).await;
    assert_eq!(pod.log().matches(said).count(), 1, "{}", pod.log());
    drop(pod);
}
