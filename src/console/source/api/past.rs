//! How available services were, and their outages.

use std::sync::Arc;

use reqwest::Method;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::requests::send;
use super::{Reach, ServerClient};
use crate::console::availability::{COLUMN_WINDOW, Subject};
use crate::console::data::Availability;
use crate::console::outage::{KEPT_OUTAGES, OutageList};
use crate::console::source::{Refusal, SourceEvent};
use crate::console::window::Window;
use crate::wire::{self, Code, ManyAvailabilities, OneAvailability};

/// Largest answer about one service, in bytes: 50 outages with 16 names each.
const MAX_STRIPS: usize = 256 << 10;
/// Largest answer about many services, in bytes: 100 of them without outages.
const MAX_SHARES: usize = 512 << 10;
/// Largest page of outages, in bytes: 500 with 16 names each.
const MAX_OUTAGES: usize = 2 << 20;
/// Outages of one page.
const PAGE: &str = "500";
/// Most pages of one request.
const MAX_PAGES: usize = KEPT_OUTAGES / 500;

/// Answers [`Request::Strips`](crate::console::source::Request::Strips): a call for each window.
pub(super) async fn strips(client: Arc<dyn ServerClient>, subject: Subject, events: mpsc::Sender<SourceEvent>) {
    let answer = all_strips(&*client, &subject).await.map_err(words);
    let _ = events.send(SourceEvent::Strips(subject, answer)).await;
}

async fn all_strips(
    client: &dyn ServerClient,
    (id, instance): &Subject,
) -> Result<Vec<(Window, Availability)>, Refusal> {
    let mut all = Vec::with_capacity(Window::ALL.len());
    for window in Window::ALL {
        let cells = window.cells().to_string();
        let mut query = vec![("window", window.as_str()), ("cells", cells.as_str())];
        query.extend(instance.as_deref().map(|name| ("instance", name)));
        let request = client.request(Method::GET, &["services", &id.to_string(), "availability"], &query);
        all.push((window, send::<OneAvailability>(client, request, MAX_STRIPS).await?.data));
    }
    Ok(all)
}

/// Answers [`Request::Shares`](crate::console::source::Request::Shares) by one call.
pub(super) async fn shares(client: Arc<dyn ServerClient>, ids: Vec<Uuid>, events: mpsc::Sender<SourceEvent>) {
    let texts: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let mut query = vec![("window", COLUMN_WINDOW.as_str())];
    query.extend(texts.iter().map(|id| ("id", id.as_str())));
    let request = client.request(Method::GET, &["availability"], &query);
    let answer =
        send::<ManyAvailabilities>(&*client, request, MAX_SHARES).await.map(|answer| answer.data).map_err(words);
    let _ = events.send(SourceEvent::Shares(ids, answer)).await;
}

/// Answers [`Request::Outages`](crate::console::source::Request::Outages), page by page.
pub(super) async fn outages(
    client: Arc<dyn ServerClient>,
    reach: Reach,
    window: Window,
    events: mpsc::Sender<SourceEvent>,
) {
    let answer = all_outages(&*client, &reach, window).await.map_err(words);
    let _ = events.send(SourceEvent::Outages(window, answer)).await;
}

async fn all_outages(client: &dyn ServerClient, reach: &Reach, window: Window) -> Result<OutageList, Refusal> {
    let mut list = OutageList::default();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut query: Vec<(&str, &str)> = reach.namespace().map(|name| ("namespace", name)).into_iter().collect();
        query.extend([("window", window.as_str()), ("limit", PAGE)]);
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let request = client.request(Method::GET, &["outages"], &query);
        let page = send::<wire::Outages>(client, request, MAX_OUTAGES).await?;
        list.outages.extend(page.data);
        list.since = Some(page.since);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    list.more = cursor.is_some();
    Ok(list)
}

/// What a refusal means here: an older server has no such path.
fn words(refusal: Refusal) -> Box<str> {
    if *refusal.code == *Code::UnknownRoute.as_str() {
        return "this server is older than the console and does not record it".into();
    }
    refusal.message
}
