//! Who asked the API server for what.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kubeconfig::Kubeconfig;

/// How long the log may be behind.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(10);
/// The API server writes a request's line after its answer, so what the request changed can be seen before. These requests one after the
/// other give the lines of earlier ones the time to be written, however slow the machine is.
const MARKERS: usize = 3;

/// A request that the API server answered, or a watch that it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `system:serviceaccount:NAMESPACE:NAME`, or `admin`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` …
    pub verb: String,
    /// The plural, with its group after a dot unless it is the core one; empty for a path that is not a resource.
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
    admin: Kubeconfig,
}

impl Audit {
    pub(crate) fn from_now(path: PathBuf, admin: Kubeconfig) -> Result<Self> {
        let at = std::fs::metadata(&path).context("this control plane keeps no audit log")?.len();
        Ok(Self { path, at, admin })
    }

    /// The requests since the last call, oldest first. A watch is there once: when it begins.
    ///
    /// # Errors
    /// When the log cannot be read or understood, or the API server does not answer.
    pub async fn requests(&mut self) -> Result<Vec<Request>> {
        let client = self.admin.client().await?;
        let mut requests = Vec::new();
        for _ in 0..MARKERS {
            let marker = format!("audit-marker-{:016x}", rand::random::<u64>());
            let ask = http::Request::get(format!("/api/v1/namespaces/{marker}")).body(Vec::new())?;
            // It is not found, of course.
            let _ = client.request_text(ask).await;
            let started = Instant::now();
            while !requests.iter().any(|request: &Request| request.name == marker) {
                ensure!(
                    started.elapsed() < PATIENCE,
                    "the audit log lacks a request made {} s ago",
                    PATIENCE.as_secs()
                );
                tokio::time::sleep(PAUSE).await;
                requests.extend(self.written()?);
            }
            requests.retain(|request| request.name != marker);
        }
        Ok(requests)
    }

    /// What the log has gained since the last call.
    fn written(&mut self) -> Result<Vec<Request>> {
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
