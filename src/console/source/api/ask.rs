//! Single requests: probing, history, actions.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Requests;
use crate::console::data::{Past, Probing};
use crate::console::source::{Act, Ask, News, Refusal};
use crate::model::text::escape;

/// Longest sentence of a server that is passed on.
const LONGEST: usize = 600;

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    checks: Vec<Check>,
    #[serde(default)]
    left_out: Vec<Uuid>,
}

#[derive(Deserialize)]
struct Check {
    instance: String,
    #[serde(default)]
    outcome: Option<CheckOutcome>,
    #[serde(default)]
    held: bool,
}

#[derive(Deserialize)]
struct CheckOutcome {
    verdict: String,
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct ProbingOfService {
    id: Uuid,
    #[serde(flatten)]
    probing: Probing,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    error: String,
    code: String,
}

/// Answers one question. What cannot be told now is asked again by the console; only an action's end must be told.
pub(super) async fn answer(requests: Arc<dyn Requests>, ask: Ask, news: mpsc::Sender<News>) {
    match ask {
        Ask::Probing(ids) => probing(&*requests, ids, &news).await,
        Ask::History(id, before) => {
            if let Ok(told) = history(&*requests, id, before).await {
                let _ = news.send(told).await;
            }
        }
        Ask::Act(number, act) => {
            let done = self::act(&*requests, &act).await;
            let _ = news.send(News::Done(number, done)).await;
        }
        Ask::Retry => {}
    }
}

/// Tells of each, or that there is nothing to tell. What one answer has no room for is asked for again.
async fn probing(requests: &dyn Requests, mut ids: Vec<Uuid>, news: &mpsc::Sender<News>) {
    while !ids.is_empty() {
        let texts: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let query: Vec<(&str, &str)> = texts.iter().map(|id| ("id", id.as_str())).collect();
        let request = requests.request(Method::GET, &["probes"], &query);
        let Ok(answer) = send::<Vec<ProbingOfService>>(requests, request).await else { return };
        ids.retain(|id| !answer.left_out.contains(id));
        let missing = ids.iter().filter(|id| !answer.data.iter().any(|of| of.id == **id));
        let mut told: Vec<News> = missing.map(|id| News::Probing(*id, None)).collect();
        told.extend(answer.data.into_iter().map(|of| News::Probing(of.id, Some(Box::new(of.probing)))));
        for told in told {
            if news.send(told).await.is_err() {
                return;
            }
        }
        let progress = !ids.is_empty();
        ids = if progress { answer.left_out } else { Vec::new() };
    }
}

async fn history(requests: &dyn Requests, id: Uuid, before: Option<i64>) -> Result<News, Refusal> {
    let (id_text, before) = (id.to_string(), before.map(|before| before.to_string()));
    let mut query = vec![("limit", "100")];
    query.extend(before.as_deref().map(|before| ("cursor", before)));
    let request = requests.request(Method::GET, &["services", &id_text, "history"], &query);
    let answer = send::<Vec<Past>>(requests, request).await?;
    let more = answer.next_cursor.and_then(|next| next.parse().ok());
    Ok(News::History(id, answer.data, more))
}

async fn act(requests: &dyn Requests, act: &Act) -> Result<Box<str>, Refusal> {
    match act {
        Act::Check(id) => {
            let request = requests.request(Method::POST, &["services", &id.to_string(), "health-check"], &[]);
            let answer = send::<Value>(requests, request).await?;
            let results = answer.checks.iter().map(result);
            Ok(results.collect::<Vec<_>>().join("; ").into())
        }
        Act::Weight { service, instance, weight } => {
            let id = service.to_string();
            let known = send::<Value>(requests, requests.request(Method::GET, &["services", &id], &[])).await?.data;
            let body = registration(&known, instance, *weight).ok_or_else(|| gone(instance))?;
            let request = requests.request(Method::POST, &["services", "register"], &[]);
            send::<Value>(requests, request.map(|request| request.json(&body))).await?;
            Ok(format!("weight {weight}").into())
        }
        Act::Deregister { service, instance, generation } => {
            let path = ["services", &service.to_string(), "instances", instance];
            let request = requests.request(Method::DELETE, &path, &[]);
            send::<Option<Value>>(requests, request.map(|request| request.header("if-match", generation.to_string())))
                .await?;
            Ok("gone".into())
        }
    }
}

fn result(check: &Check) -> String {
    let Some(outcome) = &check.outcome else { return format!("{} has no check", check.instance) };
    let held = if check.held { ", held for flapping" } else { "" };
    let message = if outcome.message.is_empty() { String::new() } else { format!(" ({})", outcome.message) };
    format!("{} {} {}{message}{held}", check.instance, outcome.verdict, outcome.reason)
}

/// The instance as it is registered, with another weight: what is not named would be reset.
fn registration(service: &Value, instance: &str, weight: u16) -> Option<Value> {
    let of = service["instances"].as_array()?.iter().find(|i| i["name"] == instance)?;
    let mut body = json!({
        "name": service["name"],
        "namespace": service["namespace"],
        "instance": instance,
        "weight": weight,
    });
    for field in ["base_url", "health_url", "version", "description", "metadata", "zone", "check"] {
        let value = &of[field];
        if !value.is_null() && value != "" {
            body[field] = value.clone();
        }
    }
    Some(body)
}

fn gone(instance: &str) -> Refusal {
    Refusal { code: "instance_not_found".into(), message: format!("instance {instance} is gone").into() }
}

async fn send<T: DeserializeOwned>(
    requests: &dyn Requests,
    request: Result<RequestBuilder, String>,
) -> Result<Envelope<T>, Refusal> {
    let plain = |message: String| Refusal { code: Box::default(), message: message.into() };
    let response = request.map_err(plain)?.send().await.map_err(|error| plain(said(requests, &error)))?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let bytes = response.bytes().await.map_err(|error| plain(said(requests, &error)))?;
    let data = |error: serde_json::Error| plain(format!("an answer of another version: {error}"));
    // A removal's answer has no data.
    let mut value: Value = serde_json::from_slice(&bytes).map_err(data)?;
    if let Some(map) = value.as_object_mut() {
        map.entry("data").or_insert(Value::Null);
    }
    serde_json::from_value(value).map_err(data)
}

/// What a refusal says, in the server's words.
pub(super) async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let said: Said = match response.bytes().await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => Said::default(),
    };
    if said.error.is_empty() {
        let message = format!("the server answered {} in a form that is not Portolan's", status.as_u16());
        return Refusal { code: Box::default(), message: message.into() };
    }
    Refusal { code: escape(&said.code, 64).into(), message: escape(&said.error, LONGEST).into() }
}

/// An error of the way there: what is known of it, else its innermost cause, which says the most.
pub(super) fn said(requests: &dyn Requests, error: &reqwest::Error) -> String {
    if let Some(known) = requests.trouble().filter(|_| !error.is_timeout()) {
        return known;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_timeout() { "no answer in time" } else { "the server cannot be reached" };
    format!("{what}: {}", escape(&cause.to_string(), 200))
}
