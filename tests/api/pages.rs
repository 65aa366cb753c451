//! Pages of the list and of history.

use std::collections::BTreeSet;

use portolan::model::outcome::Health;
use serde_json::Value;

use crate::app::TestApp;

fn names(list: &Value) -> Vec<String> {
    let all = list["data"].as_array().expect("a list");
    all.iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn pages_add_up_to_the_list() {
    let app = TestApp::start().await;
    for n in 0..25 {
        app.add(&format!("s{n}")).await;
    }
    let whole = app.get("/api/v1/services").await.ok();
    assert!(whole.get("next_cursor").is_none());
    assert_eq!(names(&whole).first().map(String::as_str), Some("s24"), "newest first");
    for limit in [1, 7, 25, 1000] {
        let mut all = Vec::new();
        let mut target = format!("/api/v1/services?limit={limit}");
        loop {
            let page = app.get(&target).await.ok();
            all.extend(names(&page));
            match page["next_cursor"].as_str() {
                Some(cursor) => target = format!("/api/v1/services?limit={limit}&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(all, names(&whole), "limit {limit}");
    }
}

#[tokio::test]
async fn what_comes_and_goes_between_pages_shifts_nothing() {
    let app = TestApp::start().await;
    for n in 0..12 {
        app.add(&format!("s{n}")).await;
    }
    let first = app.get("/api/v1/services?limit=4").await.ok();
    assert_eq!(names(&first), ["s11", "s10", "s9", "s8"]);
    // The very service that the cursor stands on goes, one on an old page, one on a new; others come.
    for removed in ["s8", "s10", "s5"] {
        app.delete(&format!("/api/v1/services/deregister?name={removed}")).await.ok();
    }
    app.add("late").await;
    let cursor = first["next_cursor"].as_str().expect("more");
    let rest = app.get(&format!("/api/v1/services?cursor={cursor}")).await.ok();
    assert_eq!(names(&rest), ["s7", "s6", "s4", "s3", "s2", "s1", "s0"]);
}

#[tokio::test]
async fn pages_keep_their_selection() {
    let app = TestApp::start().await;
    for n in 0..9 {
        app.add(&format!("s{n}")).await;
        if n % 2 == 0 {
            app.set_health(&format!("default/s{n}"), "default", Health::Healthy).await;
        }
    }
    let first = app.get("/api/v1/services?status=healthy&limit=3").await.ok();
    assert_eq!(names(&first), ["s8", "s6", "s4"]);
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = app.get(&format!("/api/v1/services?status=healthy&limit=3&cursor={cursor}")).await.ok();
    assert_eq!(names(&second), ["s2", "s0"]);
    assert!(second.get("next_cursor").is_none());
}

#[tokio::test]
async fn history_pages_add_up_and_outlive_the_service() {
    let app = TestApp::start().await;
    let id = app.add("a").await["id"].as_str().expect("an id").to_owned();
    for n in 0..7 {
        app.set_health("default/a", "default", if n % 2 == 0 { Health::Healthy } else { Health::Unhealthy }).await;
    }
    app.delete(&format!("/api/v1/services/{id}")).await.ok();
    let mut seen = BTreeSet::new();
    let mut target = format!("/api/v1/services/{id}/history?limit=3");
    let mut pages = 0;
    loop {
        let page = app.get(&target).await.ok();
        let entries = page["data"].as_array().expect("a list");
        if pages == 0 {
            assert_eq!(entries[0]["event"], "removed");
        }
        seen.extend(entries.iter().map(|e| e["id"].as_i64().expect("a number")));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(cursor) => target = format!("/api/v1/services/{id}/history?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (8, 3));
    let by_name = app.get("/api/v1/services/history?name=a&limit=3").await.ok();
    assert_eq!((by_name["id"].as_str(), by_name["registered"].as_bool()), (Some(&*id), Some(false)));
    assert_eq!(by_name["data"], app.get(&format!("/api/v1/services/{id}/history?limit=3")).await.ok()["data"]);
    let other = app.get(&format!("/api/v1/services/{id}/history?instance=other")).await;
    assert_eq!(other.refusal(404), "instance_not_found", "it never was there");
    assert_eq!(app.get(&format!("/api/v1/services/{id}/history?cursor=-1")).await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn a_name_leads_to_the_history_of_whoever_has_it() {
    let app = TestApp::start().await;
    let old = app.add("a").await["id"].take();
    app.delete("/api/v1/services/deregister?name=a").await.ok();
    let removed = app.get("/api/v1/services/history?name=a").await.ok();
    assert_eq!(
        (&removed["id"], removed["registered"].as_bool(), &removed["data"][0]["event"]),
        (&old, Some(false), &"removed".into())
    );
    let new = app.add("a").await["id"].take();
    app.set_health("default/a", "default", Health::Healthy).await;
    let here = app.get("/api/v1/services/history?name=a&namespace=default&instance=default").await.ok();
    assert_eq!(
        (&here["id"], here["registered"].as_bool(), &here["data"][0]["to"]),
        (&new, Some(true), &"healthy".into())
    );
    for (query, status, code) in [
        ("", 400, "name_required"),
        ("?name=nobody", 404, "service_not_found"),
        ("?name=A_B", 404, "service_not_found"),
        ("?name=a&namespace=other", 404, "service_not_found"),
        ("?name=a&limit=0", 400, "invalid_parameter"),
        ("?name=a&all=true", 400, "invalid_parameter"),
    ] {
        assert_eq!(app.get(&format!("/api/v1/services/history{query}")).await.refusal(status), code, "{query}");
    }
    let elsewhere = app.get("/api/v1/services/history?name=a&namespace=other").await.json();
    assert_eq!(elsewhere["hint"], "none in namespace other, but in default: add namespace=default");
}
