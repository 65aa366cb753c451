//! How registrations and removals change objects, and who may change them.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use portolan::operator::crd::SourceValue;
use reqwest::Method;
use serde_json::json;

use super::server::{Answer, Setup, until};
use super::{manifest, of, place, replica, services};

#[tokio::test]
async fn a_registration_is_read_here_at_once_and_there_soon() {
    let (plane, namespace) = place("visible").await;
    let (here, there) = (replica(plane, &namespace).await, replica(plane, &namespace).await);
    let body = json!({
        "name": "users", "instance": "a", "base_url": "http://10.0.0.5:80", "version": "1.4.2", "weight": 7, "zone": "eu-1a",
        "description": "Accounts", "metadata": {"team": "identity"}, "check": {"http": {"path": "/live"}, "interval_seconds": 9},
    });
    let registered = here.register_as_is("alice", &body).await.data();
    let read = here.get("/discover?name=users").await.data();
    assert_eq!(read, registered, "visible as soon as the reply is sent");
    until("the other replica shows it", async || there.get("/discover?name=users").await.status == 200).await;
    assert_eq!(there.get("/discover?name=users").await.data(), read, "the same on every replica");

    let api = services(plane, &namespace).await;
    let object = api.get("users").await.expect("an object");
    assert_eq!(object.metadata.uid.as_deref(), read["id"].as_str());
    assert_eq!(object.metadata.resource_version, Some(read["revision"].to_string()));
    assert_eq!(object.spec.source, SourceValue::Rest);
    assert_eq!(object.metadata.labels.expect("labels")["app.kubernetes.io/managed-by"], "portolan");
    let managers = object.metadata.managed_fields.expect("managers");
    assert!(managers.iter().all(|one| one.manager.as_deref() == Some("portolan-rest")), "{managers:?}");
    let entry = &object.spec.instances[0];
    assert_eq!(entry.owner.as_ref().expect("an owner").subject, "alice");
    assert_eq!(entry.generation.map(u64::try_from), read["instances"][0]["generation"].as_u64().map(Ok));

    let mut audit = plane.audit().expect("an audit log");
    for replica in [&here, &there] {
        assert_eq!(replica.register_as_is("alice", &body).await.data(), read, "a renewal");
    }
    let writes = audit.requests().await.expect("requests").into_iter();
    let writes: Vec<_> = writes.filter(|one| one.namespace == namespace && one.verb != "watch").collect();
    assert!(writes.is_empty(), "{writes:?}");

    let mut heavier = body.clone();
    heavier["weight"] = json!(9);
    let changed = there.register_as_is("alice", &heavier).await.data();
    assert_eq!(changed["instances"][0]["generation"], read["instances"][0]["generation"], "probed as before");
    let mut moved = heavier.clone();
    moved["base_url"] = json!("http://10.0.0.6:80");
    let moved = here.register_as_is("alice", &moved).await.data();
    assert!(moved["instances"][0]["generation"].as_u64() > read["instances"][0]["generation"].as_u64());
    assert_eq!((&moved["id"], &moved["registered_at"]), (&read["id"], &read["registered_at"]));
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn owners_and_manifests_keep_what_is_theirs() {
    let (plane, namespace) = place("owners").await;
    let (here, there) = (replica(plane, &namespace).await, replica(plane, &namespace).await);
    here.register("alice", "users", "a", 1).await.ok();
    until("it is there", async || !there.instances(&namespace, "users").is_empty()).await;
    for replica in [&here, &there] {
        assert_eq!(replica.register("bob", "users", "a", 2).await.refused(403), "not_owner");
        assert_eq!(replica.register("bob", "users", "b", 2).await.refused(403), "not_owner");
        let removal = replica.delete("bob", "/deregister?name=users&instance=a").await;
        assert_eq!(removal.refused(403), "not_owner");
    }
    there.register("root", "users", "b", 2).await.ok();
    let object = services(plane, &namespace).await.get("users").await.expect("an object");
    let owners: Vec<_> =
        object.spec.instances.iter().map(|one| one.owner.as_ref().expect("one").subject.as_str()).collect();
    assert_eq!(owners, ["alice", "root"]);

    plane.kubectl().apply(&manifest(&namespace, "carts")).await.expect("applied");
    let before = services(plane, &namespace).await.get("carts").await.expect("an object");
    // Regardless of whether its watch was faster.
    let (status, code, error) = here.register("root", "carts", "a", 1).await.refusal();
    assert_eq!((status, code.as_str()), (409, "manifest_owned"));
    assert!(error.contains(&format!("kubectl edit services.portolan.dev carts -n {namespace}")), "{error}");
    until("it is read", async || here.get("/discover?name=carts").await.status == 200).await;
    let shown = here.get("/discover?name=carts").await.data();
    assert_eq!((&shown["source"], shown["id"].as_str()), (&json!("manifest"), before.metadata.uid.as_deref()));
    let id = shown["id"].as_str().expect("an id");
    for target in [format!("/{id}"), format!("/{id}/instances/a"), "/deregister?name=carts".to_owned()] {
        let (status, code, error) = here.delete("root", &target).await.refusal();
        assert_eq!((status, code.as_str()), (409, "manifest_owned"), "{target}");
        assert!(error.contains(&format!("kubectl delete services.portolan.dev carts -n {namespace}")), "{error}");
    }
    for (args, verb) in [
        (["deregister", "carts", "-n", &namespace].as_slice(), "delete"),
        (&["register", "--name", "carts", "-n", &namespace, "--base-url", "http://10.0.0.5"], "edit"),
    ] {
        let said = here.cli("root", args).await;
        let text = String::from_utf8(said.stderr).expect("UTF-8");
        assert_eq!(said.status.code(), Some(5), "{text}");
        assert!(text.contains(&format!("`kubectl {verb} services.portolan.dev carts -n {namespace}`")), "{text}");
    }
    let after = services(plane, &namespace).await.get("carts").await.expect("an object");
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn what_a_stale_replica_removes_is_what_is_there() {
    let (plane, namespace) = place("stale").await;
    let proxy = plane.proxy().await.expect("a proxy");
    let behind = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let ahead = replica(plane, &namespace).await;
    let stale = Setup { watches_as: Some(&behind), ..of(plane.admin(), &namespace) }.start().await;
    for (service, port) in [("users", 1), ("gone", 1), ("moved", 1)] {
        ahead.register("alice", service, "a", port).await.ok();
    }
    until("all are there", async || stale.instances(&namespace, "moved").len() == 1).await;
    let id = ahead.get("/discover?name=users").await.data()["id"].as_str().expect("an id").to_owned();

    proxy.freeze();
    ahead.register("alice", "users", "b", 2).await.ok();
    ahead.register("alice", "new", "a", 1).await.ok();
    ahead.register("alice", "moved", "a", 2).await.ok();
    ahead.delete("alice", "/deregister?name=gone").await.ok();
    ahead.register("alice", "gone", "c", 3).await.ok();
    assert_eq!(stale.instances(&namespace, "users").len(), 1, "it knows of one");

    let api = services(plane, &namespace).await;
    stale.delete("alice", &format!("/{id}/instances/a")).await.ok();
    let names: Vec<_> = api.get("users").await.expect("kept").spec.instances.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["b"], "the last one that it knew of was not the last");
    assert_eq!(stale.instances(&namespace, "users").keys().collect::<Vec<_>>(), ["b"], "and it knows that now");

    stale.delete("alice", "/deregister?name=new").await.ok();
    assert!(api.get_opt("new").await.expect("an answer").is_none());
    let generation = ahead.instances(&namespace, "moved")["a"];
    let moved = stale.request("alice", Method::DELETE, "/deregister?name=moved&instance=a");
    let old =
        stale.send(moved.try_clone().expect("no body").header("if-match", stale.instances(&namespace, "moved")["a"]));
    assert_eq!(old.await.refused(412), "stale_generation");
    stale.send(moved.header("if-match", generation)).await.ok();
    let (status, code, _) = stale.delete("alice", "/deregister?name=gone&instance=a").await.refusal();
    assert_eq!((status, code.as_str()), (404, "instance_not_found"), "the name's new object was looked at");
    stale.register("alice", "gone", "d", 4).await.ok();
    let names: Vec<_> = api.get("gone").await.expect("kept").spec.instances.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["c", "d"]);
    proxy.pass();
    ahead.stop().await;
    stale.stop().await;
}

#[tokio::test]
async fn an_object_being_deleted_is_not_found_and_accepts_no_registration() {
    let (plane, namespace) = place("finalizer").await;
    let here = replica(plane, &namespace).await;
    let id = here.register("alice", "users", "a", 1).await.data()["id"].take();
    let api = services(plane, &namespace).await;
    let finalizers = |all: &[&str]| Patch::Merge(json!({"metadata": {"finalizers": all}}));
    let held = api.patch("users", &PatchParams::default(), &finalizers(&["example.com/backup"])).await.expect("held");
    assert_eq!(held.spec.instances.len(), 1);

    here.delete("alice", &format!("/{}", id.as_str().expect("an id"))).await.ok();
    assert_eq!(here.get("/discover?name=users").await.refused(404), "service_not_found");
    assert!(api.get("users").await.expect("held").metadata.deletion_timestamp.is_some());
    let refused = here.register("alice", "users", "a", 1).await;
    assert_eq!((refused.refused(409).as_str(), refused.header("retry-after")), ("terminating", "5"));
    assert_eq!(here.delete("alice", "/deregister?name=users").await.refused(404), "service_not_found");

    api.patch("users", &PatchParams::default(), &finalizers(&[])).await.expect("let go");
    let again = here.register("alice", "users", "a", 1).await.data();
    assert_ne!(again["id"], id, "another object, at once");
    here.stop().await;
}

#[tokio::test]
async fn a_long_poll_learns_that_a_service_without_an_instance_came_or_went() {
    let (plane, namespace) = place("empty").await;
    let server = replica(plane, &namespace).await;
    let target = "/discover?name=web&wait=5m";
    let absent = server.get(target).await;
    assert_eq!(absent.refused(404), "service_not_found");
    let object = format!(
        "{{apiVersion: portolan.dev/v1alpha1, kind: Service, metadata: {{name: web, namespace: {namespace}}}, \
         spec: {{from: {{service: web}}}}}}"
    );
    let (kubectl, delete) = (plane.kubectl(), ["delete", "psvc", "web", "-n", namespace.as_str()]);
    let wait = async |known: &Answer| {
        let target = format!("{target}&cursor={}", known.header("portolan-cursor"));
        tokio::time::timeout(Duration::from_mins(2), server.get(&target)).await.expect("it wakes")
    };
    let (empty, applied) = tokio::join!(wait(&absent), kubectl.apply(&object));
    applied.expect("applied");
    assert_eq!(empty.refused(503), "no_healthy_instance");
    let (gone, deleted) = tokio::join!(wait(&empty), kubectl.run(&delete));
    deleted.expect("deleted");
    assert_eq!(gone.refused(404), "service_not_found");
    assert_eq!(gone.header("portolan-cursor"), absent.header("portolan-cursor"));
    server.stop().await;
}

#[tokio::test]
async fn namespaces_are_closed_missing_or_not_allowed() {
    let (plane, namespace) = place("closed").await;
    let kubectl = plane.kubectl();
    let account = format!("--serviceaccount={namespace}:reader");
    for args in [
        ["create", "serviceaccount", "reader", "-n", &namespace].as_slice(),
        &["create", "clusterrole", &namespace, "--verb=get,list,watch", "--resource=services.portolan.dev"],
        &["create", "clusterrolebinding", &namespace, &format!("--clusterrole={namespace}"), &account],
    ] {
        kubectl.run(args).await.expect("created");
    }
    let reader = plane.service_account(&namespace, "reader").await.expect("a token");
    let namespaces = vec![namespace.clone(), "not-made-yet".to_owned()];
    let may_read = Setup { namespaces: namespaces.clone(), ..of(&reader, &namespace) }.start().await;
    let (status, code, error) = may_read.register("alice", "users", "a", 1).await.refusal();
    assert_eq!((status, code.as_str()), (403, "namespace_forbidden"));
    assert!(error.contains(&format!("kubectl apply -n {namespace} -f deploy/rest-namespace.yaml")), "{error}");
    may_read.stop().await;

    let here = Setup { namespaces, ..of(plane.admin(), &namespace) }.start().await;
    let in_namespace = |name: &str| json!({"name": "users", "namespace": name, "base_url": "http://10.0.0.5"});
    let (status, code, error) = here.register_as_is("alice", &in_namespace("default")).await.refusal();
    assert_eq!((status, code.as_str()), (403, "namespace_forbidden"));
    assert!(error.contains(&format!("{namespace}, not-made-yet do (PORTOLAN_REST_NAMESPACES")), "{error}");
    let (status, code, error) = here.register_as_is("alice", &in_namespace("not-made-yet")).await.refusal();
    assert_eq!((status, code.as_str()), (404, "namespace_not_found"));
    assert!(error.contains("kubectl create namespace not-made-yet"), "{error}");
    let removal = here.delete("alice", "/deregister?name=users&namespace=default").await;
    assert_eq!(removal.refused(403), "namespace_forbidden");
    here.stop().await;
}

#[tokio::test]
async fn max_services_counts_what_came_over_rest() {
    let (plane, namespace) = place("bounded").await;
    plane.kubectl().apply(&manifest(&namespace, "carts")).await.expect("applied");
    let here = Setup { max_services: 2, ..of(plane.admin(), &namespace) }.start().await;
    here.register("alice", "one", "a", 1).await.ok();
    here.register("alice", "two", "a", 1).await.ok();
    here.register("alice", "two", "b", 1).await.ok();
    assert_eq!(here.register("alice", "three", "a", 1).await.refused(422), "too_many_services");
    here.delete("alice", "/deregister?name=one").await.ok();
    here.register("alice", "three", "a", 1).await.ok();
    let all = services(plane, &namespace).await.list(&ListParams::default()).await.expect("a list");
    assert_eq!(all.items.len(), 3);
    here.stop().await;
}

#[tokio::test]
async fn the_object_shows_the_version_of_its_newest_instance() {
    let (plane, namespace) = place("versions").await;
    let here = replica(plane, &namespace).await;
    let register = async |instance: &str, version: &str| {
        let body = json!({"name": "users", "instance": instance, "base_url": "http://10.0.0.5:80", "version": version});
        let read = here.register_as_is("alice", &body).await.data();
        let column = ["get", "psvc", "users", "-n", &namespace, "-o", "jsonpath={.spec.version}"];
        let column = plane.kubectl().run(&column).await.expect("an object");
        assert_eq!(read["version"], column, "kubectl shows what the API does");
        (column, read)
    };
    assert_eq!(register("b", "1.0.0").await.0, "1.0.0");
    let (column, read) = register("a", "2.0.0").await;
    assert_eq!(column, "2.0.0");
    let of = |name: &str| read["instances"].as_array().expect("a list").iter().find(|i| i["name"] == name).cloned();
    assert_eq!(of("b").expect("there")["version"], "1.0.0", "each keeps its own");
    assert_eq!(register("b", "1.0.1").await.0, "2.0.0", "the newest one, not the one that changed last");
    here.delete("alice", "/deregister?name=users&instance=a").await.ok();
    let by_version = ["get", "psvc", "-n", &namespace, "-o", "name", "--field-selector", "spec.version=1.0.1"];
    let found = plane.kubectl().run(&by_version).await.expect("an answer");
    assert_eq!(found.trim(), "service.portolan.dev/users");
    assert_eq!(register("b", "").await.0, "");
    here.stop().await;
}

#[tokio::test]
async fn what_others_wrote_into_an_object_stays() {
    let (plane, namespace) = place("foreign").await;
    let here = replica(plane, &namespace).await;
    // As a backup restores it.
    let by_hand = format!(
        "{{apiVersion: portolan.dev/v1alpha1, kind: Service, metadata: {{name: users, namespace: {namespace}, labels: {{tier: gold}}, \
         annotations: {{example.com/a: b}}}}, spec: {{source: Rest, instances: [{{name: hand, baseUrl: \
         \"http://10.0.0.9:80\", owner: {{subject: alice}}, generation: 7}}]}}}}"
    );
    plane.kubectl().run_with(&["create", "-f", "-"], &by_hand).await.expect("created");
    until("it is read", async || here.instances(&namespace, "users").len() == 1).await;
    assert_eq!(here.register("bob", "users", "b", 1).await.refused(403), "not_owner");
    here.register("alice", "users", "b", 1).await.ok();
    let object = services(plane, &namespace).await.get("users").await.expect("an object");
    assert_eq!(object.metadata.labels.expect("labels")["tier"], "gold");
    assert_eq!(object.metadata.annotations.expect("annotations")["example.com/a"], "b");
    let hand = object.spec.instances.iter().find(|one| one.name == "hand").expect("kept");
    assert_eq!(hand.generation, Some(7), "as it was written");

    let body = here.request("alice", Method::DELETE, "/deregister?name=users&instance=hand");
    here.send(body.header("if-match", "7")).await.ok();
    assert_eq!(here.instances(&namespace, "users").into_keys().collect::<Vec<_>>(), ["b"]);
    here.stop().await;
}

/// Refuses every service with an instance in this zone, in words that look like a lack of rights.
fn policy(name: &str) -> String {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["portolan.dev"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["services"],
            }]},
            "validations": [{
                "expression": "object.spec.instances.all(i, !has(i.zone) || i.zone != 'mars')",
                "message": "services cannot run there: nothing runs on mars", "reason": "Forbidden",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
        },
    });
    format!("{policy}\n---\n{binding}")
}

#[tokio::test]
async fn a_refused_instance_does_not_fail_others() {
    let (plane, namespace) = place("policy").await;
    plane.kubectl().apply(&policy(&namespace)).await.expect("applied");
    let here = replica(plane, &namespace).await;
    let on = |zone: &str, instance: &str| json!({"name": "users", "instance": instance, "base_url": "http://10.0.0.5", "zone": zone});
    let refused = |answer: &Answer| answer.status == 400;
    until("the policy is in force", async || {
        let answer = here
            .register_as_is("alice", &json!({"name": "probe", "base_url": "http://10.0.0.5", "zone": "mars"}))
            .await;
        if !refused(&answer) {
            here.delete("alice", "/deregister?name=probe").await.ok();
        }
        refused(&answer)
    })
    .await;
    let bodies: Vec<_> = (0..30).map(|n| on(if n % 10 == 3 { "mars" } else { "earth" }, &format!("i{n}"))).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| here.register_as_is("alice", body))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        if n % 10 == 3 {
            let (status, code, error) = answer.refusal();
            assert_eq!((status, code.as_str()), (400, "invalid_payload"));
            assert!(error.contains("nothing runs on mars"), "{error}");
        } else {
            answer.ok();
        }
    }
    assert_eq!(here.instances(&namespace, "users").len(), 27);
    here.stop().await;
}
