//! Single requests: probing, history, actions.

use std::io;
use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::ServerClient;
use super::read::{self, ReadError};
use crate::console::source::{Done, Operation, Refusal, Request, Showed, SourceEvent};
use crate::console::text::{format, reason};
use crate::model::check::ON_DEMAND_TIMEOUT;
use crate::model::outcome::Verdict;
use crate::model::text::escape;
use crate::model::value_error::json_sentence;
use crate::wire;
use crate::wire::{Checked, History, OneService};

/// Longest sentence of a server that is passed on.
const MAX_MESSAGE: usize = 600;
/// Largest answer about probing, in bytes: 4,096 instances with all their samples.
const MAX_PROBING: usize = 16 << 20;
/// Largest page of a history, in bytes: 100 entries.
const MAX_HISTORY: usize = 512 << 10;
/// Largest answer to an action, in bytes: a service of 256 instances with all that they may carry.
const MAX_OPERATION: usize = 24 << 20;
/// Largest refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// Answers one request, or says why there is no answer.
pub(super) async fn answer(client: Arc<dyn ServerClient>, request: Request, events: mpsc::Sender<SourceEvent>) {
    match request {
        Request::Probing(ids) => {
            if let Err(refusal) = probing(&*client, ids, &events).await {
                let _ = events.send(SourceEvent::NoProbing(refusal.message)).await;
            }
        }
        Request::History(id, before) => {
            let event = match history(&*client, id, before).await {
                Ok(event) => event,
                Err(refusal) if before.is_none() => SourceEvent::NoHistory(id, refusal.message),
                // An older page is requested again.
                Err(_) => return,
            };
            let _ = events.send(event).await;
        }
        Request::Operate(number, operation) => {
            let done = operate(&*client, &operation).await;
            let _ = events.send(SourceEvent::OperationDone(number, done)).await;
        }
        // The caller answers these.
        Request::Strips(_) | Request::Shares(_) | Request::Outages(_) | Request::Retry => {}
    }
}

/// Sends the probing of each service, or that there is none. What does not fit into one answer is requested again.
async fn probing(
    client: &dyn ServerClient,
    mut ids: Vec<Uuid>,
    events: &mpsc::Sender<SourceEvent>,
) -> Result<(), Refusal> {
    while !ids.is_empty() {
        let texts: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let query: Vec<(&str, &str)> = texts.iter().map(|id| ("id", id.as_str())).collect();
        let request = client.request(Method::GET, &["probes"], &query);
        let answer = send::<wire::Probing>(client, request, MAX_PROBING).await?;
        let requested = ids.clone();
        ids.retain(|id| !answer.left_out.contains(id));
        let data = answer.data;
        let missing = ids.iter().filter(|id| !data.iter().any(|of| of.id == **id));
        let mut sent: Vec<SourceEvent> = missing.map(|id| SourceEvent::Probing(*id, None)).collect();
        let answered = data.into_iter().filter(|of| requested.contains(&of.id)).take(requested.len());
        sent.extend(answered.map(|of| SourceEvent::Probing(of.id, Some(Box::new(of)))));
        for event in sent {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        let progress = !ids.is_empty();
        ids = if progress { answer.left_out } else { Vec::new() };
    }
    Ok(())
}

async fn history(client: &dyn ServerClient, id: Uuid, before: Option<i64>) -> Result<SourceEvent, Refusal> {
    let (id_text, before) = (id.to_string(), before.map(|before| before.to_string()));
    let mut query = vec![("limit", "100")];
    query.extend(before.as_deref().map(|before| ("cursor", before)));
    let request = client.request(Method::GET, &["services", &id_text, "history"], &query);
    let answer = send::<History>(client, request, MAX_HISTORY).await?;
    let more = answer.next_cursor.and_then(|next| next.parse().ok());
    Ok(SourceEvent::History(id, answer.data, more))
}

async fn operate(client: &dyn ServerClient, operation: &Operation) -> Result<Done, Refusal> {
    match operation {
        Operation::Observe(id) | Operation::Check(id) => {
            let observe = matches!(operation, Operation::Observe(_));
            let query: &[(&str, &str)] = if observe { &[("observe", "true")] } else { &[] };
            let request = client.request(Method::POST, &["services", &id.to_string(), "health-check"], query);
            let request = request.map(|request| request.timeout(ON_DEMAND_TIMEOUT));
            let answer = send::<OneService>(client, request, MAX_OPERATION).await?;
            let results = answer.checks.iter().flatten();
            let failed = |checked: &&Checked| checked.outcome.as_ref().is_some_and(|of| of.verdict != Verdict::Pass);
            let showed = if results.clone().any(|checked| failed(&checked)) {
                Showed::Fault
            } else if results.clone().all(|checked| checked.outcome.is_none()) {
                Showed::NoCheck
            } else {
                Showed::Well
            };
            Ok(Done { how: results.map(result).collect::<Vec<_>>().join("; ").into(), showed })
        }
        Operation::Drain { service, instance, reason } => {
            let path = ["services", &service.to_string(), "instances", instance, "drain"];
            let request = client.request(Method::PUT, &path, &[]);
            let request = request.map(|request| request.json(&serde_json::json!({"reason": reason})));
            send::<IgnoredAny>(client, request, MAX_OPERATION).await?;
            Ok("drained".into())
        }
        Operation::Undrain { service, instance } => {
            let path = ["services", &service.to_string(), "instances", instance, "drain"];
            send::<IgnoredAny>(client, client.request(Method::DELETE, &path, &[]), MAX_OPERATION).await?;
            Ok("undrained".into())
        }
        Operation::Acknowledge { service, instance, note, seconds } => {
            let mut body = serde_json::json!({"note": note});
            if let Some(seconds) = seconds {
                body["for_seconds"] = (*seconds).into();
            }
            let request = acknowledgement(client, Method::PUT, service, instance.as_deref());
            send::<IgnoredAny>(client, request.map(|request| request.json(&body)), MAX_OPERATION).await?;
            Ok("acknowledged".into())
        }
        Operation::Unacknowledge { service, instance } => {
            let request = acknowledgement(client, Method::DELETE, service, instance.as_deref());
            send::<IgnoredAny>(client, request, MAX_OPERATION).await?;
            Ok("no longer acknowledged".into())
        }
        Operation::Deregister { service, instance, generation } => {
            let path = ["services", &service.to_string(), "instances", instance];
            let request = client.request(Method::DELETE, &path, &[]);
            let request = request.map(|request| request.header("if-match", generation.to_string()));
            send::<IgnoredAny>(client, request, MAX_OPERATION).await?;
            Ok("gone".into())
        }
    }
}

fn acknowledgement(
    client: &dyn ServerClient,
    method: Method,
    service: &Uuid,
    instance: Option<&str>,
) -> Result<RequestBuilder, String> {
    let query: Vec<_> = instance.iter().map(|name| ("instance", *name)).collect();
    client.request(method, &["services", &service.to_string(), "acknowledgement"], &query)
}

/// `a: passed, 200 in 3.41 ms`, `b: nothing listens on 10.0.0.5:80`.
fn result(checked: &Checked) -> String {
    let Some(outcome) = &checked.outcome else { return format!("{} is not checked", checked.instance) };
    let held = if checked.held { ", held as flapping" } else { "" };
    if outcome.verdict == Verdict::Pass {
        let answered = outcome.code.map_or_else(String::new, |code| format!(", {}", reason::code(code, true)));
        let took = outcome.timings.map_or_else(String::new, |of| format!(" in {}", format::millis(of.total_us())));
        return format!("{}: passed{answered}{took}{held}", checked.instance);
    }
    format!("{}: {}{held}", checked.instance, reason::cause(outcome))
}

pub(super) async fn send<T: DeserializeOwned>(
    client: &dyn ServerClient,
    request: Result<RequestBuilder, String>,
    most: usize,
) -> Result<T, Refusal> {
    let plain = |message: String| Refusal { code: Box::default(), message: message.into() };
    let response = request.map_err(plain)?.send().await.map_err(|error| plain(describe(client, &error)))?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let bytes = read::whole(response, most).await.map_err(|error| match error {
        ReadError::Broken(error) => plain(describe(client, &error)),
        too_much => plain(too_much.to_string()),
    })?;
    let strange = |error: &serde_json::Error| escape(&json_sentence(error), 200);
    serde_json::from_slice(&bytes)
        .map_err(|error| plain(format!("the answer is from another version of Portolan ({})", strange(&error))))
}

/// A refusal, in the server's words, or with what this client can do about it.
pub(super) async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let again = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
    let refusal: wire::Refusal = match read::whole(response, MAX_REFUSAL).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => wire::Refusal::default(),
    };
    if refusal.error.is_empty() {
        let message = format!("the server answered {} in a form that is not Portolan's", status.as_u16());
        return Refusal { code: Box::default(), message: message.into() };
    }
    let again = again.map_or_else(String::new, |s| format!("; again in {s} s"));
    let message = match &*refusal.code {
        "token_required" => "the server wants a token: PORTOLAN_TOKEN or --token-file".to_owned(),
        "rate_limited" => format!("too many requests{again}"),
        "probe_budget" => format!("too many probes of this address{again}"),
        // The error of every rejected token is the same; the hint says why.
        code => match refusal.hint.filter(|hint| code.starts_with("token_") && !hint.is_empty()) {
            Some(hint) => format!("{}: {hint}", refusal.error),
            None => refusal.error,
        },
    };
    Refusal { code: escape(&refusal.code, 64).into(), message: escape(&message, MAX_MESSAGE).into() }
}

/// Why the server cannot be reached: what the client knows, else what its system says.
pub(super) fn describe(client: &dyn ServerClient, error: &reqwest::Error) -> String {
    if let Some(known) = client.connection_error(error) {
        return known;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let location = client.location();
    let at = location.strip_prefix("server ").unwrap_or(&location);
    if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        return format!("no server: nothing listens on {at}. `portolan serve` starts one; --server names another");
    }
    let what = if error.is_timeout() { "no answer in time" } else { "no server" };
    format!("{what}: {at} cannot be reached ({})", escape(&cause.to_string(), 200))
}
