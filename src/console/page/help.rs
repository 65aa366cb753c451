//! The keys and the filter language.

use super::{Line, Meaning, heading, plain, segment};
use crate::console::keys::KEYMAP;

const FILTER: &[(&str, &str)] = &[
    ("shop", "the text is in name, namespace, URL, instance, reason, version, zone or a label"),
    ("!shop  a|b  ns!=shop", "not; either; any field but that"),
    ("status=down", "healthy, down, unknown, degraded, slow, faulty, drained, warning, acknowledged"),
    ("ns=  name=  instance=", "the text is in that field"),
    ("zone=  reason=  source=", "the same"),
    ("owner=", "the text is in the name of who registered it or, if unknown, in its label owner"),
    ("check=identity  tag=", "the text is in how an instance is checked, or in a tag"),
    ("url=  port=8080", "the text is in a URL; a port of one"),
    ("version=^1.4", "a version range"),
    ("p50>500ms  p99>2s", "median and 99th percentile of the latency"),
    ("since<10m", "time since it failed, recovered or was drained"),
    ("cert<14d", "time until the first certificate expires"),
    ("weight=0", "an instance's weight"),
    ("-l team=pay  -l owner", "a label with that value (a!=b: a different one); any value of a label"),
];

pub(super) fn lines() -> Vec<Line> {
    let mut lines = vec![vec![segment("keys", Meaning::Strong)]];
    lines.extend(KEYMAP.iter().map(|b| vec![segment(format!("  {:<12}", b.label), Meaning::Good), plain(b.help)]));
    lines.extend(heading("filter: words are joined by \"and\""));
    lines.extend(FILTER.iter().map(|(what, help)| vec![segment(format!("  {what:<22}"), Meaning::Good), plain(*help)]));
    lines
}
