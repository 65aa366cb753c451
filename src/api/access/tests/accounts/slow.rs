//! A cluster that is slow to answer, and callers that ask for much at the same time.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_many_want_to_know_at_once_is_asked_once() {
    let cluster = Cluster::new();
    cluster.state().allowed.insert(("update", "bank".to_owned()));
    let server = Server::start(&cluster, AccessSettings { rate_per_minute: None, ..settings() }, false).await;
    let token = cluster.token();
    cluster.hold(true);
    let write = || server.write(drain().bearer(&token), one("bank"), AccessVerb::Update);
    let writes = futures::future::join_all((0..100).map(|_| write()));
    let released = async {
        server.settle(Duration::from_secs(1)).await;
        cluster.hold(false);
    };
    let (writes, ()) = tokio::join!(writes, released);
    let refused: Vec<_> = writes.into_iter().filter_map(Result::err).map(|error| error.code).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let asked = {
        let state = cluster.state();
        (state.reviews, state.questions)
    };
    assert_eq!(asked, (1, 1));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_starts_gets_its_answers_one_after_the_other() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, AccessSettings { rate_per_minute: None, ..settings() }, false).await;
    let token = |pod: usize| cluster.token_by(0, &json!({"jti": pod.to_string()}));
    let write = |pod| server.write(drain().bearer(&token(pod)), one("shop"), AccessVerb::Update);
    let writes = futures::future::join_all((0..200).map(write)).await;
    let refused: Vec<_> = writes.into_iter().filter_map(Result::err).map(|error| error.code).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(cluster.state().reviews, 200, "each token is another question");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_for_no_answer() {
    let cluster = Cluster::new();
    cluster.state().allowed.insert(("update", "bank".to_owned()));
    let server = Server::start(&cluster, settings(), false).await;
    let token = cluster.token();
    let write = async |ask: Ask, place| {
        let asked = server.write(ask.bearer(&token), place, AccessVerb::Update).await;
        asked.map(|principal| principal.may_write("bank"))
    };
    assert_eq!(write(beat(), one("bank")).await, Ok(true), "the first one there has to wait");
    cluster.hold(true);
    server.world.pass(Duration::from_mins(9));
    let before = Instant::now();
    assert_eq!(write(beat(), one("shop")).await, Ok(false));
    assert_eq!(write(beat(), one("bank")).await, Ok(true), "as it was last known");
    let other = cluster.token_by(0, &json!({"jti": "2"}));
    server.write(beat().bearer(&other), one("shop"), AccessVerb::Update).await.expect("a token that was never seen");
    server.write(Ask::register().bearer(&other), Place::Unknown, AccessVerb::Create).await.expect("it may only renew");
    assert_eq!(before.elapsed(), Duration::ZERO);
    let refused = write(drain(), one("shop")).await.expect_err("a write waits");
    assert_eq!((refused.code, before.elapsed().as_secs()), (Code::Unavailable, 4));

    // What is asked behind them counts once it is answered.
    server.settle(Duration::from_millis(10)).await;
    cluster.state().in_force = false;
    cluster.state().allowed.clear();
    write(beat(), one("bank")).await.expect("it is asked again");
    cluster.hold(false);
    server.settle(Duration::from_millis(1)).await;
    assert_eq!(write(beat(), one("shop")).await.expect_err("the pod is gone").code, Code::TokenInvalid);
    cluster.state().in_force = true;
    server.world.pass(Duration::from_secs(6));
    write(beat(), one("shop")).await.expect_err("as it was last known");
    server.settle(Duration::from_millis(1)).await;
    assert_eq!(write(beat(), one("bank")).await, Ok(false), "the right is gone, too");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_by_a_recent_yes_and_waits_a_second_for_a_newer_one() {
    let cluster = Cluster::new();
    cluster.state().allowed.insert(("list", "bank".to_owned()));
    let server = Server::start(&cluster, AccessSettings { read_auth: true, ..settings() }, false).await;
    let token = cluster.token();
    let read = async || {
        let before = Instant::now();
        let read = server.write(Ask::discover().bearer(&token), one("bank"), AccessVerb::List).await;
        (read.map(|who| who.may_read("bank")).map_err(|error| error.code), before.elapsed().as_secs())
    };
    assert_eq!(read().await, (Ok(true), 0));
    cluster.hold(true);
    server.world.pass(Duration::from_secs(59));
    assert_eq!(read().await, (Ok(true), 0));
    server.world.pass(Duration::from_mins(9));
    assert_eq!(read().await, (Ok(true), 1), "nobody says otherwise");
    server.world.pass(Duration::from_mins(1));
    assert_eq!(read().await, (Err(Code::Unavailable), 3), "the rest of the time for its answer");
    server.settle(Duration::from_secs(4)).await;
    cluster.state().allowed.clear();
    cluster.hold(false);
    assert_eq!(read().await, (Ok(false), 0));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_with_the_right_that_it_needed() {
    let cluster = Cluster::new();
    cluster.state().allowed.insert(("list", "bank".to_owned()));
    let server = Server::start(&cluster, AccessSettings { read_auth: true, ..settings() }, false).await;
    let token = cluster.token();
    let open = async |place| {
        let principal = server.write(Ask::discover().bearer(&token), place, AccessVerb::List).await.expect("admitted");
        server.world.access.token_validity(&principal).expect("a token")
    };
    let (mut own, mut others) = (open(one("shop")).await, open(one("bank")).await);
    let asked = || cluster.state().questions;
    let before = asked();
    let mut pass = async |seconds| {
        assert!(others.remaining() <= Duration::from_secs(15), "it is looked at again by itself");
        server.world.pass(Duration::from_secs(seconds));
        let ended = (own.ended(), others.ended());
        server.settle(Duration::from_millis(1)).await;
        ended
    };
    for _ in 0..20 {
        assert_eq!(pass(15).await, (None, None));
    }
    let about = asked() - before;
    assert!((4..=5).contains(&about), "asked {about} times in five minutes");
    cluster.state().away = true;
    for _ in 0..20 {
        assert_eq!(pass(15).await, (None, None), "nobody says otherwise");
    }
    cluster.state().away = false;
    cluster.state().allowed.clear();
    let mut waited = 0;
    while pass(15).await == (None, None) {
        waited += 15;
        assert!(waited <= 90, "withdrawn {waited} s ago");
    }
    assert_eq!(pass(0).await, (None, Some(TokenEnd::Withdrawn)));
    server.stop().await;
}
