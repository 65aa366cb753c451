//! Log lines that do not come from a `tracing` event: the queue's own, and panics.

use serde::Serialize;
use tracing::Level;

use crate::model::time::UnixMs;

#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: UnixMs,
    level: &'static str,
    message: &'a str,
    target: &'static str,
}

/// One line with its line break, in the form of the log's other lines. `message` has no line breaks.
pub(super) fn render(json: bool, level: Level, target: &'static str, message: &str) -> Vec<u8> {
    let timestamp = UnixMs::wall();
    let mut line = if json {
        let line = JsonLine { timestamp, level: level.as_str(), message, target };
        // Our own types always serialise.
        serde_json::to_vec(&line).unwrap_or_default()
    } else {
        format!("{timestamp} {level:>5} {target}: {message}").into_bytes()
    };
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_look_like_the_rest_of_the_log() {
        let text = String::from_utf8(render(false, Level::WARN, "portolan::log", "3 lines")).expect("UTF-8");
        assert!(text.ends_with("Z  WARN portolan::log: 3 lines\n"), "{text}");
        let line: serde_json::Value =
            serde_json::from_slice(&render(true, Level::ERROR, "portolan::panic", "a \"b\"")).expect("JSON");
        assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"a \"b\"".into()));
    }
}
