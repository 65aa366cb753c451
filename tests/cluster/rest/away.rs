//! The Kubernetes API goes away and comes back.

use std::pin::pin;
use std::time::{Duration, Instant};

use control_plane::Proxy;

use super::server::{Answer, Server, until};
use super::{of, place, replica, services};

/// Most time until a client learns that nothing answers.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn writes_are_refused_and_reads_go_on_while_the_api_is_silent() {
    let (plane, namespace) = place("away").await;
    let proxy = plane.proxy().await.expect("a proxy");
    let behind = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let here = of(&behind, &namespace).start().await;
    here.register("alice", "users", "a", 1).await.ok();
    let fresh = here.get("/discover?name=users").await;
    assert_eq!(fresh.header("portolan-stale-seconds"), "");
    let known = fresh.data();

    proxy.freeze();
    let started = Instant::now();
    let first = here.register("alice", "users", "b", 2).await;
    assert_eq!(first.refused(503), "unavailable");
    assert!(!first.header("retry-after").is_empty());
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    until("the silence is noticed", async || here.stale_for().is_some()).await;

    let started = Instant::now();
    for answer in [here.register("alice", "users", "b", 2).await, here.delete("alice", "/deregister?name=users").await]
    {
        let (status, code, error) = answer.refusal();
        assert_eq!((status, code.as_str(), answer.header("retry-after")), (503, "unavailable", "5"));
        assert_eq!(answer.header("connection"), "close", "another replica may be able to write");
        assert!(error.contains("nothing was changed"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(9), "they waited as the first did: {:?}", started.elapsed());
    for target in ["/discover?name=users", "", "/stats"] {
        let stale = here.get(target).await;
        assert_eq!(stale.status, 200, "{target}");
        assert!(stale.header("portolan-stale-seconds").parse::<u64>().is_ok_and(|age| age >= 6), "{target}");
    }
    assert_eq!(here.get("/discover?name=users").await.data(), known);
    assert_eq!(here.register("alice", "users", "a", 1).await.data(), known, "a renewal writes nothing");

    proxy.pass();
    until("it is current again", async || here.stale_for().is_none()).await;
    here.register("alice", "users", "b", 2).await.ok();
    assert_eq!(here.get("/discover?name=users").await.header("portolan-stale-seconds"), "");
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_that_wait_when_the_api_falls_silent_do_not_wait_for_each_other() {
    let (plane, namespace) = place("silent").await;
    let proxy = plane.proxy().await.expect("a proxy");
    let behind = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let here = of(&behind, &namespace).start().await;
    proxy.freeze();
    let started = Instant::now();
    // Far more than are written at the same time.
    let names: Vec<String> = (0..256).map(|n| format!("s{n}")).collect();
    let calls = names.iter().map(|name| here.register("alice", name, "a", 1));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.refused(503), "unavailable");
    }
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    proxy.pass();
    until("it answers again", async || here.register("alice", "s0", "a", 1).await.status == 200).await;
    here.stop().await;
}

#[tokio::test]
async fn a_short_refusal_is_waited_out() {
    let (plane, namespace) = place("blink").await;
    let proxy = plane.proxy().await.expect("a proxy");
    let behind = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let here = of(&behind, &namespace).start().await;
    proxy.refuse();
    let back = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.pass();
    };
    let (answer, ()) = tokio::join!(here.register("alice", "users", "a", 1), back);
    answer.ok();
    assert_eq!(here.instances(&namespace, "users").len(), 1);
    here.stop().await;
}

/// Makes a call whose write is `done` while its answer is lost, does something else, and then lets answers pass again. The write needs a
/// connection that is there; without one it is refused, and made again.
async fn unanswered(
    here: &Server,
    proxy: &Proxy,
    call: impl AsyncFn() -> Answer,
    done: impl AsyncFn() -> bool,
    then: impl AsyncFn(),
) -> Answer {
    for n in 0..20 {
        proxy.lose_answers();
        let mut call = pin!(call());
        tokio::select! {
            () = until("it is done", &done) => {
                then().await;
                proxy.pass();
                return call.await;
            }
            answer = &mut call => {
                answer.refused(503);
                proxy.pass();
                assert!(!done().await, "it was refused, and done");
                let another = format!("another-{n}");
                until("a connection is there", async || here.register("alice", &another, "a", 1).await.status == 200).await;
            }
        }
    }
    panic!("no connection was there at any time");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_answered_once_and_done_once() {
    let (plane, namespace) = place("lost").await;
    let proxy = plane.proxy().await.expect("a proxy");
    let behind = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let (here, there) = (of(&behind, &namespace).start().await, replica(plane, &namespace).await);
    let objects = services(plane, &namespace).await;
    here.register("alice", "users", "a", 1).await.ok();

    let url = async || Some(objects.get("users").await.ok()?.spec.instances.first()?.base_url.clone());
    let is_written = async || url().await.is_some_and(|url| url.ends_with(":2"));
    let answer =
        unanswered(&here, &proxy, async || here.register("alice", "users", "a", 2).await, is_written, async || {})
            .await;
    let answer = answer.ok();
    assert!(answer["warnings"][0].as_str().is_some_and(|text| text.contains("replaced the base_url")), "{answer}");

    let is_gone = async || objects.get_opt("users").await.is_ok_and(|object| object.is_none());
    let successor = async || drop(there.register("bob", "users", "b", 3).await.ok());
    let removal = async || here.delete("alice", "/deregister?name=users").await;
    unanswered(&here, &proxy, removal, is_gone, successor).await.ok();
    assert_eq!(objects.get("users").await.expect("its successor").spec.instances.len(), 1);
    here.stop().await;
    there.stop().await;
}
