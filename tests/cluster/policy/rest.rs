//! Registrations over HTTP, by a pod with exactly the rights of `deploy/components/policy`.

use reqwest::Method;
use serde_json::{Value, json};

use super::listener::Listener;
use super::{LABEL, Stage};
use crate::common::{install_with, shared};
use crate::leading::pod::{Answer, Pod};
use crate::sync::replica::until;

fn registration(name: &str, url: &str) -> Value {
    json!({ "name": name, "base_url": url, "check": { "tcp": {}, "interval_seconds": 5 } })
}

/// The code and the details of a refusal, each as `FIELD PROBLEM`.
fn refusal(answer: &Answer) -> (u16, String, Vec<String>) {
    let json = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let details = json["details"].as_array().cloned().unwrap_or_default();
    let details = details.iter().map(|one| format!("{} {}", text(&one["field"]), text(&one["problem"])));
    (answer.status.as_u16(), text(&json["code"]), details.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_beyond_a_policy_is_refused_and_names_it() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["policy"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let kubectl = plane.kubectl_as(&installed.account);
    for (may, verb, resource) in [
        (true, "list", "namespacepolicies.portolan.dev"),
        (true, "watch", "namespacepolicies.portolan.dev"),
        (true, "watch", "namespaces"),
        (false, "patch", "namespacepolicies.portolan.dev"),
        (false, "create", "namespacepolicies.portolan.dev"),
        (false, "delete", "namespacepolicies.portolan.dev"),
        (false, "update", "namespaces"),
    ] {
        assert_eq!(kubectl.can_i(&[verb, resource]).await.expect("an answer"), may, "{verb} {resource}");
    }
    let status = ["patch", "namespacepolicies.portolan.dev", "--subresource=status"];
    assert!(kubectl.can_i(&status).await.expect("an answer"));
    let (own, other) = (Listener::at([127, 0, 0, 1].into()).await, Listener::at([127, 0, 0, 2].into()).await);
    let folder = tempfile::tempdir().expect("a folder");
    let selector = format!("{LABEL} in ({})", stage.namespace);
    let (absent, policies) = (format!("{}-absent", stage.namespace), ("PORTOLAN_POLICIES", "true"));
    let open = format!("{},{absent}", stage.namespace);
    let settings = [
        policies,
        ("PORTOLAN_WATCH_SELECTOR", &*selector),
        ("PORTOLAN_WATCH_NAMESPACES", &*open),
        ("PORTOLAN_REST_NAMESPACES", &*open),
    ];
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings).await;
    until("it is ready", async || pod.is_ready().await).await;
    let first = registration("early", &own.url());
    let registered = pod.register(&first).await;
    assert_eq!(registered.status, 200, "{}", registered.text);
    let mut elsewhere = first.clone();
    elsewhere["namespace"] = absent.clone().into();
    let refused = pod.register(&elsewhere).await;
    let said = format!("namespace {absent} does not exist in the cluster or is not known yet; create it, or try again");
    assert!(refused.status == 503 && refused.text.contains(&said), "{}", refused.text);

    let limits = json!({ "minIntervalSeconds": 30, "maxTimeoutSeconds": 5, "maxInstancesPerService": 2 });
    stage.policy("p", json!({ "checks": { "limits": limits }, "networks": { "allow": ["127.0.0.1/32"] } })).await;
    let policy = stage.named("p");
    let accepted = "conditions[?(@.type==\"Accepted\")].status";
    until("the policy counts", async || stage.policy_status("p", accepted).await == "True").await;
    let refused = refusal(&pod.register(&registration("late", &own.url())).await);
    let problem = format!("check.interval_seconds is 5, but the NamespacePolicy {policy} allows at least 30");
    assert_eq!(refused, (400, "invalid_payload".to_owned(), vec![problem]));
    let (status, code, details) = refusal(&pod.register(&json!({ "name": "late", "base_url": other.url() })).await);
    assert_eq!((status, &*code), (400, "address_denied"));
    assert!(details[0].starts_with("base_url 127.0.0.2 is in none") && details[0].contains(&policy), "{details:?}");
    // What was registered before may still be renewed; it is probed within the limits.
    let renewed = pod.register(&first).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let mut changed = first.clone();
    changed["version"] = "2".into();
    assert_eq!(refusal(&pod.register(&changed).await).0, 400);

    let instance = |name: &str| json!({ "name": "late", "instance": name, "base_url": own.url() });
    for name in ["a", "b"] {
        let answer = pod.register(&instance(name)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let (status, code, _) = refusal(&pod.register(&instance("c")).await);
    assert_eq!((status, &*code), (422, "service_full"));
    assert_eq!(other.count(), 0);

    stage.label(&format!("{LABEL}-")).await;
    until("its services are gone", async || pod.service("early").await.is_none()).await;
    let answer = pod.register(&instance("a")).await;
    let (status, code, _) = refusal(&answer);
    assert_eq!((status, &*code), (403, "namespace_forbidden"), "{}", answer.text);
    assert!(answer.text.contains("PORTOLAN_WATCH_SELECTOR"), "{}", answer.text);
    let ready = pod.ask(Method::GET, "/readyz?verbose").await.text;
    assert!(ready.contains("the policies and labels of namespaces are known"), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_a_lower_limit_leaves_out_is_refused_and_its_registration_stays_as_it_is() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["policy"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_POLICIES", "true")];
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings).await;
    until("it is ready", async || pod.is_ready().await).await;
    let instance = |name: &str| json!({ "name": "late", "instance": name, "base_url": listener.url() });
    for name in ["a", "b", "c"] {
        let answer = pod.register(&instance(name)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let id = pod.service("late").await.expect("registered")["id"].as_str().expect("an id").to_owned();
    let drain = format!("/api/v1/services/{id}/instances/c/drain");
    let drained = pod.send(Method::PUT, &drain, &json!({ "reason": "disk" })).await;
    assert_eq!(drained.status, 200, "{}", drained.text);

    stage.policy("p", json!({ "checks": { "limits": { "maxInstancesPerService": 2 } } })).await;
    let shown =
        async || pod.service("late").await.map_or(0, |service| service["instances"].as_array().map_or(0, Vec::len));
    until("the policy leaves c out", async || shown().await == 2).await;
    let spec = async || {
        let args = ["get", "services.portolan.dev", "late", "-n", &stage.namespace, "-o", "json"];
        let object: Value = serde_json::from_str(&plane.kubectl().run(&args).await.expect("found")).expect("JSON");
        (object["metadata"]["generation"].clone(), object["spec"].clone())
    };
    let before = spec().await;
    assert_eq!(before.1["instances"][2]["drain"]["reason"], "disk");
    let mut changed = instance("c");
    changed["version"] = "2".into();
    for call in [instance("c"), instance("c"), changed] {
        let answer = pod.register(&call).await;
        let (status, code, _) = refusal(&answer);
        assert_eq!((status, &*code), (422, "service_full"), "{}", answer.text);
        assert!(answer.text.contains("maxInstancesPerService"), "{}", answer.text);
    }
    assert_eq!(spec().await, before, "nothing was written");
    let renewed = pod.register(&instance("b")).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);

    stage.delete_policy("p").await;
    until("c is shown again", async || shown().await == 3).await;
    let service = pod.service("late").await.expect("registered");
    assert_eq!(service["instances"][2]["drain"]["reason"], "disk", "{service}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_nothing_is_registered_and_it_says_what_to_apply() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &[]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_POLICIES", "true")];
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings).await;
    until("it says what is missing", async || {
        let ready = pod.ask(Method::GET, "/readyz?verbose").await.text;
        ready.contains("nothing is probed or registered (name") && ready.contains("cannot be listed and watched")
    })
    .await;
    assert!(!pod.is_ready().await, "a pod without a mirror takes no requests");
    let log = pod.log();
    assert_eq!(log.matches("apply crds/ and deploy/components/policy").count(), 1, "{log}");
    let answer = pod.register(&registration("early", "http://127.0.0.1:9")).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
}
