//! Latencies as a line of blocks.

use crate::wire::Sample;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LETTERS: [char; 4] = ['_', '.', '-', '^'];

/// The newest `width` samples; a probe that did not pass is `×` (`x`).
pub fn text(samples: &[Sample], width: usize, ascii: bool) -> String {
    let shown = &samples[samples.len().saturating_sub(width)..];
    let most = shown.iter().filter_map(|s| s.total_us).max().unwrap_or(0).max(1);
    shown.iter().map(|s| s.total_us.map_or(if ascii { 'x' } else { '×' }, |us| block(us, most, ascii))).collect()
}

fn block(us: u32, most: u32, ascii: bool) -> char {
    let steps = if ascii { LETTERS.len() } else { BLOCKS.len() };
    let step = (u64::from(us) * steps as u64 / u64::from(most)).min(steps as u64 - 1);
    let step = usize::try_from(step).unwrap_or(0);
    if ascii { LETTERS[step] } else { BLOCKS[step] }
}

/// A percentile of the latencies of the passing probes by nearest rank, in microseconds; none without a passing probe.
pub fn percentile<'a>(samples: impl IntoIterator<Item = &'a Sample>, percent: usize) -> Option<u32> {
    let mut times: Vec<u32> = samples.into_iter().filter_map(|sample| sample.total_us).collect();
    let rank = (times.len() * percent).div_ceil(100).clamp(1, times.len().max(1)) - 1;
    (rank < times.len()).then(|| *times.select_nth_unstable(rank).1)
}
