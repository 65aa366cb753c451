//! Who asked the API server for what.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

/// A request that the API server answered, or a watch that it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `system:serviceaccount:NAMESPACE:NAME`, or `admin`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` …
    pub verb: String,
    /// The plural, with its group after a dot unless it is the core one; empty for a path that is no resource.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Empty for what lies in none, and for requests across all.
    pub namespace: String,
    /// Empty for a list.
    pub name: String,
    /// The status of the answer.
    pub code: u64,
}

/// Reads the audit log from where it stood when this was made.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    at: u64,
}

impl Audit {
    pub(crate) fn from_now(path: PathBuf) -> Result<Self> {
        let at = std::fs::metadata(&path).context("this control plane keeps no audit log")?.len();
        Ok(Self { path, at })
    }

    /// The requests since the last call, oldest first. A watch is there once: when it begins.
    ///
    /// # Errors
    /// When the log cannot be read or understood.
    pub fn requests(&mut self) -> Result<Vec<Request>> {
        let mut file = File::open(&self.path).context("cannot open the audit log")?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        self.at += whole.len() as u64;
        let mut requests = Vec::new();
        for line in whole.lines() {
            requests.extend(request(&serde_json::from_str(line).context("a line of the audit log is not JSON")?));
        }
        Ok(requests)
    }
}

fn request(event: &Value) -> Option<Request> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verb = text(&event["verb"]);
    if verb == "watch" && event["stage"] != "ResponseStarted" {
        return None;
    }
    let object = &event["objectRef"];
    let (plural, group) = (text(&object["resource"]), text(&object["apiGroup"]));
    Some(Request {
        user: text(&event["user"]["username"]),
        verb,
        resource: if group.is_empty() { plural } else { format!("{plural}.{group}") },
        subresource: text(&object["subresource"]),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
    })
}
