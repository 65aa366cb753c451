//! A service's JSON, as the API answers it: the legacy gateway's fields first, then Portolan's own.
//!
//! It is kept as head and tail around `last_health_check`, which every probe moves. The tail knows where the owners of instances are: they
//! are left out for readers that may not see them.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use uuid::Uuid;

use crate::model::acknowledgement::Acknowledgement;
use crate::model::check::{Check, NamedCheck};
use crate::model::name::{CheckName, InstanceName};
use crate::model::outcome::{Health, Reason};
use crate::model::service::{self, Drain, Instance, Owner, Service, Source, Warning};
use crate::model::time::UnixMs;
use crate::model::url::EndpointUrl;

/// Length of `"2026-01-02T03:04:05.678Z"` with its quotes.
const TIME_LEN: usize = 26;
const NULL: &[u8] = b"null";

/// What differs between two answers that show a service at the same revision: the value of `last_health_check`, and whether owners are shown.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The value, as text.
    text: [u8; TIME_LEN],
    len: u8,
    owners: bool,
}

impl Variant {
    /// `null`, with or without owners.
    pub const fn null(owners: bool) -> Self {
        let mut text = [b' '; TIME_LEN];
        let mut at = 0;
        while at < NULL.len() {
            text[at] = NULL[at];
            at += 1;
        }
        Self { text, len: 4, owners }
    }

    /// A moment, or `null` before the first probe.
    pub fn of(at: Option<UnixMs>, owners: bool) -> Self {
        let Some(time) = at.and_then(UnixMs::text) else { return Self::null(owners) };
        let mut text = [b'"'; TIME_LEN];
        if let Some(inside) = text.get_mut(1..=time.len()) {
            inside.copy_from_slice(&time);
        }
        Self { text, len: 26, owners }
    }

    /// The same, padded with spaces to the length of a timestamp, for text whose length was announced.
    pub fn wide(at: Option<UnixMs>, owners: bool) -> Self {
        Self { len: 26, ..Self::of(at, owners) }
    }

    fn stamp(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or(NULL)
    }
}

/// Head and tail around `last_health_check`, in one piece of memory.
#[derive(Debug, Clone)]
pub struct Rendered {
    text: Box<[u8]>,
    head: usize,
    /// Where the owners are, in order.
    owners: Box<[Range<u32>]>,
}

impl Rendered {
    /// Appends the whole object.
    pub fn write(&self, variant: &Variant, out: &mut Vec<u8>) {
        self.pieces(variant).for_each(|piece| out.extend_from_slice(piece));
    }

    /// Appends a part of the whole object, starting at byte `from`, at most `most` bytes.
    pub fn write_part(&self, variant: &Variant, from: usize, most: usize, out: &mut Vec<u8>) {
        let (mut skip, mut room) = (from, most);
        for text in self.pieces(variant) {
            let part = text.get(skip..).unwrap_or_default();
            let part = part.get(..room).unwrap_or(part);
            out.extend_from_slice(part);
            skip = skip.saturating_sub(text.len());
            room -= part.len();
        }
    }

    /// The object in pieces.
    fn pieces<'a>(&'a self, variant: &'a Variant) -> impl Iterator<Item = &'a [u8]> {
        let (all, owners): (&'a [u8], &'a [Range<u32>]) = (&self.text, &self.owners);
        let hidden: &[Range<u32>] = if variant.owners { &[] } else { owners };
        let text = move |from: usize, to: usize| all.get(from..to).unwrap_or_default();
        let ends = hidden.iter().map(|range| range.start as usize).chain([all.len()]);
        let starts = [self.head].into_iter().chain(hidden.iter().map(|range| range.end as usize));
        let tail = starts.zip(ends).map(move |(from, to)| text(from, to));
        [text(0, self.head), variant.stamp()].into_iter().chain(tail)
    }

    /// The object's length in bytes.
    pub fn len_of(&self, variant: &Variant) -> usize {
        let hidden = if variant.owners { 0 } else { self.owners.iter().map(ExactSizeIterator::len).sum() };
        self.text.len() + usize::from(variant.len) - hidden
    }

    /// `before`, the whole object and `after`, in one allocation of just their size.
    pub fn between(&self, before: &[u8], variant: &Variant, after: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(before.len() + self.len_of(variant) + after.len());
        out.extend_from_slice(before);
        self.write(variant, &mut out);
        out.extend_from_slice(after);
        out
    }

    /// Whether it names an owner.
    pub fn has_owners(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Upper bound of the object's length, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.text.len() + TIME_LEN
    }
}

#[derive(Serialize)]
struct Head<'a> {
    id: Uuid,
    name: &'a str,
    version: &'a str,
    description: &'a str,
    base_url: &'a str,
    health_url: &'a str,
    status: Health,
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Tail<'a> {
    registered_at: UnixMs,
    updated_at: UnixMs,
    namespace: &'a str,
    source: Source,
    revision: u64,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<AcknowledgementJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picked: Option<&'a InstanceName>,
}

#[derive(Serialize)]
struct InstanceJson<'a> {
    name: &'a InstanceName,
    base_url: &'a EndpointUrl,
    health_url: &'a str,
    status: Health,
    reason: Reason,
    since: UnixMs,
    weight: u16,
    zone: &'a str,
    version: &'a str,
    description: &'a str,
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    check: &'a Check,
    generation: u64,
    registered_at: UnixMs,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[NamedCheck]>::is_empty")]
    checks: &'a [NamedCheck],
    #[serde(skip_serializing_if = "Option::is_none")]
    deregister_after_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a Warning>,
    #[serde(skip_serializing_if = "<[CheckName]>::is_empty")]
    also_failing: &'a [CheckName],
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<&'a Drain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_version: Option<&'a str>,
    #[serde(skip_serializing_if = "is_default_name")]
    decided_by: &'a CheckName,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<AcknowledgementJson<'a>>,
}

#[derive(Serialize)]
struct OwnerJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    issuer: &'a str,
    subject: &'a str,
}

#[derive(Serialize)]
struct AcknowledgementJson<'a> {
    note: &'a str,
    by: &'a str,
    since: UnixMs,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<UnixMs>,
}

impl<'a> From<&'a Acknowledgement> for AcknowledgementJson<'a> {
    fn from(known: &'a Acknowledgement) -> Self {
        Self { note: &known.note, by: &known.by, since: known.since, until: known.until }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's calling form")]
fn is_default(check: &&Check) -> bool {
    **check == Check::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's calling form")]
fn is_default_name(name: &&CheckName) -> bool {
    name.is_default()
}

fn health_url(instance: &Instance) -> &str {
    instance.spec.health_url.as_ref().map_or("", EndpointUrl::as_str)
}

impl<'a> From<&'a Instance> for InstanceJson<'a> {
    fn from(i: &'a Instance) -> Self {
        Self {
            name: &i.name,
            base_url: &i.spec.base_url,
            health_url: health_url(i),
            status: i.health,
            reason: i.reason,
            since: i.since,
            weight: i.spec.weight,
            zone: &i.spec.zone,
            version: &i.spec.version,
            description: &i.spec.description,
            metadata: &i.spec.metadata,
            check: &i.spec.check,
            generation: i.shown_generation(),
            registered_at: i.created_at,
            tags: &i.spec.tags,
            external_id: i.spec.external_id.as_deref(),
            checks: &i.spec.checks,
            deregister_after_seconds: i.spec.deregister_after_seconds,
            warning: i.warning.as_deref(),
            also_failing: &i.also_failing,
            drain: i.drain.as_deref(),
            observed_version: i.observed_version.as_deref(),
            decided_by: &i.decided_by,
            acknowledged: i.acknowledged.as_deref().map(Into::into),
        }
    }
}

/// The service with all its instances.
pub fn whole(service: &Service) -> Rendered {
    view(service, &service.instances.iter().collect::<Vec<_>>(), service.front())
}

/// The service with only the instances in `shown`, and the URLs of `front`.
pub fn view(service: &Service, shown: &[&Instance], front: Option<&Instance>) -> Rendered {
    render(service, shown, front, None)
}

/// The service with only the picked instance, which the object names.
pub fn picked(service: &Service, picked: &Instance) -> Rendered {
    render(service, &[picked], Some(picked), Some(&picked.name))
}

fn render(service: &Service, shown: &[&Instance], front: Option<&Instance>, picked: Option<&InstanceName>) -> Rendered {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let newest = service::newest_of(shown.iter().copied());
    let mut ordered = shown.to_vec();
    ordered.sort_by_key(|i| service::shown_order(i));
    let head = Head {
        id: service.id,
        name: service.key.name(),
        version: newest.map_or("", |i| &i.spec.version),
        description: newest.map_or("", |i| &i.spec.description),
        base_url: front.map_or("", |i| i.spec.base_url.as_str()),
        health_url: front.map_or("", health_url),
        status: service::health_of(shown.iter().copied()),
        metadata: newest.map_or(&NONE, |i| &i.spec.metadata),
    };
    let tail = Tail {
        registered_at: service.registered_at,
        updated_at: service.updated_at,
        namespace: service.key.namespace(),
        source: service.source,
        revision: service.revision,
        reason: service::reason_of(shown.iter().copied()),
        acknowledged: service::acknowledgement_of(shown.iter().copied()).map(|known| (&**known).into()),
        picked,
    };
    between(&head, &tail, &ordered)
}

/// The first object without its closing brace, up to the value of `last_health_check`; then the second object, its opening brace replaced
/// by a comma, with the instances as its last field.
fn between(head: &Head<'_>, tail: &Tail<'_>, instances: &[&Instance]) -> Rendered {
    let mut text = Vec::with_capacity(1024);
    json(head, &mut text);
    text.pop();
    text.extend_from_slice(b",\"last_health_check\":");
    let head = text.len();
    json(tail, &mut text);
    if let Some(first) = text.get_mut(head) {
        *first = b',';
    }
    text.pop();
    text.extend_from_slice(b",\"instances\":[");
    let mut owners = Vec::new();
    for (n, instance) in instances.iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        json(&InstanceJson::from(*instance), &mut text);
        text.pop();
        owners.extend(append_owner(&instance.owner, &mut text));
        text.push(b'}');
    }
    text.extend_from_slice(b"]}");
    Rendered { text: text.into(), head, owners: owners.into() }
}

/// Appends the field of a known owner, and returns where it is.
fn append_owner(owner: &Owner, text: &mut Vec<u8>) -> Option<Range<u32>> {
    let Owner::Token { issuer, subject } = owner else { return None };
    let at = |text: &Vec<u8>| u32::try_from(text.len()).unwrap_or(u32::MAX);
    let from = at(text);
    text.extend_from_slice(b",\"owner\":");
    json(&OwnerJson { issuer, subject }, text);
    Some(from..at(text))
}

fn json(value: &impl Serialize, out: &mut Vec<u8>) {
    // Strings, numbers and string-keyed maps: serde_json has no way to fail on these.
    drop(serde_json::to_writer(out, value));
}
