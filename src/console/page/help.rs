//! The keys and the filter language.

use super::{Line, Meaning, heading, plain, segment};
use crate::console::keys::KEYMAP;

const FILTER: &[(&str, &str)] = &[
    ("shop", "the text is in name, namespace, URL, instance or reason"),
    ("!shop  a|b", "not; either"),
    ("status=down", "healthy, down, unknown, degraded, faulty, drained"),
    ("ns=  name=  zone=", "the text is in that field"),
    ("reason=  source=", "the same"),
    ("version=^1.4", "a version range"),
    ("lat>500ms  since<10m", "median latency; time since its health changed"),
    ("weight=0  -l team=pay", "an instance's weight; a label of the metadata"),
];

pub(super) fn lines() -> Vec<Line> {
    let mut lines = vec![vec![segment("keys", Meaning::Strong)]];
    lines.extend(KEYMAP.iter().map(|b| vec![segment(format!("  {:<12}", b.label), Meaning::Good), plain(b.help)]));
    lines.extend(heading("filter: words are joined by \"and\""));
    lines.extend(FILTER.iter().map(|(what, help)| vec![segment(format!("  {what:<22}"), Meaning::Good), plain(*help)]));
    lines
}
