//! The newest samples of one instance, packed, since ten thousand instances keep sixty each.

use crate::model::probe::{MAX_SAMPLES, Sample};
use crate::model::time::UnixMs;

/// Room for sixty samples of a target that is probed regularly and answers consistently.
const ROOM: usize = 256;

/// At most [`MAX_SAMPLES`], oldest first. Each consists of three numbers with as few bytes as they need: the change of the gap since the
/// sample before, the duration, and the change of the status. Similar ones take four or five bytes.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    newest: UnixMs,
    len: usize,
    packed: Vec<u8>,
    /// The one before the oldest.
    before: Common,
    /// The newest one.
    last: Common,
}

/// What a sample probably has in common with the next one.
#[derive(Debug, Clone, Copy, Default)]
struct Common {
    /// Milliseconds since the sample before; 0 if the wall clock was set back.
    gap: u32,
    /// The status, 0 for none.
    code: u16,
}

impl Samples {
    /// Adds one; the oldest is dropped when there are enough.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.packed.capacity() == 0 {
            self.packed.reserve_exact(ROOM);
        }
        if self.len >= MAX_SAMPLES {
            self.forget_oldest();
        }
        let gap = u32::try_from(sample.at.since(self.newest).as_millis()).unwrap_or(u32::MAX);
        let common = Common { gap, code: sample.code.unwrap_or(0) };
        let duration = sample.total_us.map_or(0, |us| u64::from(us) + 1);
        for number in [zigzag(gap.wrapping_sub(self.last.gap)), duration, u64::from(common.code ^ self.last.code)] {
            put(&mut self.packed, number);
        }
        (self.last, self.newest) = (common, sample.at);
        self.len += 1;
    }

    fn forget_oldest(&mut self) {
        let mut rest = &self.packed[..];
        if let Some((common, _)) = next(&mut rest, self.before) {
            self.before = common;
        }
        let used = self.packed.len() - rest.len();
        self.packed.drain(..used);
        self.len -= 1;
    }

    /// All of them, oldest first.
    pub(crate) fn to_vec(&self) -> Vec<Sample> {
        let (mut rest, mut common) = (&self.packed[..], self.before);
        let mut gaps = Vec::with_capacity(self.len);
        let mut samples = Vec::with_capacity(self.len);
        while let Some((this, total_us)) = next(&mut rest, common) {
            common = this;
            gaps.push(this.gap);
            samples.push(Sample { at: self.newest, total_us, code: (this.code > 0).then_some(this.code) });
        }
        let mut at = self.newest;
        for (sample, gap) in samples.iter_mut().zip(gaps).rev() {
            sample.at = at;
            at = UnixMs(at.0.saturating_sub(gap.into()));
        }
        samples
    }
}

/// Takes the sample that follows `before`: what it has in common with the next one, and its duration in microseconds.
fn next(rest: &mut &[u8], before: Common) -> Option<(Common, Option<u32>)> {
    let gap = before.gap.wrapping_add(unzigzag(take(rest)?));
    let duration = take(rest)?.checked_sub(1).and_then(|us| u32::try_from(us).ok());
    let code = before.code ^ u16::try_from(take(rest)?).unwrap_or(0);
    Some((Common { gap, code }, duration))
}

/// Maps small differences in both directions to small numbers.
fn zigzag(difference: u32) -> u64 {
    let signed = difference.cast_signed();
    u64::from(((signed << 1) ^ (signed >> 31)).cast_unsigned())
}

fn unzigzag(number: u64) -> u32 {
    let number = u32::try_from(number).unwrap_or(0);
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Writes seven bits per byte, lowest first; the eighth says that more follow.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
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
    }

    #[test]
    fn regular_samples_fit_the_reserved_room() {
        let mut samples = Samples::default();
        for n in 0..1000 {
            let at = UnixMs(1_800_000_000_000 + n * 10_000 + n % 7);
            samples.push(Sample { at, total_us: Some(300 + u32::try_from(n).expect("small")), code: Some(200) });
        }
        assert_eq!(samples.to_vec().len(), MAX_SAMPLES);
        assert_eq!(samples.packed.capacity(), ROOM);
    }

    proptest::proptest! {
        #[test]
        fn any_samples_come_back_as_they_were(
            steps in proptest::collection::vec((0_i64..=i64::from(u32::MAX), proptest::option::of(0_u32..), proptest::option::of(1_u16..)), 0..150)
        ) {
            let mut at = UnixMs(1_800_000_000_000);
            let mut samples = Samples::default();
            let all: Vec<Sample> = steps.into_iter().map(|(gap, total_us, code)| {
                at = UnixMs(at.0 + gap);
                Sample { at, total_us, code }
            }).collect();
            for sample in &all {
                samples.push(*sample);
            }
            proptest::prop_assert_eq!(&samples.to_vec(), &all[all.len().saturating_sub(MAX_SAMPLES)..]);
        }
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
