//! `GET /api/v1/probes`: the current state of the prober.

use futures::StreamExt;
use portolan::api::access::Scopes;
use portolan::console::data::ProbingOfService;
use portolan::prober::ProberSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Options, TestApp, token};
use crate::schema::Schemas;

async fn probing() -> TestApp {
    TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await
}

/// A target that is there for no one: its port was free a moment ago.
async fn refusing() -> Value {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    json!({"name": "a", "base_url": format!("http://{address}"), "health_url": format!("http://{address}/"), "check": {"interval_seconds": 3600}})
}

fn id_of(answer: &Value) -> String {
    answer["data"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn it_tells_streaks_outcomes_and_the_next_probe_and_probes_nothing() {
    let app = probing().await;
    let id = id_of(&app.register(&refusing().await).await.ok());
    app.post(&format!("/api/v1/services/{id}/health-check"), &json!({})).await.ok();
    let target = format!("/api/v1/probes?id={id}");
    let report = app.get(&target).await.ok();
    Schemas::load().check("GET", &target, 200, &report);
    let one = &report["data"][0];
    assert_eq!((&one["id"], &one["live"]), (&json!(id), &json!(true)));
    let known: ProbingOfService = serde_json::from_value(one.clone()).expect("what the console reads");
    let [of] = known.instances.as_slice() else { panic!("one instance, not {known:?}") };
    assert_eq!((&*of.instance, of.streak.passing, of.streak.of), ("default", false, 3));
    assert!(of.streak.count >= 1 && of.held.is_none() && of.last_pass.is_none(), "{of:?}");
    assert_eq!(of.last, of.last_fail);
    let last = of.last.as_ref().expect("an outcome");
    assert_eq!(&*last.reason, "ConnectRefused");
    assert!(of.next_due.expect("a moment") > last.at);
    let samples = of.samples.len();
    assert!(samples >= 1 && of.samples[0].total_us.is_none());
}

#[tokio::test]
async fn unknown_and_unprobed_services_differ_and_typos_are_refused() {
    let app = probing().await;
    let plain = id_of(&app.register(&json!({"name": "plain", "base_url": "http://127.0.0.1:9"})).await.ok());
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let report = app.get(&format!("/api/v1/probes?id={unknown}&id={plain}")).await.ok();
    assert_eq!(report["data"], json!([{"id": plain, "live": true, "instances": []}]));
    assert_eq!(app.get("/api/v1/probes").await.ok()["data"], json!([]));
    assert_eq!(app.get("/api/v1/probes?id=x").await.refusal(400), "invalid_parameter");
    assert_eq!(app.get(&format!("/api/v1/probes?ids={plain}")).await.refusal(400), "invalid_parameter");
    let many = format!("/api/v1/probes?{}", format!("id={unknown}&").repeat(257));
    assert_eq!(app.get(&many).await.refusal(400), "invalid_parameter");
    let most = format!("/api/v1/probes?{}", format!("id={unknown}&").repeat(256));
    assert_eq!(app.get(&most).await.ok()["data"], json!([]));
}

#[tokio::test]
async fn more_instances_than_one_answer_holds_are_left_for_the_next() {
    let app = probing().await;
    let app = &app;
    let add = |service: usize, instance: usize| {
        let (name, instance) = (format!("s{service}"), format!("i{instance}"));
        let body = json!({"name": name, "instance": instance, "base_url": "http://127.0.0.1:9"});
        async move { id_of(&app.register(&body).await.ok()) }
    };
    let mut ids = Vec::new();
    for service in 0..5 {
        // As many at once as a client may have connections, with room to spare.
        let instances = futures::stream::iter(0..250).map(|instance| add(service, instance)).buffered(32);
        ids.extend(instances.collect::<Vec<_>>().await.pop());
    }
    let target = format!("/api/v1/probes?id={}", ids.join("&id="));
    let report = app.get(&target).await.ok();
    Schemas::load().check("GET", &target, 200, &report);
    assert_eq!(report["data"].as_array().map(Vec::len), Some(4));
    assert_eq!(report["left_out"], json!([ids[4]]));
}

#[tokio::test]
async fn only_callers_who_may_see_evidence_get_it() {
    let app =
        TestApp::with(Options { auth: true, prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let owner = token("ci", None, None);
    let body = refusing().await;
    let register = app.request(Method::POST, "/api/v1/services/register").bearer_auth(&owner).json(&body);
    let target = format!("/api/v1/probes?id={}", id_of(&app.send(register).await.ok()));
    assert_eq!(app.get(&target).await.refusal(401), "token_required");
    let count = |report: &Value| report["data"].as_array().map(Vec::len);
    let elsewhere = token("other", Some(&["shop"]), None);
    let report = app.send(app.request(Method::GET, &target).bearer_auth(elsewhere)).await.ok();
    assert_eq!(count(&report), Some(0), "another namespace's token");
    let reader = token("other", None, Some(Scopes { read: true, register: false, admin: false }));
    let report = app.send(app.request(Method::GET, &target).bearer_auth(reader)).await.ok();
    assert_eq!(count(&report), Some(1));
}

#[tokio::test]
async fn who_looks_often_keeps_the_quota_for_other_requests() {
    let app =
        TestApp::with(Options { rate: Some(5), prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let mut answered = 0;
    while app.get("/api/v1/probes").await.status == 200 {
        answered += 1;
        assert!(answered < 400, "it is bounded too");
    }
    assert!(answered >= 100, "{answered} answers at a quota of 5");
}

#[tokio::test]
async fn without_a_prober_it_says_so() {
    let app = TestApp::start().await;
    let id = app.add("a").await["id"].as_str().expect("an id").to_owned();
    let answer = app.get(&format!("/api/v1/probes?id={id}")).await;
    assert_eq!(answer.refusal(503), "unavailable");
}
