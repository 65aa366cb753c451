//! The program as a pod runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use control_plane::{Guarded, Kubeconfig};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::AMPLE;

/// A running replica with auth off, on loopback.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) process: Guarded,
    pub(crate) url: String,
    log: PathBuf,
    client: reqwest::Client,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

impl Pod {
    /// Starts it in `namespace`, with its file and log in `folder`, and waits until it listens.
    pub(crate) async fn start(folder: &Path, kubeconfig: &Kubeconfig, namespace: &str, name: &str) -> Self {
        Self::start_with(folder, kubeconfig, namespace, name, &[]).await
    }

    /// The same with additional settings, which override others.
    pub(crate) async fn start_with(
        folder: &Path,
        kubeconfig: &Kubeconfig,
        namespace: &str,
        name: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        // The log of an earlier start would be mistaken for its own.
        drop(std::fs::remove_file(&log));
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.env_clear().args(["serve", "--mode", "cluster"]);
        for (variable, value) in [
            ("SERVER_PORT", "0"),
            ("HEALTH_CHECK_INTERVAL", "1"),
            ("PORTOLAN_PROBE_ALLOW", "127.0.0.0/8"),
            ("PORTOLAN_WATCH_NAMESPACES", namespace),
            ("POD_NAMESPACE", namespace),
            ("POD_NAME", name),
            ("LOG_LEVEL", "info,portolan::operator=debug"),
        ] {
            command.env(variable, value);
        }
        command.envs(settings.iter().copied());
        command.env("KUBECONFIG", kubeconfig.path()).env("DB_PATH", folder.join(format!("{name}.db")));
        let process = Guarded::start(&command, &log).expect("it starts");
        let client =
            portolan::crypto::http_client().no_proxy().timeout(Duration::from_mins(2)).build().expect("a client");
        let mut pod = Self { name: name.to_owned(), process, url: String::new(), log, client };
        pod.url = pod.listens().await;
        pod
    }

    /// The same pod, asked by another client.
    pub(crate) fn asked_by(self, client: reqwest::Client) -> Self {
        Self { client, ..self }
    }

    async fn listens(&mut self) -> String {
        let started = Instant::now();
        loop {
            let log = self.log();
            if let Some(rest) = log.split("listening on ").nth(1)
                && let Some((url, _)) = rest.split_once(char::is_whitespace)
            {
                return url.to_owned();
            }
            assert!(started.elapsed() < AMPLE && !self.process.has_ended(), "{}: {log}", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) async fn ask(&self, method: Method, target: &str) -> Answer {
        self.try_ask(method, target).await.unwrap_or_else(|error| panic!("{}: {error:?}\n{}", self.name, self.log()))
    }

    async fn try_ask(&self, method: Method, target: &str) -> reqwest::Result<Answer> {
        let answer = self.client.request(method, format!("{}{target}", self.url)).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(Answer { status, headers, text: answer.text().await? })
    }

    pub(crate) async fn register(&self, body: &Value) -> Answer {
        self.send(Method::POST, "/api/v1/services/register", body).await
    }

    /// With a body.
    pub(crate) async fn send(&self, method: Method, target: &str, body: &Value) -> Answer {
        self.answer(self.client.request(method, format!("{}{target}", self.url)).json(body)).await
    }

    /// With a token, and with a body unless that is null.
    pub(crate) async fn send_as(&self, token: &str, method: Method, target: &str, body: &Value) -> Answer {
        let request = self.client.request(method, format!("{}{target}", self.url)).bearer_auth(token);
        self.answer(if body.is_null() { request } else { request.json(body) }).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.expect("a body") }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target).await
    }

    /// Not while it goes over from waiting to serving, either.
    pub(crate) async fn is_ready(&self) -> bool {
        self.try_ask(Method::GET, "/readyz").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Who it says leads.
    pub(crate) async fn leader(&self) -> String {
        let text = self.get("/readyz?verbose").await.text;
        text.lines().find_map(|line| line.strip_prefix("[+] leader: ")).unwrap_or_default().to_owned()
    }

    pub(crate) async fn leads(&self) -> bool {
        self.leader().await.starts_with("this replica")
    }

    /// Its recent server events: the part, whether it is good, and the sentence.
    pub(crate) async fn server_events(&self) -> Vec<(String, bool, String)> {
        let mut watch = self.client.get(format!("{}/api/v1/watch", self.url)).send().await.expect("a watch");
        let mut text = String::new();
        let events: Vec<Value> = loop {
            let piece = watch.chunk().await.expect("a piece").expect("it goes on");
            text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
            let server = text.split_once("event: server\ndata: ").and_then(|(_, rest)| rest.split_once("\n\n"));
            if let Some((events, _)) = server {
                break serde_json::from_str(events).expect("JSON");
            }
        };
        let word = |event: &Value, field: &str| event[field].as_str().expect("a word").to_owned();
        events.iter().map(|event| (word(event, "part"), event["good"] == true, word(event, "message"))).collect()
    }

    /// Its newest server event about the leader.
    pub(crate) async fn leader_event(&self) -> String {
        let last = self.server_events().await.into_iter().rfind(|(part, ..)| part == "leader");
        last.map_or_else(String::new, |(_, _, message)| message)
    }

    /// The service of that name here, once it is found.
    pub(crate) async fn service(&self, name: &str) -> Option<Value> {
        let answer = self.get(&format!("/api/v1/services/discover?name={name}")).await;
        (answer.status == 200).then(|| answer.json()["data"].clone())
    }

    pub(crate) async fn health(&self, name: &str) -> String {
        let service = self.service(name).await;
        service.map_or_else(String::new, |service| service["status"].as_str().unwrap_or_default().to_owned())
    }
}
