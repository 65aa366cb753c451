//! URLs among the labels that a frame shows: where they stand, so that a terminal can open them.
//!
//! The cells of a frame hold only text, whose width is what is drawn. The links go to the terminal separately.

use ratatui::buffer::{Buffer, Cell};

use crate::console::data::{Metadata, Service};
use crate::console::layout::{header_height, list_height, pane_width};
use crate::console::state::State;
use crate::console::state::screen::View;

/// Longest URL that is linked, in bytes.
const MAX_URL: usize = 2048;
/// Fewest cells of a URL that was cut.
const MIN_SHOWN: usize = 12;

/// A link: cells of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its row.
    pub y: u16,
    /// Its first column.
    pub from: u16,
    /// The column after its last.
    pub to: u16,
    /// An http or https URL of printable ASCII characters.
    pub url: Box<str>,
}

/// The links of a frame that was drawn from the state. In a list, a row has only those of its own service; below a dialog it has none.
pub fn links(state: &State, frame: &Buffer) -> Vec<Link> {
    let width = usize::from(frame.area.width).max(1);
    let rows = (frame.area.y..).zip(frame.content.chunks(width));
    let listing = state.listing();
    match &state.screen().view {
        View::Instance(id, name) => {
            let instance = listing.get(id).and_then(|service| service.instances.iter().find(|i| i.name == *name));
            let urls = instance.map(|instance| distinct(of_labels(&instance.metadata))).unwrap_or_default();
            rows.flat_map(|(y, row)| of_row(y, row, &urls)).collect()
        }
        View::Raw(id, _) => {
            let urls = listing.get(id).map(|service| of_service(service)).unwrap_or_default();
            rows.flat_map(|(y, row)| of_row(y, row, &urls)).collect()
        }
        View::Overview | View::Services if !state.columns.is_empty() && state.modal.is_none() => {
            let shown = listing.shown().iter().skip(state.screen().top).filter_map(|id| listing.get(id));
            let head = header_height(state) + 1;
            let room = width.saturating_sub(pane_width(state).unwrap_or(0).into());
            let listed = rows.skip(head).take(list_height(state)).zip(shown);
            listed
                .flat_map(|((y, row), service)| of_row(y, &row[..room.min(row.len())], &of_service(service)))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The URLs that rows of a service may show.
fn of_service(service: &Service) -> Vec<&str> {
    let instances = service.instances.iter().flat_map(|instance| of_labels(&instance.metadata));
    distinct(of_labels(&service.metadata).chain(instances))
}

fn distinct<'a>(urls: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut urls: Vec<&str> = urls.collect();
    urls.sort_unstable();
    urls.dedup();
    urls
}

fn of_labels(labels: &Metadata) -> impl Iterator<Item = &str> {
    labels.iter().map(|(_, value)| value).filter(|value| is_url(value))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= MAX_URL && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Where URLs stand in a row: whole, or cut, which `…` says, where only one of them begins so.
fn of_row(y: u16, row: &[Cell], urls: &[&str]) -> Vec<Link> {
    let mut found = Vec::new();
    if urls.is_empty() {
        return found;
    }
    let symbols: Vec<&str> = row.iter().map(Cell::symbol).collect();
    let mut at = 0;
    while at < symbols.len() {
        let begins = ["http://", "https://"].iter().any(|scheme| is_at(&symbols, at, scheme));
        if !begins {
            at += 1;
            continue;
        }
        let run: String = symbols[at..]
            .iter()
            .take_while(|s| s.len() == 1 && s.bytes().all(|b| b.is_ascii_graphic()))
            .copied()
            .collect();
        let end = at + run.len();
        let url = if symbols.get(end) == Some(&"…") {
            let mut meant = urls.iter().filter(|url| run.len() >= MIN_SHOWN && url.starts_with(&run));
            meant.next().filter(|_| meant.next().is_none())
        } else {
            urls.iter().find(|url| run == **url)
        };
        if let (Some(url), Ok(from), Ok(to)) = (url, u16::try_from(at), u16::try_from(end)) {
            found.push(Link { y, from, to, url: Box::from(*url) });
        }
        at = end.max(at + 1);
    }
    found
}

fn is_at(symbols: &[&str], at: usize, text: &str) -> bool {
    let mut shown = symbols[at..].iter();
    text.chars().all(|wanted| shown.next().is_some_and(|symbol| symbol.chars().eq([wanted])))
}
