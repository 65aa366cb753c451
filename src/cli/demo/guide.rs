//! Commands to paste into another terminal.

use std::path::Path;

use crate::model::text::escape;

/// What the demo prints first.
#[derive(Debug, Clone)]
pub(super) struct Guide {
    place: String,
    entries: Vec<(&'static str, String)>,
}

impl Guide {
    /// The guide to the registry at `url` with its file in `folder`.
    pub(super) fn new(url: &str, folder: &Path) -> Self {
        let program = escape(&std::env::args().next().unwrap_or_else(|| "portolan".to_owned()), 200);
        let services = format!("{url}/api/v1/services");
        let entries = vec![
            ("all of them", format!("curl -s '{services}'")),
            ("where is one", format!("curl -s '{services}/discover?name=user-service'")),
            ("a healthy one", format!("curl -s '{services}/discover?name=order-service&healthy=true&pick=weighted'")),
            (
                "by version",
                format!("curl -sG '{services}/discover' -d name=user-service --data-urlencode 'version=^1.5'"),
            ),
            ("in numbers", format!("curl -s '{services}/stats' '{url}/metrics'")),
            ("as a table", format!("{program} list --server {url}")),
            ("why is it down", format!("{program} history search-service --server {url}")),
            ("probe it now", format!("{program} check report-service --server {url}")),
            ("its file", escape(&folder.join("services.db").to_string_lossy(), 200)),
        ];
        Self { place: format!("a registry at {url}, its file in {}", escape(&folder.to_string_lossy(), 200)), entries }
    }

    /// Where the registry and its file are.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Each command after its purpose.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.entries.iter().map(|(what, how)| format!("  {what:<15} {how}"))
    }
}
