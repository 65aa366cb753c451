//! A service as YAML or JSON.

use serde_json::Value;
use uuid::Uuid;

use super::{Line, Meaning, foreign, gone, segment};
use crate::console::data::Service;
use crate::console::state::State;
use crate::console::state::screen::Format;
use crate::model::time::UnixMs;

pub(super) fn lines(state: &State, id: Uuid, format: Format) -> Vec<Line> {
    let Some(service) = state.listing().get(&id) else { return gone("the service") };
    let mut service = Service::clone(service);
    // A probe alone changes no service, so the source sends none.
    service.last_health_check = service.last_health_check.max(newest_probe(state, id));
    // Our own types always serialise.
    let value = serde_json::to_value(&service).unwrap_or(Value::Null);
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&value).unwrap_or_default();
            text.lines().map(|line| vec![foreign(line)]).collect()
        }
        Format::Yaml => {
            let mut out = Vec::new();
            yaml(&value, 0, Line::new(), &mut out);
            out
        }
    }
}

fn newest_probe(state: &State, id: Uuid) -> Option<UnixMs> {
    let known = state.probing.get(&id)?;
    known.probing.instances.iter().filter_map(|of| of.last.as_ref()).map(|last| last.at).max()
}

/// Writes a value in block style; `head` precedes it on its first line.
fn yaml(value: &Value, indent: usize, head: Line, out: &mut Vec<Line>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut head = Some(head).filter(|head| !head.is_empty());
            for (key, value) in map {
                let mut line = head.take().unwrap_or_else(|| pad(indent));
                let mut key = foreign(&scalar_text(key));
                key.text.push(':');
                key.meaning = Meaning::Faint;
                line.push(key);
                nested(value, indent, line, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let mut head = Some(head).filter(|head| !head.is_empty());
            for value in list {
                let mut line = head.take().unwrap_or_else(|| pad(indent));
                line.push(segment("- ", Meaning::Faint));
                yaml(value, indent + 2, line, out);
            }
        }
        scalar => {
            let mut line = head;
            line.push(foreign(&scalar_of(scalar)));
            out.push(line);
        }
    }
}

fn nested(value: &Value, indent: usize, mut line: Line, out: &mut Vec<Line>) {
    let is_block =
        matches!(value, Value::Object(m) if !m.is_empty()) || matches!(value, Value::Array(l) if !l.is_empty());
    if is_block {
        out.push(line);
        let deeper = if value.is_array() { indent } else { indent + 2 };
        yaml(value, deeper, Line::new(), out);
    } else {
        line.push(segment(" ", Meaning::Plain));
        yaml(value, indent, line, out);
    }
}

fn pad(indent: usize) -> Line {
    vec![segment(" ".repeat(indent), Meaning::Plain)]
}

fn scalar_of(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

/// A string as YAML reads it back: plain where it has no special characters, else in JSON's quotes, which YAML shares.
fn scalar_text(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '/' || c == '_';
    let rest = |c: char| c.is_ascii_alphanumeric() || "/_-.:@+=?&~".contains(c);
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(first)
        && text.chars().all(rest)
        && !text.ends_with(':')
        && !word.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}
