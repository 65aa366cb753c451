//! The newest samples of one instance, packed: ten thousand instances keep sixty each.

use std::collections::VecDeque;

use crate::model::probe::{MAX_SAMPLES, Sample};
use crate::model::time::UnixMs;

/// A sample in 12 bytes; the largest duration and the status 0 stand for none.
#[derive(Debug, Clone, Copy)]
struct Packed {
    /// Time since the sample before, milliseconds; a wall clock that was moved back makes it 0.
    gap: u32,
    total_us: u32,
    code: u16,
}

/// At most [`MAX_SAMPLES`], oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples {
    newest: UnixMs,
    packed: VecDeque<Packed>,
}

impl Samples {
    /// Adds one; the oldest goes when there are enough.
    pub(super) fn push(&mut self, sample: Sample) {
        if self.packed.len() >= MAX_SAMPLES {
            self.packed.pop_front();
        }
        self.packed.push_back(Packed {
            gap: u32::try_from(sample.at.since(self.newest).as_millis()).unwrap_or(u32::MAX),
            total_us: sample.total_us.map_or(u32::MAX, |us| us.min(u32::MAX - 1)),
            code: sample.code.unwrap_or(0),
        });
        self.newest = sample.at;
    }

    /// All of them, oldest first.
    pub(super) fn to_vec(&self) -> Vec<Sample> {
        let mut at = self.newest;
        let newest_first = self.packed.iter().rev().map(|packed| {
            let sample = Sample {
                at,
                total_us: (packed.total_us < u32::MAX).then_some(packed.total_us),
                code: (packed.code > 0).then_some(packed.code),
            };
            at = UnixMs(at.0.saturating_sub(packed.gap.into()));
            sample
        });
        let mut samples: Vec<Sample> = newest_first.collect();
        samples.reverse();
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sixty_come_back_as_they_were() {
        let all: Vec<Sample> = (0..100_u16)
            .map(|n| Sample {
                at: UnixMs(1_800_000_000_000 + i64::from(n) * 10_000),
                total_us: (n % 3 > 0).then_some(n.into()),
                code: (n % 2 > 0).then_some(n),
            })
            .collect();
        let mut samples = Samples::default();
        for sample in &all {
            samples.push(*sample);
        }
        assert_eq!(samples.to_vec(), all[40..]);
        assert_eq!(size_of::<Packed>(), 12);
    }

    #[test]
    fn a_clock_moved_back_keeps_the_newest_right() {
        let sample = |at| Sample { at: UnixMs(at), total_us: Some(1), code: None };
        let mut samples = Samples::default();
        for at in [5000, 1000, 2000] {
            samples.push(sample(at));
        }
        assert_eq!(samples.to_vec().iter().map(|s| s.at.0).collect::<Vec<_>>(), [1000, 1000, 2000]);
    }
}
