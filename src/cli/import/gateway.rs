//! The rows of the legacy gateway as register calls.
//!
//! What people wrote for people is made to fit; what a program relies on (an address) is left as it is, and refused if it does not fit.

use std::path::Path;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::names::{self, Place};
use super::rows::{Candidate, Content, NOW, Note, refuse_more, shown};
use crate::cli::exit::Failure;
use crate::cli::output::progress::{Progress, counted};
use crate::model::service::{MAX_DESCRIPTION, MAX_VERSION};
use crate::model::text::is_hostile;
use crate::model::time::UnixMs;
use crate::model::value_error::json_sentence;
use crate::store::Origin;
use crate::store::gateway::{GatewayFile, GatewayRow};

/// Reads the whole table; and a sentence about what is left out of every row.
///
/// # Errors
/// The file's, with the remedy.
pub(super) fn read(path: &Path, name: &str) -> Result<(Vec<Candidate>, Option<String>), Failure> {
    let failed = |error: crate::store::gateway::GatewayError| Failure::usage(error.to_string());
    let file = GatewayFile::open(path).map_err(failed)?;
    let mut progress = Progress::begin();
    let (mut rows, mut enough) = (Vec::new(), Ok(()));
    file.each(|row| {
        rows.push(row);
        enough = refuse_more(rows.len(), name);
        progress.show(|| format!("reading {name}: {}", counted(rows.len(), "row")));
        enough.is_ok()
    })
    .map_err(failed)?;
    enough?;
    let unknown = file.unknown().join(", ");
    let note = (!unknown.is_empty()).then(|| format!("note: {name} has columns that have no place here: {unknown}"));
    Ok((candidates(rows), note))
}

fn candidates(rows: Vec<GatewayRow>) -> Vec<Candidate> {
    let keys: Vec<names::Row<'_>> = rows
        .iter()
        .map(|row| names::Row { name: row.name.trim(), id: &row.id, base_url: row.base_url.trim() })
        .collect();
    let places = names::places(&keys);
    drop(keys);
    (1..).zip(rows).zip(places).map(|((number, row), place)| candidate(number, &row, place)).collect()
}

fn candidate(number: u64, row: &GatewayRow, place: Place) -> Candidate {
    let mut notes: Vec<Note> =
        row.unreadable.iter().map(|column| Note::new(column, "holds bytes that are not UTF-8 text")).collect();
    let content = match place {
        _ if !notes.is_empty() => Content::Refused,
        Place::Repeats(first) => {
            notes.push(Note::new("row", format!("repeats name and address of row {}", first + 1)));
            Content::LeftOut
        }
        Place::Nameless => {
            let note = Note::new("name", "is empty, so nobody could discover it; give it one in the gateway's file");
            let url = row.base_url.trim();
            notes.push(note.suggesting((!url.is_empty()).then(|| names::address_label(url))));
            Content::Refused
        }
        Place::Named { service, instance, notes: renamed } => {
            notes.extend(renamed);
            let mut body = body(row, &mut notes);
            if !row.id.is_empty() && row.id.parse::<Uuid>().is_err() {
                notes.push(Note::became("id", "is not a UUID", "a new one"));
            }
            if !is_no_time(&row.registered_at) && time(&row.registered_at).is_none() {
                notes.push(Note::became("registered_at", "is not a date", NOW));
            }
            body.insert("name".to_owned(), service.into());
            if let Some(instance) = instance {
                body.insert("instance".to_owned(), instance.into());
            }
            Content::Registration(Value::Object(body).to_string())
        }
    };
    let origin = Origin { id: row.id.parse().ok(), registered_at: time(&row.registered_at), drain: None };
    let name = match (row.name.trim(), row.id.as_str()) {
        ("", "") => "no name".to_owned(),
        ("", id) => format!("id {}", shown(id)),
        (name, _) => shown(name),
    };
    Candidate { number, name, content, notes, owner: None, origin }
}

/// Everything but the names.
fn body(row: &GatewayRow, notes: &mut Vec<Note>) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |field: &str, text: String| {
        if !text.is_empty() {
            body.insert(field.to_owned(), text.into());
        }
    };
    for (field, text) in [("base_url", &row.base_url), ("health_url", &row.health_url)] {
        if text.trim() != text {
            notes.push(Note::became(field, "had white space around it", text.trim()));
        }
        put(field, text.trim().to_owned());
    }
    put("version", fitting("version", &row.version, MAX_VERSION, notes));
    put("description", fitting("description", &row.description, MAX_DESCRIPTION, notes));
    if let Some(metadata) = metadata(&row.metadata, notes) {
        body.insert("metadata".to_owned(), Value::Object(metadata));
    }
    body
}

/// A text of at most `max` characters, with a space for each that could move a cursor or hide text.
fn fitting(field: &str, text: &str, max: usize, notes: &mut Vec<Note>) -> String {
    let plain: String = text.trim().chars().map(|c| if is_hostile(c) { ' ' } else { c }).collect();
    let short: String = plain.chars().take(max).collect();
    if short.len() < plain.len() {
        notes.push(Note::became(field, format!("is longer than {max} characters"), short.clone()));
    } else if plain != text.trim() {
        notes.push(Note::became(field, "had control or invisible characters", short.clone()));
    }
    short
}

/// The gateway keeps metadata as the text of a JSON object. Here every value is a text.
fn metadata(text: &str, notes: &mut Vec<Note>) -> Option<Map<String, Value>> {
    if text.trim().is_empty() || text.trim() == "null" {
        return None;
    }
    let mut metadata: Map<String, Value> = match serde_json::from_str(text) {
        Ok(metadata) => metadata,
        Err(error) => {
            notes.push(Note::became("metadata", format!("{}, and was left out", json_sentence(&error)), ""));
            return None;
        }
    };
    for (key, value) in &mut metadata {
        if !value.is_string() {
            let text = value.to_string();
            notes.push(Note::became(&format!("metadata.{key}"), "is not a string", text.clone()));
            *value = text.into();
        }
    }
    (!metadata.is_empty()).then_some(metadata)
}

/// Whether the column says that there is no time: it is empty, or has Go's zero time.
fn is_no_time(text: &str) -> bool {
    text.trim().is_empty() || text.trim().starts_with("0001-01-01")
}

/// A time as Go's SQLite driver writes it, `2024-05-01 10:20:30.123456789+08:00`; none for Go's zero time and anything else.
fn time(text: &str) -> Option<UnixMs> {
    let at: jiff::Timestamp = text.trim().replacen(' ', "T", 1).parse().ok()?;
    Some(UnixMs(at.as_millisecond())).filter(|at| at.0 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(row: GatewayRow) -> (Value, Vec<String>) {
        let row = candidates(vec![row]).remove(0);
        let Content::Registration(json) = &row.content else { panic!("{row:?}") };
        (serde_json::from_str(json).expect("JSON"), row.notes.iter().map(Note::sentence).collect())
    }

    fn row() -> GatewayRow {
        GatewayRow { name: "orders".into(), base_url: "http://h:1".into(), ..GatewayRow::default() }
    }

    #[test]
    fn a_row_that_fits_is_a_register_call_without_a_word() {
        let metadata = r#"{"team":"backend"}"#.to_owned();
        let row = GatewayRow { version: "1.0.0".into(), health_url: "http://h:1/health".into(), metadata, ..row() };
        let expected = serde_json::json!({"name": "orders", "base_url": "http://h:1", "version": "1.0.0",
            "health_url": "http://h:1/health", "metadata": {"team": "backend"}});
        assert_eq!(one(row), (expected, Vec::new()));
    }

    #[test]
    fn what_is_for_people_is_made_to_fit_and_said() {
        let row = GatewayRow {
            description: format!("two\nlines {}", "x".repeat(2000)),
            version: "1\u{202e}0".into(),
            metadata: r#"{"n":5,"t":"x","l":[1]}"#.into(),
            base_url: " http://h:1 ".into(),
            ..row()
        };
        let (body, notes) = one(row);
        assert_eq!(body["description"].as_str().map(|text| (text.len(), &text[..9])), Some((1024, "two lines")));
        assert_eq!((&body["version"], &body["base_url"]), (&"1 0".into(), &"http://h:1".into()));
        assert_eq!(body["metadata"], serde_json::json!({"n": "5", "t": "x", "l": "[1]"}));
        assert_eq!(notes.len(), 5, "{notes:?}");
        let (body, notes) = one(GatewayRow { metadata: "team=backend".into(), ..self::row() });
        assert!(body.get("metadata").is_none() && notes[0].contains("left out"), "{notes:?}");
    }

    #[test]
    fn a_row_without_a_name_is_offered_one_after_its_address() {
        let suggested = |base_url: &str| {
            let row = GatewayRow { name: String::new(), base_url: base_url.into(), ..row() };
            candidate(1, &row, Place::Nameless).notes.remove(0).suggestion
        };
        assert_eq!(suggested("http://h:1"), Some("h-1".to_owned()));
        assert_eq!(suggested(" "), None);
    }

    #[test]
    fn an_id_or_a_date_that_is_none_is_said() {
        let row = GatewayRow { id: "7".into(), registered_at: "yesterday".into(), ..row() };
        let expected = [
            "id is not a UUID; it became a new one",
            "registered_at is not a date; it became the moment of the import",
        ];
        assert_eq!(one(row).1, expected);
        let zero = GatewayRow { registered_at: "0001-01-01 00:00:00+00:00".into(), ..self::row() };
        assert!(one(zero).1.is_empty(), "Go's way to say that there is none");
    }

    #[test]
    fn times_are_read_as_the_gateways_driver_writes_them() {
        assert_eq!(time("2024-05-01 10:20:30.5+08:00"), Some(UnixMs(1_714_530_030_500)));
        assert_eq!(time("2024-05-01T02:20:30.5Z"), Some(UnixMs(1_714_530_030_500)));
        for none in ["", "0001-01-01 00:00:00+00:00", "yesterday"] {
            assert_eq!(time(none), None, "{none}");
        }
    }
}
