//! Many registrations at once.

use std::time::Duration;

use control_plane::Audit;
use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::server::{Answer, until};
use super::{place, replica, services};

/// Most time for a wave of registrations.
const PATIENCE: Duration = Duration::from_mins(3);

async fn at_once<T>(calls: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    tokio::time::timeout(PATIENCE, join_all(calls)).await.expect("an end in time")
}

/// Calls again, as a client would, while too many change the same object at once.
async fn patiently(call: impl AsyncFn() -> Answer) -> Value {
    loop {
        let answer = call().await;
        if answer.status != 503 || answer.refusal().1 != "busy" {
            return answer.ok();
        }
    }
}

/// How often the replicas have written the namespace's objects since the last look.
async fn writes(audit: &mut Audit, namespace: &str) -> usize {
    let mut asked = audit.requests().await.expect("requests");
    asked.retain(|r| r.namespace == namespace && r.resource.starts_with("services.") && r.subresource.is_empty());
    asked.iter().filter(|r| ["create", "update", "patch", "delete"].contains(&r.verb.as_str())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_instances_through_each_of_two_replicas_are_all_there() {
    let (plane, namespace) = place("hundred").await;
    let (one, other) = (replica(plane, &namespace).await, replica(plane, &namespace).await);
    one.register("alice", "users", "first", 1).await.ok();
    until("both know it", async || other.instances(&namespace, "users").len() == 1).await;
    // Another writer moves the resourceVersion meanwhile, as the leader's status does.
    let api = services(plane, &namespace).await;
    let status = async {
        for healthy in 0..50 {
            let patch = Patch::Merge(json!({"status": {"healthy": healthy}}));
            api.patch_status("users", &PatchParams::default(), &patch).await.expect("a status");
        }
    };
    let calls = (0..200_u16).map(|n| {
        let replica = if n % 2 == 0 { &one } else { &other };
        async move { patiently(async || replica.register("alice", "users", &format!("i{n}"), 1000 + n).await).await }
    });
    let mut audit = plane.audit().expect("an audit log");
    let (answers, ()) = tokio::join!(at_once(calls), status);
    assert!(answers.iter().all(|answer| answer["success"] == true));
    let merged = writes(&mut audit, &namespace).await;
    assert!(merged < 100, "calls that wait for the same object are written together: {merged} writes of 200 calls");
    assert_eq!(api.get("users").await.expect("an object").spec.instances.len(), 201);
    for replica in [&one, &other] {
        until("all are there", async || replica.instances(&namespace, "users").len() == 201).await;
    }
    assert_eq!(one.instances(&namespace, "users"), other.instances(&namespace, "users"), "generations, too");

    let calls = (0..200_u16).map(|n| {
        let replica = if n % 2 == 0 { &one } else { &other };
        let target = format!("/deregister?name=users&instance=i{n}");
        async move { patiently(async || replica.delete("alice", &target).await).await }
    });
    at_once(calls).await;
    let merged = writes(&mut audit, &namespace).await;
    assert!(merged < 100, "so are removals: {merged} writes of 200 calls");
    one.delete("alice", "/deregister?name=users").await.ok();
    assert!(api.get_opt("users").await.expect("an answer").is_none());
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_services_are_created_at_once() {
    let (plane, namespace) = place("many").await;
    let here = replica(plane, &namespace).await;
    let names: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
    let answers = at_once(names.iter().map(|name| here.register("alice", name, "a", 1))).await;
    for answer in answers {
        answer.ok();
    }
    assert!(names.iter().all(|name| here.instances(&namespace, name).len() == 1));
    here.stop().await;
}

/// About 60 KB as JSON.
fn bulky(instance: usize) -> Value {
    let metadata: serde_json::Map<String, Value> =
        (0..58).map(|n| (format!("k{n}"), json!("x".repeat(1000)))).collect();
    json!({ "name": "bulky", "instance": format!("i{instance}"), "base_url": "http://10.0.0.5", "metadata": metadata })
}

#[tokio::test]
async fn instances_too_large_to_store_do_not_fail_others() {
    let (plane, namespace) = place("bulky").await;
    let here = replica(plane, &namespace).await;
    let bodies: Vec<Value> = (0..40).map(bulky).collect();
    let register = async |body| {
        loop {
            let answer = here.register_as_is("alice", body).await;
            // The API server may be slow to write so much.
            if answer.status != 503 || !["busy", "unavailable"].contains(&answer.refusal().1.as_str()) {
                return answer;
            }
        }
    };
    let answers = at_once(bodies.iter().map(register)).await;
    let (kept, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert!(kept.len() >= 20 && !refused.is_empty(), "{} kept", kept.len());
    assert!(refused.iter().all(|answer| answer.refused(422) == "service_full"));
    let stored = services(plane, &namespace).await.get("bulky").await.expect("an object").spec.instances.len();
    assert_eq!(stored, kept.len());
    assert_eq!(here.instances(&namespace, "bulky").len(), kept.len());
    here.stop().await;
}
