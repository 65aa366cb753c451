//! From rows to registrations, by the rules of a register call.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::rows::{Candidate, Content, Fate, Judged, NOW, Note};
use crate::api::read_registration;
use crate::model::name::{self, InstanceName, Namespace, ServiceKey};
use crate::model::ports::{AddressGate, Registration};
use crate::model::service::Owner;
use crate::model::time::UnixMs;
use crate::model::url::{EndpointUrl, UrlError};
use crate::store::import::ImportRow;
use crate::wire::Detail;

/// What rows are judged by: the server's settings, and the flags.
pub(super) struct Rules<'a> {
    /// The namespace of rows that name none.
    pub(super) namespace: &'a Namespace,
    /// What may be probed.
    pub(super) addresses: &'a dyn AddressGate,
    /// The owner of rows that name none.
    pub(super) owner: &'a Owner,
    /// The moment of the import: no row was registered later.
    pub(super) now: UnixMs,
}

/// What is to be imported, and a report of every row.
#[derive(Default)]
pub(super) struct Accepted {
    /// The registrations.
    rows: Vec<ImportRow>,
    /// The place of each in the report.
    places: Vec<usize>,
    /// All rows. Those that are to be imported count as added until the store has judged them.
    report: Vec<Judged>,
    /// Which instances there are, and in which place of `rows`.
    known: HashMap<(ServiceKey, InstanceName), usize>,
}

impl Accepted {
    /// Judges a row.
    pub(super) fn add(&mut self, mut row: Candidate, rules: &Rules<'_>) {
        if row.origin.registered_at.take_if(|at| *at > rules.now).is_some() {
            row.notes.push(Note::became("registered_at", "is in the future", NOW));
        }
        let mut judged = Judged {
            row: row.number,
            name: row.name,
            result: Fate::Refused,
            service: None,
            instance: None,
            notes: row.notes,
        };
        match row.content {
            Content::LeftOut => judged.result = Fate::LeftOut,
            Content::Refused => {}
            Content::Registration(json) => match read_registration(json.as_bytes(), rules.namespace, rules.addresses) {
                Ok(registration) => {
                    let owner = row.owner.unwrap_or_else(|| rules.owner.clone());
                    self.take(ImportRow { registration, owner, origin: row.origin }, &mut judged);
                }
                // What refuses it first, and then what it would have become.
                Err(problems) => drop(judged.notes.splice(..0, notes(&problems, &json))),
            },
        }
        self.report.push(judged);
    }

    /// The registrations, oldest first, each with its place in the report; and the report. The newest instance of a service speaks for it, so
    /// they are entered in the order in which they came elsewhere.
    pub(super) fn in_order(self) -> (Vec<ImportRow>, Vec<usize>, Vec<Judged>) {
        let mut rows: Vec<(ImportRow, usize)> = self.rows.into_iter().zip(self.places).collect();
        rows.sort_by_key(|(row, _)| row.origin.registered_at.map_or(i64::MAX, |at| at.0));
        let (rows, places) = rows.into_iter().unzip();
        (rows, places, self.report)
    }

    /// Adds a registration, unless another row has its instance.
    fn take(&mut self, row: ImportRow, judged: &mut Judged) {
        let registration = &row.registration;
        judged.service = Some(registration.key().to_string());
        judged.instance = Some(registration.instance.to_string());
        // A derived name is only final once the store has given it.
        let twin =
            self.known.get(&(registration.key(), registration.instance.clone())).filter(|_| !registration.derived);
        if let Some((twin, at)) = twin.and_then(|at| Some((self.rows.get(*at)?, self.places.get(*at)?))) {
            let first = self.report.get(*at).map_or(0, |first| first.row);
            if twin.registration.spec == registration.spec {
                judged.result = Fate::LeftOut;
                judged.notes.push(Note::new("row", format!("repeats row {first}")));
            } else {
                judged.notes.push(further_instance(registration, first));
            }
            return;
        }
        judged.result = Fate::Added;
        self.known.insert((registration.key(), registration.instance.clone()), self.rows.len());
        self.rows.push(row);
        self.places.push(self.report.len());
    }
}

fn further_instance(registration: &Registration, first: u64) -> Note {
    let url = &registration.spec.base_url;
    let suggestion = name::suggest(&format!("{}-{}", url.host(), url.port()));
    let why = format!("is that of row {first}, which has other content; give each address a name of its own");
    Note::new("instance", why).suggesting(suggestion)
}

/// The problems of a register call, each with a value that would be accepted where one is obvious.
fn notes(problems: &[Detail], json: &str) -> Vec<Note> {
    let fields: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    let suggestion = |field: &str| match field {
        "name" | "namespace" | "instance" => name::suggest(text(field)),
        "base_url" => valid(text(field), "", EndpointUrl::base),
        "health_url" => valid(text(field), text("base_url"), EndpointUrl::health),
        _ => None,
    };
    let notes = problems
        .iter()
        .map(|detail| Note::new(&detail.field, detail.problem.clone()).suggesting(suggestion(&detail.field)));
    notes.collect()
}

/// A valid URL that was most likely meant; none where the text is one, or where nothing is obvious. `base` is where a path alone belongs.
fn valid(text: &str, base: &str, parse: fn(&str) -> Result<EndpointUrl, UrlError>) -> Option<String> {
    if text.is_empty() || parse(text).is_ok() {
        return None;
    }
    let plain = text.trim().replace(' ', "%20");
    let plain = plain.split('#').next().unwrap_or_default();
    let host = plain.split_once("://").map_or(plain, |(_, rest)| rest);
    let no_user = host.split_once('@').map_or(host, |(_, rest)| rest);
    let origin = EndpointUrl::base(base)
        .ok()
        .map(|base| format!("{}://{}:{}", base.scheme().as_str(), base.host(), base.port()));
    let scheme = plain.split_once("://").map_or("http", |(scheme, _)| scheme);
    let candidates = [
        origin.filter(|_| plain.starts_with('/')).map(|origin| format!("{origin}{plain}")),
        Some(plain.to_owned()),
        Some(format!("{scheme}://{host}")),
        Some(format!("{scheme}://{no_user}")),
    ];
    candidates.into_iter().flatten().find(|candidate| parse(candidate).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_suggested_where_it_is_obvious() {
        let base = |text| valid(text, "", EndpointUrl::base);
        let health = |text| valid(text, "http://h:8081/api", EndpointUrl::health);
        for (text, meant) in [
            ("localhost:8081", Some("http://localhost:8081")),
            ("10.0.0.5:8080/v1", Some("http://10.0.0.5:8080/v1")),
            ("http://user:secret@h:1", Some("http://h:1")),
            ("http://h:1/#top", Some("http://h:1/")),
            (" http://h:1/a b ", Some("http://h:1/a%20b")),
            ("http://h:1", None),
            ("", None),
            ("not a url at all", None),
        ] {
            assert_eq!(base(text).as_deref(), meant, "{text}");
        }
        assert_eq!(health("/health").as_deref(), Some("http://h:8081/health"));
        assert_eq!(health("postgres://h:1"), None);
    }
}
