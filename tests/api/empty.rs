//! Services that exist without an instance: discovery says so, instead of saying that nobody registered them.

use std::sync::Arc;

use futures::future::BoxFuture;
use portolan::model::name::ServiceKey;
use portolan::model::ports::EmptyServices;
use tokio::sync::watch;

use crate::app::{Options, TestApp, token};

/// `NAMESPACE/web` of any namespace has no instance, for this reason; none if it does not exist.
struct Web(watch::Receiver<Option<&'static str>>);

impl EmptyServices for Web {
    fn why_empty(&self, key: &ServiceKey) -> Option<String> {
        self.0.borrow().filter(|_| key.name() == "web").map(str::to_owned)
    }

    fn reason_changed(&self, key: &ServiceKey) -> BoxFuture<'static, ()> {
        let (mut reasons, is_web) = (self.0.clone(), key.name() == "web");
        reasons.mark_unchanged();
        Box::pin(async move {
            if !is_web || reasons.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// A server on which `web` is empty for the reason that the sender gives.
pub(crate) fn empty_for(reason: &'static str) -> (Options, watch::Sender<Option<&'static str>>) {
    let (sender, reasons) = watch::channel(Some(reason));
    (Options { empty_services: Some(Arc::new(Web(reasons))), ..Options::default() }, sender)
}

fn options() -> Options {
    empty_for("the core Service web has no endpoints now").0
}

#[tokio::test]
async fn a_service_without_an_instance_is_not_an_unknown_one() {
    let app = TestApp::with(options()).await;
    for query in ["", "&healthy=true", "&pick=weighted", "&version=^2", "&wait=1s"] {
        let answer = app.get(&format!("/api/v1/services/discover?name=web{query}")).await;
        assert_eq!(answer.refusal(503), "no_healthy_instance", "{query}");
        let message = answer.json()["error"].clone();
        assert_eq!(message, "default/web has no instance now: the core Service web has no endpoints now", "{query}");
    }
    let unknown = app.get("/api/v1/services/discover?name=other").await;
    assert_eq!(unknown.refusal(404), "service_not_found");
    // An instance in the catalog comes first.
    app.add("web").await;
    assert_eq!(app.get("/api/v1/services/discover?name=web").await.ok()["data"]["name"], "web");
}

#[tokio::test]
async fn who_may_not_read_a_namespace_does_not_learn_what_is_empty_there() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..options() }).await;
    for (namespace, status) in [("default", 503), ("bank", 404)] {
        let target = format!("/api/v1/services/discover?name=web&namespace={namespace}");
        let answer = app
            .send(app.request(reqwest::Method::GET, &target).bearer_auth(token("alice", Some(&["default"]), None)))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{namespace}");
    }
}
