//! `GET /api/v1/services`.

use std::future;
use std::sync::{Arc, OnceLock};

use http::Response;
use uuid::Uuid;

use super::request::RequestContext;
use super::{Answer, hints};
use crate::api::access::{NamespaceFilter, Namespaces, OwnersSeen, Principal};
use crate::api::http::body::Body;
use crate::api::http::envelope::ApiError;
use crate::api::http::page_cursor::{self, PageCursor};
use crate::api::http::{etag, reply, selection};
use crate::api::openapi::{labels, params, schemas};
use crate::api::watch::{AnswerCursor, CursorOf, LongPoll};
use crate::catalog::snapshot::Order;
use crate::catalog::{Batch, Entry, Snapshot};
use crate::model::name::ServiceKey;
use crate::model::selection::Selection;

const MESSAGE: &str = "Services retrieved successfully";
/// Largest page; without `limit`, all services are returned at once.
const MAX_LIMIT: usize = 1000;

struct ListQuery {
    namespaces: NamespaceFilter,
    selection: Selection,
    limit: Option<usize>,
    after: Option<Order>,
    poll: Option<LongPoll>,
}

/// Lists services, newest registration first. With `wait`, the answer waits until it differs from the one that `cursor` identifies: until
/// another service is listed, or one of them changes. There are no further pages then.
#[utoipa::path(
    get,
    operation_id = "list",
    tag = "discovery",
    path = "/api/v1/services",
    security((), ("token" = [])),
    params(
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
        params::Selection,
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "Most services of this page; all when absent"),
        ("cursor" = Option<String>, Query, pattern = "^([0-9a-fA-F]{48}|[0-9a-f]{16})$", description = "`next_cursor` of the previous page; with `wait`: `Portolan-Cursor` of the answer that you have"),
        ("wait" = Option<String>, Query, description = "How long to wait for a change at most, such as `30s`; `5m` at most. Without `cursor` the answer comes at once"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The services", body = schemas::ManyServices, headers(("ETag", description = "Changes whenever the catalog changes"), ("Portolan-Cursor", description = "With `wait`: identifies what the answer says"))),
        (status = 304, description = "Nothing changed"),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 401, description = "With `wait`: `token_expired` or `token_invalid`, which it became meanwhile", body = schemas::Refusal),
        (status = 429, description = "With `wait`: `too_many_watches`: the server or this client waits with as many requests as it may; `rate_limited`", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: in a cluster this replica does not know every service yet; `Retry-After` says when to ask again", body = schemas::Refusal),
    )
)]
pub(super) async fn list(request: &RequestContext<'_>) -> Answer {
    request.require_complete()?;
    let query = read(request)?;
    let Some(poll) = query.poll else { return Ok(answer(request, &query).0) };
    // As long as the request waits, the list is the one that the first comparison found.
    let listed = OnceLock::new();
    let compared = |snapshot: &Snapshot| {
        let (cursor, found) = cursor(request, snapshot, &query);
        listed.get_or_init(|| found);
        cursor
    };
    let concerns = |batch: &Batch| query.concerned(request.principal, listed.get().and_then(Option::as_ref), batch);
    request.wait(poll, compared, concerns, || Box::pin(future::pending())).await?;
    let (mut answer, snapshot) = answer(request, &query);
    cursor(request, &snapshot, &query).0.put(answer.headers_mut());
    Ok(answer)
}

impl ListQuery {
    /// Whether a commit may change the answer: by a service that was listed, or one that is to be listed now.
    fn concerned(&self, principal: &Principal, listed: Option<&Listed>, batch: &Batch) -> bool {
        let covers = |key: &ServiceKey| self.namespaces.covers(principal, key.namespace());
        let was_listed = |id: &Uuid| listed.is_none_or(|listed| listed.may_hold(id));
        let concerns = |entry: &Entry| {
            let service = entry.service();
            covers(&service.key) && (was_listed(&service.id) || selects(&self.selection, entry))
        };
        batch.upserts.iter().any(|entry| concerns(entry))
            || batch.removed.iter().any(|(key, id)| covers(key) && was_listed(id))
    }
}

/// The services of a list, in 256 bytes however many they are: one bit for each, which others may share.
#[derive(Debug, Default)]
struct Listed(Box<[u64; 32]>);

impl Listed {
    fn add(&mut self, id: &Uuid) {
        let (word, bit) = Self::place(id);
        self.0[word] |= bit;
    }

    /// False only for services that are not in the list.
    fn may_hold(&self, id: &Uuid) -> bool {
        let (word, bit) = Self::place(id);
        self.0[word] & bit != 0
    }

    /// By the end of an id, which is random in all versions.
    fn place(id: &Uuid) -> (usize, u64) {
        let [.., word, bit] = *id.as_bytes();
        (usize::from(word % 32), 1 << (bit % 64))
    }
}

/// Identifies the answer that a snapshot gives: the services in it, each as of its last change. With a selection, also which they are.
fn cursor(request: &RequestContext<'_>, snapshot: &Snapshot, query: &ListQuery) -> (AnswerCursor, Option<Listed>) {
    let mut cursor = CursorOf::default();
    let mut listed = (!query.selection.is_empty()).then(Listed::default);
    for entry in found(request, snapshot, query).take(query.limit.unwrap_or(usize::MAX)) {
        if let Some(listed) = &mut listed {
            listed.add(&entry.service().id);
        }
        cursor.bytes(entry.service().id.as_bytes());
        let owners = request.principal.sees_owners(entry.service().key.namespace());
        cursor.bytes(entry.tag(snapshot.epoch(), owners).as_bytes());
    }
    (cursor.finish(), listed)
}

/// The answer, and the snapshot that it shows.
fn answer(request: &RequestContext<'_>, query: &ListQuery) -> (Response<Body>, Arc<Snapshot>) {
    let pin = request.state.catalog.pin();
    let snapshot = request.state.catalog.snapshot();
    // A list that leaves out what this caller may not see has no tag: another caller's list would have the same.
    let tag = request.principal.reads_all().then(|| snapshot.tag(&owners_tag(request.principal)));
    if let Some(unchanged) = tag.as_ref().and_then(|tag| etag::not_modified(tag, &request.head.headers)) {
        return (unchanged, snapshot);
    }
    let (page, next) = page(request, &snapshot, query);
    let hint = if page.is_empty() && query.after.is_none() {
        hints::matches_elsewhere(&snapshot, request.principal, &query.namespaces, |entry| {
            selects(&query.selection, entry)
        })
    } else {
        None
    };
    let with_owners = |entry: Arc<Entry>| {
        let owners = request.principal.sees_owners(entry.service().key.namespace());
        (entry, owners)
    };
    let page = page.into_iter().map(with_owners).collect();
    let mut response = reply::list(MESSAGE, page, pin, next, hint);
    if let Some(tag) = tag {
        etag::put(&tag, &mut response);
    }
    (response, snapshot)
}

/// The end of the tag of a list that names owners which other callers do not see; of each set of namespaces another.
fn owners_tag(principal: &Principal) -> String {
    if !principal.guarded {
        return String::new();
    }
    match (principal.owners_seen(), &principal.namespaces) {
        (OwnersSeen::None, _) => String::new(),
        (OwnersSeen::Some, Namespaces::Only(list)) => {
            let mut named = CursorOf::default();
            list.iter().for_each(|namespace| named.bytes(namespace.as_bytes()));
            format!("~{}", named.finish())
        }
        (OwnersSeen::All | OwnersSeen::Some, _) => "~".to_owned(),
    }
}

fn read(request: &RequestContext<'_>) -> Result<ListQuery, ApiError> {
    let mut query = request.query_repeating(selection::TAG)?;
    let poll = LongPoll::take(&mut query)?;
    let list = ListQuery {
        poll,
        namespaces: NamespaceFilter::take(&mut query, &request.state.settings.default_namespace)?,
        selection: selection::take(&mut query)?,
        limit: query.limit(MAX_LIMIT)?,
        after: query.parse::<PageCursor>("cursor")?.map(|cursor| cursor.0),
    };
    let [status, version, zone, meta, tag, warning] = selection::PARAMETERS;
    query.end(&["namespace", status, version, zone, meta, tag, warning, "limit", "cursor", "wait"])?;
    Ok(list)
}

fn selects(selection: &Selection, entry: &Entry) -> bool {
    selection.is_empty() || selection.matches_service(entry.service())
}

/// The services that the query finds, from where its page begins.
fn found<'a>(
    request: &RequestContext<'_>,
    snapshot: &'a Snapshot,
    query: &ListQuery,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    snapshot.newest_first(query.after).filter(|entry| {
        query.namespaces.covers(request.principal, entry.service().key.namespace()) && selects(&query.selection, entry)
    })
}

/// The services of this page, and the cursor of the next one when there is one.
fn page(request: &RequestContext<'_>, snapshot: &Snapshot, query: &ListQuery) -> (Vec<Arc<Entry>>, Option<String>) {
    let found = found(request, snapshot, query);
    let Some(limit) = query.limit else { return (found.cloned().collect(), None) };
    let (page, next) = page_cursor::page(found, limit);
    (page.into_iter().cloned().collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::LastCheck;
    use crate::model::outcome::{Health, Reason};
    use crate::model::service::{Instance, InstanceSpec, Service};

    fn service(id: u128, health: Health) -> Arc<Entry> {
        let instance = Instance::sample("default", InstanceSpec::sample("http://h"), (health, Reason::Passed));
        let service = Service { id: Uuid::from_u128(id), ..Service::sample(&format!("s{id}"), vec![instance]) };
        Arc::new(Entry::new(service, LastCheck::default()))
    }

    #[test]
    fn a_list_is_compared_for_what_it_holds_and_what_it_selects() {
        let status = Some(Health::Unhealthy);
        let mut query = ListQuery {
            namespaces: NamespaceFilter::All,
            selection: Selection { status, ..Selection::default() },
            limit: None,
            after: None,
            poll: None,
        };
        let (held, other) = (service(1, Health::Healthy), service(2, Health::Healthy));
        let mut listed = Listed::default();
        listed.add(&held.service().id);
        let changed = |entry: &Arc<Entry>| Batch { upserts: vec![Arc::clone(entry)], ..Batch::default() };
        let removed = |entry: &Arc<Entry>| {
            let service = entry.service();
            Batch { removed: vec![(service.key.clone(), service.id)], ..Batch::default() }
        };
        let concerned = |query: &ListQuery, batch| query.concerned(&Principal::reader(), Some(&listed), &batch);
        assert!(!concerned(&query, changed(&other)), "neither was listed nor is selected");
        assert!(!concerned(&query, removed(&other)));
        assert!(concerned(&query, changed(&held)), "it no longer belongs there");
        assert!(concerned(&query, removed(&held)));
        assert!(concerned(&query, changed(&service(2, Health::Unhealthy))), "it belongs there now");
        assert!(
            query.concerned(&Principal::reader(), None, &removed(&other)),
            "as long as it is not known what was listed"
        );
        query.namespaces = NamespaceFilter::One("shop".parse().expect("a label"));
        assert!(!concerned(&query, changed(&held)), "of another namespace");
    }

    #[test]
    fn a_list_in_few_bits_misses_nothing_and_confuses_little() {
        let (mut listed, ids) = (Listed::default(), (0..100).map(|_| Uuid::now_v7()).collect::<Vec<_>>());
        for id in &ids {
            listed.add(id);
        }
        assert!(ids.iter().all(|id| listed.may_hold(id)));
        let others = (0..1000).filter(|_| listed.may_hold(&Uuid::now_v7())).count();
        assert!(others < 150, "{others} of 1000, where 48 are to be expected");
    }
}
