//! What `drain` and `ack` share: a text for people, an end time, and how results are reported.

use serde_json::{Map, Value};

use super::args::Format;
use super::client::Reply;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::registration::put;
use crate::model::time::UnixMs;

/// The body of such a call: the words in their field, and after how many seconds it ends by itself.
pub(super) fn body(field: &str, words: &str, seconds: Option<u64>) -> String {
    let mut body = Map::new();
    put(&mut body, field, Some(words));
    put(&mut body, "for_seconds", seconds);
    Value::Object(body).to_string()
}

/// ` until …`; empty if it does not end by itself.
pub(super) fn until(end: Option<UnixMs>) -> String {
    end.map_or_else(String::new, |end| format!(" until {end}"))
}

/// The service's data as the last answer has it.
pub(super) fn end(reply: &Reply, format: Format, streams: &mut Streams) -> Result<Exit, Failure> {
    streams.warnings(&reply.warnings);
    if format == Format::Json {
        streams.json(reply.raw())?;
    }
    Ok(Exit::Ok)
}
