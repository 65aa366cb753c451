//! What a ServiceAccount may do outside of its own namespace, and how often that is asked.

use super::*;

#[tokio::test(start_paused = true)]
async fn leases_in_other_namespaces_outlast_an_outage_and_writes_there_wait() {
    let cluster = Cluster::new();
    cluster.state().allowed.insert(("update", "bank".to_owned()));
    let server = Server::start(&cluster, settings(), false).await;
    let token = cluster.token();
    let write = async |ask: Ask| {
        let asked = server.write(ask.bearer(&token), one("bank"), AccessVerb::Update).await;
        asked.map(|principal| principal.may_write("bank"))
    };
    assert_eq!(write(beat()).await, Ok(true));
    cluster.state().away = true;
    server.world.pass(Duration::from_mins(4));
    assert_eq!(write(beat()).await, Ok(true), "as it was last known");
    assert_eq!(write(drain()).await.expect_err("nobody says whether it may").code, Code::Unavailable);
    let (head, principal) = {
        let ask = Ask::register().bearer(&token);
        (head(&ask), server.world.ask(&ask).expect("admitted").principal)
    };
    let bank = "bank".parse().expect("a label");
    let renewed = server.world.access.authorize_registration(&head, &principal, (&bank, AccessVerb::Update), true);
    renewed.await.expect("a renewal goes on as well");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_that_asks_about_ever_new_namespaces_is_stopped_and_alone() {
    let cluster = Cluster::new();
    cluster.state().allowed.insert(("update", "bank".to_owned()));
    let server = Server::start(&cluster, settings(), false).await;
    let token = cluster.token();
    let write = async |namespace: &str| {
        let asked = server.write(drain().bearer(&token), one(namespace), AccessVerb::Update).await;
        asked.map(|principal| principal.may_write(namespace)).map_err(|error| error.code)
    };
    assert_eq!(write("bank").await, Ok(true));
    for n in 0..32 {
        assert_eq!(write(&format!("made-up-{n}")).await, Ok(false));
    }
    let asked = cluster.state().questions;
    for n in 32..64 {
        assert_eq!(write(&format!("made-up-{n}")).await, Err(Code::Busy));
    }
    assert_eq!(cluster.state().questions, asked, "nothing more is asked for it");
    assert_eq!(write("bank").await, Ok(true), "what it may do goes on");
    server.world.pass(Duration::from_secs(31));
    for n in 0..32 {
        assert_eq!(write(&format!("made-up-{n}")).await, Ok(false), "as it was");
    }
    assert_eq!(cluster.state().questions, asked, "nor again about the same");
    assert_eq!(write("bank").await, Ok(true));
    server.world.pass(Duration::from_secs(61));
    assert_eq!(write("made-up-99").await, Ok(false));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_namespaces_take_what_rbac_allows_there() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, settings(), false).await;
    let token = cluster.token();
    let write = async |place: Place, verb| {
        let asked = server.write(drain().bearer(&token), place, verb).await;
        asked.map(|principal| principal.may_write("bank"))
    };
    assert_eq!(write(one("shop"), AccessVerb::Update).await, Ok(false));
    assert_eq!(cluster.state().questions, 0, "its own namespace needs no question");
    assert_eq!(write(one("bank"), AccessVerb::Update).await, Ok(false));
    cluster.state().allowed.insert(("update", "bank".to_owned()));
    assert_eq!(write(one("bank"), AccessVerb::Update).await, Ok(false), "a no is good for a moment");
    server.world.pass(Duration::from_secs(6));
    assert_eq!(write(one("bank"), AccessVerb::Update).await, Ok(true));
    assert_eq!(write(one("bank"), AccessVerb::Delete).await, Ok(false), "another verb");
    let principal = server.world.ask(&Ask::register().bearer(&token)).expect("admitted").principal;
    let refused = principal.require_write("bank").expect_err("only that request was about it");
    assert!(refused.message.contains("system:serviceaccount:shop:api may not do this in the namespace bank"));
    let role = |verb| {
        let hint = principal.outside("bank", verb).hinted().expect("a hint").to_owned();
        assert!(hint.contains("--serviceaccount=shop:api"), "{hint}");
        hint.split_once("--clusterrole=").and_then(|(_, rest)| Some(rest.split_once(' ')?.0.to_owned()))
    };
    assert_eq!(role(AccessVerb::Update).as_deref(), Some("portolan-writer"));
    assert_eq!(role(AccessVerb::List).as_deref(), Some("portolan-viewer"), "no more than it needs");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn registering_asks_once_the_namespace_is_known() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, settings(), false).await;
    let ask = Ask::register().bearer(&cluster.token());
    let principal = server.world.ask(&ask).expect("admitted").principal;
    let head = head(&ask);
    let register = async |namespace: &str, renews| {
        let namespace = namespace.parse().expect("a label");
        let access = &server.world.access;
        access.authorize_registration(&head, &principal, (&namespace, AccessVerb::Create), renews).await
    };
    cluster.state().away = true;
    register("shop", true).await.expect("a renewal needs nobody");
    assert_eq!(register("shop", false).await.expect_err("nobody answers").code, Code::Unavailable);
    cluster.state().away = false;
    register("shop", false).await.expect("its own");
    assert_eq!(register("bank", false).await.expect_err("another's").code, Code::NamespaceForbidden);
    server.world.pass(Duration::from_secs(6));
    cluster.state().allowed.insert(("create", "bank".to_owned()));
    register("bank", false).await.expect("allowed there");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn closed_reads_show_an_account_its_own_namespace_and_what_it_may_list() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, AccessSettings { read_auth: true, ..settings() }, false).await;
    let token = cluster.token();
    let read = async |place: Place| {
        let read = server.write(Ask::discover().bearer(&token), place, AccessVerb::List).await;
        read.map(|who| (who.may_read("shop"), who.may_read("bank"), who.reads_all()))
    };
    assert_eq!(read(one("bank")).await, Ok((true, false, false)));
    assert_eq!(read(Place::All).await, Ok((true, false, false)));
    server.world.pass(Duration::from_secs(6));
    cluster.state().allowed.extend([("list", "bank".to_owned()), ("list", "*".to_owned())]);
    assert_eq!(read(one("bank")).await, Ok((true, true, false)));
    assert_eq!(read(Place::All).await, Ok((true, true, true)));
    cluster.state().away = true;
    server.world.pass(Duration::from_mins(9));
    assert_eq!(read(one("bank")).await, Ok((true, true, false)), "as it was last known");
    assert_eq!(read(one("shop")).await, Ok((true, false, false)));
    server.world.pass(Duration::from_mins(2));
    assert_eq!(read(one("bank")).await.expect_err("too long ago").code, Code::Unavailable);
    assert_eq!(cluster.state().reviews, 0, "reads need no review of the token");
    server.stop().await;

    let open = Server::start(&cluster, settings(), false).await;
    let asked = cluster.state().questions;
    open.write(Ask::discover().bearer(&token), one("bank"), AccessVerb::List).await.expect("open to all");
    assert_eq!(cluster.state().questions, asked, "an open read waits for nobody");
    open.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_of_services_in_several_namespaces_asks_about_each_that_the_account_lacks() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, AccessSettings { read_auth: true, ..settings() }, false).await;
    let token = cluster.token();
    let read = |place: Place| server.write(Ask::discover().bearer(&token), place, AccessVerb::List);
    cluster.state().allowed.extend([("list", "bank".to_owned()), ("list", "farm".to_owned())]);
    let seen = read(several(&["bank", "farm", "mint", "shop"])).await.expect("answered");
    assert_eq!(["bank", "farm", "mint", "shop"].map(|one| seen.may_read(one)), [true, true, false, true]);
    assert_eq!(cluster.state().questions, 3, "all but its own");
    assert!(!seen.reads_all());

    // More than a program would need, and a quarter of the refusals that an account may get in a minute.
    let many: Vec<_> = (0..8).map(|n| format!("made-up-{n}")).collect();
    let many = [&["shop"][..], &many.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    read(several(&many)).await.expect("answered");
    assert_eq!(cluster.state().questions, 3 + 8);
    let more = [&many[..], &["bank", "farm"]].concat();
    let seen = read(several(&more)).await.expect("answered");
    assert_eq!(cluster.state().questions, 3 + 8 + 1, "whether it may list in all");
    assert!(seen.may_read("shop") && !seen.may_read("bank"));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_with_each_of_the_rights_that_it_needs() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, AccessSettings { read_auth: true, ..settings() }, false).await;
    let token = cluster.token_by(0, &json!({"exp": START_S + 86_400}));
    let read = |place: Place| server.write(Ask::discover().bearer(&token), place, AccessVerb::List);
    cluster.state().allowed.extend([("list", "bank".to_owned()), ("list", "farm".to_owned())]);
    let mut of_both = {
        let seen = read(several(&["bank", "farm"])).await.expect("answered");
        server.world.access.token_validity(&seen).expect("a token")
    };
    cluster.state().allowed.remove(&("list", "farm".to_owned()));
    let ended = async |validity: &mut TokenValidity| {
        // The question about a right that is a minute old is asked behind the first look, and its answer is there at the second.
        for _ in 0..2 {
            server.world.pass(Duration::from_secs(61));
            validity.ended();
            server.settle(Duration::from_millis(1)).await;
        }
        validity.ended()
    };
    assert_eq!(ended(&mut of_both).await, Some(TokenEnd::Withdrawn));
    let mut of_one = {
        let seen = read(several(&["bank", "farm"])).await.expect("answered");
        server.world.access.token_validity(&seen).expect("a token")
    };
    assert_eq!(ended(&mut of_one).await, None, "it was not granted the other one");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn metrics_need_the_right_to_list_in_all_namespaces() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, AccessSettings { read_auth: true, ..settings() }, false).await;
    let ask = || Ask::new("GET", "/metrics").bearer(&cluster.token());
    let scrape = |place: Place| server.write(ask(), place, AccessVerb::List);
    cluster.state().allowed.insert(("list", "bank".to_owned()));
    for place in [Place::All, one("bank"), one("shop"), Place::Unknown] {
        let refused = scrape(place).await.expect_err("it may not see every service");
        assert_eq!(refused.code, Code::InsufficientScope);
        let hint = refused.hinted().expect("a hint");
        assert!(hint.contains("kubectl create clusterrolebinding portolan-shop-api "), "{hint}");
        assert!(hint.ends_with("--clusterrole=portolan-viewer --serviceaccount=shop:api"), "{hint}");
    }
    server.world.pass(Duration::from_secs(6));
    cluster.state().allowed.insert(("list", "*".to_owned()));
    assert!(scrape(Place::All).await.expect("granted").reads_all());
    server.stop().await;
}
