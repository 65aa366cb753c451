//! Single requests: probing, history, actions.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Requests;
use super::read::{self, ReadError};
use crate::console::data::{Past, Probing};
use crate::console::source::{Act, Ask, News, Refusal};
use crate::model::text::escape;
use crate::model::value_error::json_sentence;

/// Longest sentence of a server that is passed on.
const LONGEST: usize = 600;
/// Largest answer about probing, in bytes: 4,096 instances with all their samples.
const MAX_PROBING: usize = 16 << 20;
/// Largest page of a history, in bytes: 100 entries.
const MAX_HISTORY: usize = 512 << 10;
/// Largest answer to an action, in bytes: a service of 256 instances with all that they may carry.
const MAX_ACTION: usize = 24 << 20;
/// Largest field of an instance that is repeated, in bytes: no registration has more in all.
const MAX_FIELD: usize = 128 << 10;
/// Largest refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

#[derive(Deserialize)]
struct Envelope<T> {
    /// A removal's answer has none.
    data: Option<T>,
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

/// A service as far as a registration of one of its instances repeats it, each field as it came.
#[derive(Deserialize)]
struct Registered {
    name: Box<RawValue>,
    namespace: Box<RawValue>,
    instances: Vec<RegisteredInstance>,
}

#[derive(Deserialize)]
struct RegisteredInstance {
    name: Box<str>,
    base_url: Option<Box<RawValue>>,
    health_url: Option<Box<RawValue>>,
    version: Option<Box<RawValue>>,
    description: Option<Box<RawValue>>,
    metadata: Option<Box<RawValue>>,
    zone: Option<Box<RawValue>>,
    check: Option<Box<RawValue>>,
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
    hint: String,
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
        let Ok(answer) = send::<Vec<ProbingOfService>>(requests, request, MAX_PROBING).await else { return };
        let asked = ids.clone();
        ids.retain(|id| !answer.left_out.contains(id));
        let data = answer.data.unwrap_or_default();
        let missing = ids.iter().filter(|id| !data.iter().any(|of| of.id == **id));
        let mut told: Vec<News> = missing.map(|id| News::Probing(*id, None)).collect();
        let answered = data.into_iter().filter(|of| asked.contains(&of.id)).take(asked.len());
        told.extend(answered.map(|of| News::Probing(of.id, Some(Box::new(of.probing)))));
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
    let answer = send::<Vec<Past>>(requests, request, MAX_HISTORY).await?;
    let more = answer.next_cursor.and_then(|next| next.parse().ok());
    Ok(News::History(id, answer.data.unwrap_or_default(), more))
}

async fn act(requests: &dyn Requests, act: &Act) -> Result<Box<str>, Refusal> {
    match act {
        Act::Check(id) => {
            let request = requests.request(Method::POST, &["services", &id.to_string(), "health-check"], &[]);
            let answer = send::<IgnoredAny>(requests, request, MAX_ACTION).await?;
            let results = answer.checks.iter().map(result);
            Ok(results.collect::<Vec<_>>().join("; ").into())
        }
        Act::Weight { service, instance, weight } => {
            let id = service.to_string();
            let request = requests.request(Method::GET, &["services", &id], &[]);
            let known = send::<Registered>(requests, request, MAX_ACTION).await?.data;
            let body = known.and_then(|known| registration(&known, instance, *weight)).ok_or_else(|| gone(instance))?;
            let request = requests.request(Method::POST, &["services", "register"], &[]);
            send::<IgnoredAny>(requests, request.map(|request| request.json(&body)), MAX_ACTION).await?;
            Ok(format!("weight {weight}").into())
        }
        Act::Deregister { service, instance, generation } => {
            let path = ["services", &service.to_string(), "instances", instance];
            let request = requests.request(Method::DELETE, &path, &[]);
            let request = request.map(|request| request.header("if-match", generation.to_string()));
            send::<IgnoredAny>(requests, request, MAX_ACTION).await?;
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
fn registration(service: &Registered, instance: &str, weight: u16) -> Option<Value> {
    let of = service.instances.iter().find(|known| &*known.name == instance)?;
    let read = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let mut body = json!({
        "name": read(&service.name),
        "namespace": read(&service.namespace),
        "instance": instance,
        "weight": weight,
    });
    let fields = [
        ("base_url", &of.base_url),
        ("health_url", &of.health_url),
        ("version", &of.version),
        ("description", &of.description),
        ("metadata", &of.metadata),
        ("zone", &of.zone),
        ("check", &of.check),
    ];
    for (field, raw) in fields {
        let value = raw.as_deref().filter(|raw| raw.get().len() <= MAX_FIELD).map(read).unwrap_or_default();
        if !value.is_null() && value != "" {
            body[field] = value;
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
    most: usize,
) -> Result<Envelope<T>, Refusal> {
    let plain = |message: String| Refusal { code: Box::default(), message: message.into() };
    let response = request.map_err(plain)?.send().await.map_err(|error| plain(said(requests, &error)))?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let bytes = read::whole(response, most).await.map_err(|error| match error {
        ReadError::Broken(error) => plain(said(requests, &error)),
        too_large @ ReadError::TooLarge(_) => plain(too_large.to_string()),
    })?;
    let strange = |error: &serde_json::Error| escape(&json_sentence(error), 200);
    serde_json::from_slice(&bytes).map_err(|error| plain(format!("an answer of another version ({})", strange(&error))))
}

/// What a refusal says, in the server's words.
pub(super) async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let said: Said = match read::whole(response, MAX_REFUSAL).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => Said::default(),
    };
    if said.error.is_empty() {
        let message = format!("the server answered {} in a form that is not Portolan's", status.as_u16());
        return Refusal { code: Box::default(), message: message.into() };
    }
    // The words for a token that does not do are the same for all; why is beside them.
    let message = if said.code.starts_with("token_") && !said.hint.is_empty() {
        format!("{}: {}", said.error, said.hint)
    } else {
        said.error
    };
    Refusal { code: escape(&said.code, 64).into(), message: escape(&message, LONGEST).into() }
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
