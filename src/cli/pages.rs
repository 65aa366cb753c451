//! The pages of a long list, one after the other.

use std::collections::HashSet;

use serde::de::IgnoredAny;

use super::client::{Client, Reply};
use super::exit::{Exit, Failure};
use crate::console::source::api::read::objects as objects_in;

/// Most elements that a server puts into a page.
const PAGE_SIZE: usize = 500;
/// Most pages; no registry has more pages, so whatever goes on is not a registry.
const MAX_PAGES: usize = 2000;
/// Most bytes of all pages together.
const MAX_BYTES: usize = 64 << 20;
/// Most objects of all pages together; 25,600 instances need half as many objects.
const MAX_OBJECTS: usize = 400_000;

/// A list of services, or of something else.
pub(super) struct Pages<'a> {
    client: &'a Client,
    path: &'a [&'a str],
    /// None once the last page was read.
    query: Option<Vec<(String, String)>>,
    /// How many more elements are wanted; all of them unless a number was given.
    left: Option<usize>,
    seen: HashSet<String>,
    count: usize,
}

impl<'a> Pages<'a> {
    /// The services that `query` selects.
    pub(super) fn of(client: &'a Client, query: Vec<(String, String)>) -> Self {
        Self::at(client, &["services"], query)
    }

    /// The same of another list.
    pub(super) fn at(client: &'a Client, path: &'a [&'a str], mut query: Vec<(String, String)>) -> Self {
        query.push(limit(None));
        Self { client, path, query: Some(query), left: None, seen: HashSet::new(), count: 0 }
    }

    /// The first `most` elements of that list.
    pub(super) fn first(
        client: &'a Client,
        path: &'a [&'a str],
        mut query: Vec<(String, String)>,
        most: usize,
    ) -> Self {
        query.push(limit(Some(most)));
        Self { client, path, query: Some(query), left: Some(most), seen: HashSet::new(), count: 0 }
    }

    /// The next page; none after the last.
    ///
    /// # Errors
    /// See [`Failure`]; a list without an end among them.
    pub(super) async fn next(&mut self) -> Result<Option<Reply>, Failure> {
        let Some(query) = &mut self.query else { return Ok(None) };
        if self.count == MAX_PAGES {
            return Err(endless("it has more pages than any registry"));
        }
        self.count += 1;
        let pairs: Vec<(&str, &str)> = query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let page = self.client.get(self.path, &pairs).await?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(page.read::<Vec<IgnoredAny>>()?.len());
        }
        match page.next_cursor.clone().filter(|_| self.left != Some(0)) {
            None => self.query = None,
            Some(next) => {
                if !self.seen.insert(next.clone()) {
                    return Err(endless("its next_cursor repeats"));
                }
                query.retain(|(name, _)| name != "cursor" && name != "limit");
                query.extend([limit(self.left), ("cursor".to_owned(), next)]);
            }
        }
        Ok(Some(page))
    }

    /// All pages, as far as this client keeps them.
    ///
    /// # Errors
    /// As for [`Self::next`]; a list that is too large among them.
    pub(super) async fn all(mut self) -> Result<Vec<Reply>, Failure> {
        let mut pages = Vec::new();
        let (mut bytes, mut objects) = (0, 0);
        while let Some(page) = self.next().await? {
            bytes += page.raw().len();
            objects += objects_in(page.raw().as_bytes());
            if bytes > MAX_BYTES || objects > MAX_OBJECTS {
                return Err(too_much());
            }
            pages.push(page);
        }
        Ok(pages)
    }
}

/// How many elements to ask for, of those that are left.
fn limit(left: Option<usize>) -> (String, String) {
    let most = left.unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
    ("limit".to_owned(), most.to_string())
}

fn too_much() -> Failure {
    Failure::new(Exit::Unreachable, "the server's list exceeds this client's limit of 64 MiB or 400,000 objects").hint(
        "-n NAME asks for one namespace; `portolan list` can also select by --status, --version, --zone and --meta",
    )
}

/// One array with all pages' elements, unchanged.
pub(super) fn join(pages: &[Reply]) -> String {
    let inside = pages.iter().filter_map(|page| {
        let inside = page.raw().trim().strip_prefix('[')?.strip_suffix(']')?.trim();
        (!inside.is_empty()).then_some(inside)
    });
    format!("[{}]", inside.collect::<Vec<_>>().join(","))
}

fn endless(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the server's list does not end: {why}"))
        .hint("is --server or PORTOLAN_SERVER the registry's own address?")
}
