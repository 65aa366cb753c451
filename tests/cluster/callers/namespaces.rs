//! What a ServiceAccount may do, in its own namespace and in others.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Stage, heartbeat, id, outcome, reason, register, registration};
use crate::leading::pod::Pod;
use crate::sync::replica::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_registers_discovers_and_removes_what_is_its_own() {
    let stage = Stage::new().await;
    let mut audit = stage.plane.audit().expect("an audit log");
    let (pod, token) = (stage.pod("portolan-0", &[]).await, stage.projected().await);
    let registered = register(&pod, &token, &registration(&stage.shop, "users")).await;
    let id = id(&registered);
    let owner = &stage.service(&stage.shop, "users").await["spec"]["instances"][0]["owner"];
    let subject = format!("system:serviceaccount:{}:api", stage.shop);
    assert_eq!(*owner, json!({"issuer": "kubernetes", "subject": subject}));
    let discover = format!("/api/v1/services/discover?name=users&namespace={}", stage.shop);
    assert_eq!(pod.send_as(&token, Method::GET, &discover, &Value::Null).await.status, 200);
    let beat = heartbeat(&pod, &token, &id).await;
    assert_eq!(beat.status, 200, "{}", beat.text);
    let history = format!("/api/v1/services/{id}/history");
    until("it sees its history, with evidence", async || {
        let answer = pod.send_as(&token, Method::GET, &history, &Value::Null).await;
        answer.status == 200 && answer.text.contains("\"evidence\"")
    })
    .await;

    // The same account with a new token is the same owner, and another account is not.
    let newer = stage.projected().await;
    assert_eq!(register(&pod, &newer, &registration(&stage.shop, "users")).await.status, 200);
    let kubectl = stage.plane.kubectl();
    kubectl.run(&["create", "serviceaccount", "other", "-n", &stage.shop]).await.expect("created");
    let args = ["create", "token", "other", "-n", &stage.shop, "--audience=portolan"];
    let other = kubectl.run(&args).await.expect("a token").trim().to_owned();
    let mut moved = registration(&stage.shop, "users");
    moved["base_url"] = json!("http://10.0.0.6:80");
    assert_eq!(outcome(&register(&pod, &other, &moved).await), (403, "not_owner".to_owned()));
    assert_eq!(outcome(&heartbeat(&pod, &other, &id).await), (403, "not_owner".to_owned()));
    let removed = pod.send_as(&token, Method::DELETE, &format!("/api/v1/services/{id}"), &Value::Null).await;
    assert_eq!(removed.status, 200, "{}", removed.text);

    let user = format!("system:serviceaccount:{}:portolan", stage.own);
    let mine: Vec<_> = audit.requests().await.expect("requests").into_iter().filter(|r| r.user == user).collect();
    let refused: Vec<_> = mine.iter().filter(|r| r.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(mine.iter().any(|r| r.resource == "tokenreviews.authentication.k8s.io" && r.code == 201), "{mine:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_is_closed_until_a_role_binding_opens_it() {
    let stage = Stage::new().await;
    let (pod, token) = (stage.pod("portolan-0", &[]).await, stage.projected().await);
    let elsewhere = registration(&stage.own, "users");
    let refused = register(&pod, &token, &elsewhere).await;
    assert_eq!(outcome(&refused), (403, "namespace_forbidden".to_owned()), "{}", refused.text);
    assert!(reason(&refused).contains(&format!("--serviceaccount={}:api", stage.shop)), "{}", refused.text);
    stage.bind_writer().await;
    until("the binding counts", async || register(&pod, &token, &elsewhere).await.status == 200).await;
    let id = id(&register(&pod, &token, &elsewhere).await);
    assert_eq!(heartbeat(&pod, &token, &id).await.status, 200);
    let drain = format!("/api/v1/services/{id}/instances/a/drain");
    let drained = pod.send_as(&token, Method::PUT, &drain, &json!({"reason": "kernel"})).await;
    assert_eq!(drained.status, 200, "{}", drained.text);
    stage.plane.kubectl().run(&["delete", "rolebinding", "api", "-n", &stage.own]).await.expect("unbound");
    let by_name = format!("/api/v1/services/deregister?name=users&namespace={}", stage.own);
    until("the binding counts no more", async || {
        // The drain stays, so this is not a removal too early.
        let refused = pod.send_as(&token, Method::PUT, &drain, &json!({"reason": "kernel"})).await;
        outcome(&refused) == (403, "namespace_forbidden".to_owned())
    })
    .await;
    let refused = pod.send_as(&token, Method::DELETE, &by_name, &Value::Null).await;
    assert_eq!(outcome(&refused), (403, "namespace_forbidden".to_owned()), "{}", refused.text);
}

async fn listed(pod: &Pod, token: &str, namespace: &str) -> Vec<String> {
    let target = format!("/api/v1/services?namespace={namespace}");
    let answer = pod.send_as(token, Method::GET, &target, &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let services = answer.json()["data"].as_array().expect("a list").clone();
    let mut names: Vec<_> = services.iter().map(|it| it["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_reads_show_the_own_namespace_and_what_rbac_lets_the_account_list() {
    let stage = Stage::new().await;
    let settings = [("PORTOLAN_READ_AUTH", "true"), ("PORTOLAN_DEFAULT_NAMESPACE", stage.shop.as_str())];
    let pod = stage.pod("portolan-0", &settings).await;
    let token = stage.projected().await;
    for (namespace, name) in [(&stage.own, "theirs"), (&stage.shop, "mine")] {
        let service = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"instances": [{"name": "a", "baseUrl": "http://10.0.0.5:80"}]},
        });
        stage.plane.kubectl().apply(&service.to_string()).await.expect("applied");
    }
    assert_eq!(pod.get("/api/v1/services").await.status, 401, "closed");
    until("it is served", async || listed(&pod, &token, &stage.shop).await == ["mine"]).await;
    assert_eq!(listed(&pod, &token, "*").await, ["mine"]);
    assert_eq!(listed(&pod, &token, &stage.own).await, [""; 0]);
    let uid = async |namespace: &str, name: &str| {
        stage.service(namespace, name).await["metadata"]["uid"].as_str().expect("a uid").to_owned()
    };
    let (theirs, mine) = (uid(&stage.own, "theirs").await, uid(&stage.shop, "mine").await);
    let by_id = format!("/api/v1/services/{theirs}");
    assert_eq!(pod.send_as(&token, Method::GET, &by_id, &Value::Null).await.status, 404);
    let available = async |ids: &[&str]| {
        let target = format!("/api/v1/availability?id={}", ids.join("&id="));
        let answer = pod.send_as(&token, Method::GET, &target, &Value::Null).await;
        let answer: Value = serde_json::from_str(&answer.text).expect("JSON");
        answer["data"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((available(&[&theirs]).await, available(&[&theirs, &mine]).await), (0, 1));
    let metrics = async |query: &str| {
        let answer = pod.send_as(&token, Method::GET, &format!("/metrics{query}"), &Value::Null).await;
        (answer.status.as_u16(), answer.text)
    };
    for query in ["", &format!("?namespace={}", stage.shop)] {
        let (status, text) = metrics(query).await;
        let allows =
            format!("kubectl create clusterrolebinding portolan-{}-api --clusterrole=portolan-viewer", stage.shop);
        assert!(status == 403 && text.contains("insufficient_scope") && text.contains(&allows), "{status} {text}");
    }

    stage.bind_writer().await;
    until("the binding counts", async || listed(&pod, &token, &stage.own).await == ["theirs"]).await;
    assert_eq!(pod.send_as(&token, Method::GET, &by_id, &Value::Null).await.status, 200);
    assert_eq!((available(&[&theirs]).await, available(&[&theirs, &mine]).await), (1, 2));
    assert_eq!(listed(&pod, &token, "*").await, ["mine"], "a right to list everything is another one");
    assert_eq!(metrics(&format!("?namespace={}", stage.own)).await.0, 403, "they name every service");
    let role = format!("--clusterrole=portolan-writer-{}", stage.own);
    let (name, account) = (format!("api-{}", stage.shop), format!("--serviceaccount={}:api", stage.shop));
    let everywhere = ["create", "clusterrolebinding", &name, &role, &account];
    stage.plane.kubectl().run(&everywhere).await.expect("bound");
    until("it may list everything", async || listed(&pod, &token, "*").await == ["mine", "theirs"]).await;
    let (status, text) = metrics("").await;
    assert!(status == 200 && text.contains("portolan_service_instances"), "{status} {text}");
    stage.plane.kubectl().run(&["delete", "clusterrolebinding", &name]).await.expect("unbound");
}
