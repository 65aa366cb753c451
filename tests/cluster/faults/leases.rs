//! Programs that report of themselves, through a change of leader.

use std::time::Duration;

use serde_json::Value;

use super::Cluster;
use super::replica::Replica;
use crate::sync::replica::until;

/// Health and reason of an instance; empty if it is not there.
async fn reads(replica: &Replica, instance: &str) -> String {
    let service = replica.service("programs").await;
    let all = service["instances"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|one| one["name"] == instance);
    found.map_or(String::new(), |one| format!("{} {}", one["status"], one["reason"]).replace('"', ""))
}

/// The instances in the object's spec.
async fn written(cluster: &Cluster<'_>) -> Vec<String> {
    let object = cluster.objects.get("programs").await.expect("it is there");
    let all = object.data["spec"]["instances"].as_array().expect("instances").iter();
    all.map(|one: &Value| one["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_program_that_falls_silent_leaves_the_object_and_one_that_reports_stays_through_a_change_of_leader() {
    let cluster = Cluster::shared().await;
    let (one, two) = cluster.two().await;
    let id = two.register_program("programs", "reports").await;
    assert_eq!(two.register_program("programs", "silent").await, id);
    until("both are in the object", async || written(&cluster).await == ["reports", "silent"]).await;

    // Whoever follows passes heartbeats on; while nobody leads they are kept.
    let reporting = async {
        loop {
            let status = two.beat(&id, "reports").await;
            assert!(status != 404 && status != 403, "{status}");
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    };
    let story = async {
        until("the silent one expires", async || reads(&two, "silent").await == "unhealthy LeaseExpired").await;
        assert_eq!(reads(&two, "reports").await, "healthy Passed");
        one.kill();
        cluster.until_leads("two").await;
        until("the silent one has left", async || {
            let health = reads(&two, "reports").await;
            assert_eq!(health, "healthy Passed", "the log of the leader:\n{}", two.log());
            written(&cluster).await == ["reports"]
        })
        .await;
        until("readers know", async || reads(&two, "silent").await.is_empty()).await;
    };
    tokio::select! {
        () = reporting => unreachable!("it reports for ever"),
        () = story => {}
    }
    let (_, _, history) = two.get(&format!("/api/v1/services/{id}/history")).await;
    let newest = &history["data"][0];
    assert_eq!((&newest["instance"], &newest["event"]), (&"silent".into(), &"removed".into()), "{history}");
    assert!(newest["message"].as_str().is_some_and(|said| said.contains("lease")), "{history}");
    assert_eq!(two.beat(&id, "silent").await, 404);
    two.stop().await;
}
