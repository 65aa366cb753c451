//! One who watches, and goes on from its cursor when the server was gone.

use std::collections::BTreeMap;

use reqwest::{Client, Response};
use serde_json::Value;

use super::check::Written;

/// What a name showed: at which revision, and what; none once it is gone.
type Shown = Option<(u64, String)>;

/// What one event made of it.
struct Seen {
    cursor: u64,
    changed: BTreeMap<String, Shown>,
    /// It sent everything that there is.
    is_everything: bool,
}

/// Where to go on.
struct Cursor {
    text: String,
    epoch: String,
    revision: u64,
}

/// A client that keeps what it was sent.
#[derive(Default)]
pub(crate) struct Watcher {
    /// It watches at replicas, where the answers to a replica's own writes come ahead of what others wrote before: a cursor is a place in
    /// that order, and its number does not say what was sent.
    pub(crate) is_at_replicas: bool,
    /// Now at one of them and now at another. Each tells it everything; what the last one removed a moment ago may be there once more.
    pub(crate) moves: bool,
    cursor: Option<Cursor>,
    log: Vec<Seen>,
    shown: BTreeMap<String, Shown>,
    /// The newest revision at which each name was shown.
    newest: BTreeMap<String, u64>,
    /// Parts of what is not whole yet.
    coming: BTreeMap<String, Shown>,
}

impl Watcher {
    /// Watches until the connection ends, or until it has seen `until`.
    pub(crate) async fn watch(&mut self, client: &Client, url: &str, until: impl Fn(&Self) -> bool) {
        let cursor = self.cursor.as_ref().map(|cursor| format!("?cursor={}", cursor.text));
        let sent = client.get(format!("{url}/api/v1/watch{}", cursor.unwrap_or_default())).send();
        let Ok(mut stream) = sent.await else { return };
        assert_eq!(stream.status(), 200);
        let mut text = String::new();
        while !until(self) {
            let Some(block) = block(&mut stream, &mut text).await else { return };
            self.take(&block);
        }
    }

    /// The newest revision that it has heard of.
    pub(crate) fn revision(&self) -> u64 {
        self.cursor.as_ref().map_or(0, |cursor| cursor.revision)
    }

    fn take(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let (Some(event), Some(data)) = (field("event: "), field("data: ")) else { return };
        let data: Value = serde_json::from_str(data).expect("JSON");
        let id = field("id: ").map(cursor);
        match event {
            "snapshot" => {
                if data["first"] == true {
                    self.coming.clear();
                }
                self.coming.extend(services(&data["services"]));
                if let Some(id) = id {
                    let changed = std::mem::take(&mut self.coming);
                    self.see(id, changed, true);
                }
            }
            "change" => {
                self.coming.extend(services(&data["upserts"]));
                let removed = data["removed"].as_array().expect("a list").iter();
                for name in removed.map(|gone| gone["name"].as_str().expect("a name")) {
                    // Removed and registered again since: both are sent.
                    self.coming.entry(name.to_owned()).or_insert(None);
                }
                if let Some(id) = id {
                    let changed = std::mem::take(&mut self.coming);
                    self.see(id, changed, false);
                }
            }
            _ => {}
        }
    }

    fn see(&mut self, cursor: Cursor, changed: BTreeMap<String, Shown>, is_everything: bool) {
        if let Some(Cursor { epoch, revision, .. }) = &self.cursor {
            assert_eq!(&cursor.epoch, epoch, "the line of revisions broke");
            // A replica that heard of nothing newer may not know that this is so: then it shows everything once more, under a lower number.
            assert!(
                is_everything || cursor.revision >= *revision,
                "the watch went back from {revision} to {}",
                cursor.revision
            );
        }
        if is_everything {
            self.shown.retain(|name, shown| {
                let (stays, at) = (changed.contains_key(name), shown.as_ref().map_or(0, |(revision, _)| *revision));
                assert!(stays || at <= cursor.revision, "{name} was there at {at}, and is not at {}", cursor.revision);
                stays
            });
        }
        for (name, now) in &changed {
            let may_be_back = is_everything && self.moves;
            let is_back = !may_be_back && self.shown.get(name).is_none_or(Option::is_none);
            if let (Some(before), Some((now, _))) = (self.newest.get(name), now) {
                assert!(now >= before, "{name} went back from {before} to {now}");
                assert!(!is_back || now > before, "{name} is back from the dead, as it was at {before}");
            }
            self.newest.extend(now.as_ref().map(|(revision, _)| (name.clone(), *revision)));
            self.shown.insert(name.clone(), now.clone());
        }
        self.log.push(Seen { cursor: cursor.revision, changed, is_everything });
        self.cursor = Some(cursor);
    }

    /// What is there, by what it was sent.
    pub(crate) fn there(&self) -> BTreeMap<String, String> {
        let there = |(name, shown): (&String, &Shown)| Some((name.clone(), shown.as_ref()?.1.clone()));
        self.shown.iter().filter_map(there).collect()
    }

    /// Checks that it was sent every registration up to each cursor, or up to the end at a replica, or what came after that registration.
    /// Returns how many events it saw.
    pub(crate) fn missed_nothing(&self, written: &[Written]) -> usize {
        let mut shown: BTreeMap<&str, &Shown> = BTreeMap::new();
        let mut ahead = written.iter().peekable();
        for (n, seen) in self.log.iter().enumerate() {
            if seen.is_everything {
                shown.clear();
            }
            shown.extend(seen.changed.iter().map(|(name, shown)| (name.as_str(), shown)));
            if self.is_at_replicas && n + 1 < self.log.len() {
                continue;
            }
            while let Some(written) = ahead.next_if(|written| written.revision <= seen.cursor) {
                // Gone by then is an answer too: that it came to be so is for the other clients to judge.
                if let Some((revision, value)) = shown.get(written.name.as_str()).copied().and_then(Option::as_ref) {
                    let same = *revision > written.revision || *value == written.value;
                    assert!(*revision >= written.revision && same, "by {} it had missed {written:?}", seen.cursor);
                }
            }
        }
        self.log.len()
    }
}

fn cursor(id: &str) -> Cursor {
    let (epoch, rest) = id.split_once('.').expect("two parts");
    // Behind the `~` is what only its replica reads.
    let revision = rest.split('~').next().expect("a part").parse().expect("a number");
    Cursor { text: id.to_owned(), epoch: epoch.to_owned(), revision }
}

fn services(list: &Value) -> BTreeMap<String, Shown> {
    let text = |service: &Value, field: &str| service[field].as_str().expect("a text").to_owned();
    let shown =
        |service: &Value| Some((service["revision"].as_u64().expect("a revision"), text(service, "description")));
    list.as_array().expect("a list").iter().map(|service| (text(service, "name"), shown(service))).collect()
}

/// The next block of the stream; none once it is over.
async fn block(stream: &mut Response, text: &mut String) -> Option<String> {
    loop {
        if let Some(end) = text.find("\n\n") {
            let rest = text.split_off(end + 2);
            return Some(std::mem::replace(text, rest));
        }
        text.push_str(std::str::from_utf8(&stream.chunk().await.ok()??).expect("UTF-8"));
    }
}
