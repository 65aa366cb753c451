//! Latencies as a line of blocks.

use crate::wire::Sample;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LETTERS: [char; 4] = ['_', '.', '-', '^'];
/// Fewer blocks beside their scale than this say less than more blocks without it.
const MIN_BLOCKS: usize = 4;

/// The newest samples in at most `width` columns, the newest at the end, and what the highest block means: `▁▂×█ █=12ms`. A probe that did
/// not pass is `×` (`x`).
pub fn scaled(samples: &[Sample], width: usize, ascii: bool) -> String {
    // A heartbeat takes no time that was measured.
    let top = |shown: &[Sample]| shown.iter().filter_map(|s| s.total_us).max().filter(|us| *us > 0);
    // The scale's own width depends on which samples are shown, by a column at most.
    let scale = |shown: &[Sample]| {
        top(shown).map_or_else(String::new, |us| format!(" {}={}", if ascii { '^' } else { '█' }, compact(us)))
    };
    let room = width.saturating_sub(scale(samples).chars().count());
    if room < MIN_BLOCKS {
        return text(samples, width, ascii);
    }
    let shown = &samples[samples.len().saturating_sub(room)..];
    format!("{}{}", text(shown, room, ascii), scale(shown))
}

/// Microseconds in at most six characters: `850us`, `4.2ms`, `85ms`, `1.2s`.
fn compact(us: u32) -> String {
    match us {
        0..=999 => format!("{us}us"),
        1000..=9999 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        10_000..=999_999 => format!("{}ms", us / 1000),
        _ => format!("{}.{}s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

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

/// A percentile of the latencies of the passing probes by nearest rank, in microseconds; none without a passing probe, or where none was measured.
pub fn percentile<'a>(samples: impl IntoIterator<Item = &'a Sample>, percent: usize) -> Option<u32> {
    let mut times: Vec<u32> = samples.into_iter().filter_map(|sample| sample.total_us).collect();
    let rank = (times.len() * percent).div_ceil(100).clamp(1, times.len().max(1)) - 1;
    (rank < times.len()).then(|| *times.select_nth_unstable(rank).1).filter(|us| *us > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::UnixMs;

    #[test]
    fn the_newest_sample_is_last_in_any_width_and_the_scale_is_that_of_what_is_shown() {
        let sample = |us| Sample { at: UnixMs(0), total_us: us, code: None };
        let mut samples: Vec<Sample> = (1..=40).map(|n| sample(Some(n * 1000))).collect();
        samples.push(sample(None));
        for width in 1..60 {
            let text = scaled(&samples, width, false);
            assert!(text.chars().count() <= width, "{text} in {width}");
            assert!(text.split(' ').next().is_some_and(|blocks| blocks.ends_with('×')), "{text} in {width}");
        }
        assert_eq!(scaled(&samples[..5], 20, false), "▂▄▅▇█ █=5.0ms");
        assert_eq!(scaled(&samples[..2], 20, true), "-^ ^=2.0ms");
        assert_eq!(scaled(&[], 20, false), "");
        let heard = [sample(Some(0)), sample(Some(0))];
        assert_eq!(
            (scaled(&heard, 20, false).as_str(), percentile(&heard, 50)),
            ("▁▁", None),
            "a heartbeat has no latency"
        );
    }
}
