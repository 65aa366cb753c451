//! Replicas as pods run them: the program itself, with a ServiceAccount's rights.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use control_plane::{Guarded, Kubeconfig};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::sync::replica::until;

/// How a replica is started.
pub(crate) struct Setup<'a> {
    pub(crate) name: &'a str,
    /// Its account, and how it reaches the API server.
    pub(crate) account: &'a Kubeconfig,
    /// Its own, and the only one that it watches.
    pub(crate) namespace: &'a str,
    /// The folder of its mirror and its log; kept across starts.
    pub(crate) folder: PathBuf,
}

/// A running replica; killed when it is dropped.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) url: String,
    namespace: String,
    log: PathBuf,
    process: Guarded,
    client: Client,
}

impl Setup<'_> {
    /// Starts it and waits until it listens, ready or not.
    pub(crate) async fn start(self) -> Replica {
        let log = self.folder.join(format!("{}.log", self.name));
        let before = std::fs::metadata(&log).map_or(0, |log| log.len());
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command
            .arg("serve")
            .env("KUBECONFIG", self.account.path())
            .env("PORTOLAN_MODE", "cluster")
            .env("PORTOLAN_WATCH_NAMESPACES", self.namespace)
            .env("PORTOLAN_BIND_ADDRESS", "127.0.0.1")
            .env("SERVER_PORT", "0")
            .env("DB_PATH", self.folder.join(format!("{}.db", self.name)))
            .env("PORTOLAN_PROBE_ALLOW", "127.0.0.0/8")
            .env("POD_NAME", self.name)
            .env("POD_NAMESPACE", self.namespace)
            .env("POD_IP", "127.0.0.1");
        let mut process = Guarded::start(&command, &log).expect("it starts");
        let mut url = None;
        until(&format!("{} listens", self.name), async || {
            let bytes = std::fs::read(&log).expect("a log");
            let text = String::from_utf8_lossy(&bytes[usize::try_from(before).expect("it fits")..]).into_owned();
            assert!(!process.has_ended(), "it ended: {text}");
            url = text.split("listening on ").nth(1).and_then(|rest| Some(rest.split_whitespace().next()?.to_owned()));
            url.is_some()
        })
        .await;
        let client =
            portolan::crypto::http_client().no_proxy().timeout(Duration::from_mins(2)).build().expect("a client");
        Replica {
            name: self.name.to_owned(),
            url: url.expect("found"),
            namespace: self.namespace.to_owned(),
            log,
            process,
            client,
        }
    }
}

impl Replica {
    fn request(&self, method: Method, target: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{target}", self.url))
    }

    /// Status, `Portolan-Stale-Seconds`, and the answer.
    pub(crate) async fn get(&self, target: &str) -> (StatusCode, Option<u64>, Value) {
        let sent = self.request(Method::GET, target).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("no answer: {error}; its log:\n{}", self.log()));
        let stale = answer.headers().get("portolan-stale-seconds").map(|value| value.to_str().expect("ASCII"));
        let stale = stale.map(|text| text.parse().expect("seconds"));
        let (status, text) = (answer.status(), answer.text().await.expect("a whole answer"));
        (status, stale, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The service from discovery, without what only the leader knows; null if it is not found.
    pub(crate) async fn service(&self, name: &str) -> Value {
        let (status, _, mut answer) = self.get(&self.target(name)).await;
        assert!(status == 200 || status == 404, "{answer}");
        let mut service = answer["data"].take();
        if let Some(fields) = service.as_object_mut() {
            fields.remove("last_health_check");
        }
        service
    }

    /// Where discovery of a service is.
    pub(crate) fn target(&self, name: &str) -> String {
        format!("/api/v1/services/discover?namespace={}&name={name}", self.namespace)
    }

    /// Names of the services that it knows.
    pub(crate) async fn names(&self) -> Vec<String> {
        let (status, _, answer) = self.get(&format!("/api/v1/services?namespace={}&limit=1000", self.namespace)).await;
        assert_eq!(status, 200, "{answer}");
        let all = answer["data"].as_array().expect("a list").iter();
        all.map(|service| service["name"].as_str().expect("a name").to_owned()).collect()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/readyz").await.0 == 200
    }

    pub(crate) async fn until_ready(&self) {
        until(&format!("{} is ready", self.name), async || self.is_ready().await).await;
    }

    pub(crate) async fn register(&self, service: &str, url: &str) -> StatusCode {
        let body = json!({ "name": service, "instance": "a", "base_url": url, "namespace": self.namespace, "check": { "tcp": {}, "interval_seconds": 1 } });
        let answer = self.request(Method::POST, "/api/v1/services/register").json(&body).send().await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}; its log:\n{}", self.log())).status()
    }

    /// Registers an instance that reports of itself, and leaves a minute after its lease of three seconds expired. Returns the service's id.
    pub(crate) async fn register_program(&self, service: &str, instance: &str) -> String {
        let body = json!({
            "name": service, "instance": instance, "base_url": format!("http://{instance}.test"), "namespace": self.namespace,
            "ttl_seconds": 3, "deregister_after_seconds": 60,
        });
        let answer = self.request(Method::POST, "/api/v1/services/register").json(&body).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        answer["data"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Renews the lease of an instance.
    pub(crate) async fn beat(&self, service: &str, instance: &str) -> StatusCode {
        let target = format!("/api/v1/services/{service}/instances/{instance}/heartbeat");
        self.request(Method::PUT, &target).send().await.expect("an answer").status()
    }

    /// Acknowledges what fails of a service.
    pub(crate) async fn acknowledge(&self, service: &str, body: &Value) -> (StatusCode, Value) {
        let target = self.acknowledgement(service).await;
        let answer = self.request(Method::PUT, &target).json(body).send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Withdraws that.
    pub(crate) async fn withdraw(&self, service: &str) -> StatusCode {
        let target = self.acknowledgement(service).await;
        self.request(Method::DELETE, &target).send().await.expect("an answer").status()
    }

    async fn acknowledgement(&self, service: &str) -> String {
        let service = self.service(service).await;
        format!("/api/v1/services/{}/acknowledgement", service["id"].as_str().expect("an id"))
    }

    /// What its history says of a service, newest first.
    pub(crate) async fn history(&self, service: &str) -> Vec<String> {
        let service = self.service(service).await;
        let target = format!("/api/v1/services/{}/history", service["id"].as_str().expect("an id"));
        let (_, _, answer) = self.get(&target).await;
        let entries = answer["data"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    pub(crate) fn pause(&self) {
        self.process.pause().expect("SIGSTOP");
    }

    pub(crate) fn resume(&self) {
        self.process.resume().expect("SIGCONT");
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("SIGKILL");
    }

    /// Sends SIGTERM, and waits for a clean end.
    pub(crate) async fn stop(mut self) {
        self.process.terminate().expect("SIGTERM");
        until(&format!("{} ends", self.name), async || self.process.has_ended()).await;
        let log = self.log();
        assert!(log.trim_end().ends_with("stopped"), "{log}");
    }

    pub(crate) fn runs(&mut self) -> bool {
        !self.process.has_ended()
    }
}
