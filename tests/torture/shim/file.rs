//! One file as a disk may hold it: what was synced for certain, and of the rest any of what it was meanwhile.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

/// What a disk writes whole.
const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// A moment in the order of changes.
type Moment = u64;

/// What a sector held since it was last certain.
#[derive(Debug, Clone)]
struct Past {
    /// By the moment at which each began; the first is what is certain.
    held: Vec<(Moment, Sector)>,
    /// Moments at which the file was cut off before it: nothing from before one can come back once the cut is kept.
    cut: Vec<Moment>,
    /// It was to be synced and that failed: the system has dropped it, and does not try again before it is written again.
    dropped: bool,
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedFile {
    /// As a program reads it.
    pub(crate) now: Vec<u8>,
    /// Its lengths since it was last synced; the first is certain.
    lengths: Vec<(Moment, usize)>,
    uncertain: BTreeMap<usize, Past>,
    moment: Moment,
}

impl SimulatedFile {
    /// One that the disk holds like this.
    pub(crate) fn certain(bytes: Vec<u8>) -> Self {
        Self { lengths: vec![(0, bytes.len())], now: bytes, uncertain: BTreeMap::new(), moment: 0 }
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if bytes.is_empty() {
            return;
        }
        self.moment += 1;
        let sectors = offset / SECTOR..=(end - 1) / SECTOR;
        for sector in sectors.clone() {
            self.begin(sector);
        }
        if end > self.now.len() {
            self.now.resize(end, 0);
            self.lengths.push((self.moment, end));
        }
        self.now[offset..end].copy_from_slice(bytes);
        for sector in sectors {
            self.remember(sector);
        }
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.moment += 1;
        let before = self.now.len();
        let touched = length / SECTOR..before.div_ceil(SECTOR);
        for sector in touched.clone() {
            self.begin(sector);
        }
        self.now.resize(length, 0);
        self.lengths.push((self.moment, length));
        for sector in touched {
            let cut = sector * SECTOR >= length;
            self.remember(sector);
            if let Some(past) = self.uncertain.get_mut(&sector).filter(|_| cut) {
                past.cut.push(self.moment);
            }
        }
    }

    pub(crate) fn sync(&mut self) {
        self.uncertain.retain(|_, past| past.dropped);
        self.lengths = vec![(self.moment, self.now.len())];
    }

    pub(crate) fn sync_failed(&mut self) {
        self.uncertain.values_mut().for_each(|past| past.dropped = true);
    }

    /// What a disk may hold once the power went.
    pub(crate) fn after_a_cut(&self, random: &mut StdRng) -> Vec<u8> {
        let (kept_at, length) = *pick(&self.lengths, random);
        let mut bytes = self.now.clone();
        bytes.resize(self.lengths.iter().map(|(_, length)| *length).max().unwrap_or(0), 0);
        for (sector, past) in &self.uncertain {
            // Between the last cut that the length has seen, and the next one, which it has not.
            let from = past.cut.iter().copied().filter(|cut| *cut <= kept_at).max().unwrap_or(0);
            let until = past.cut.iter().copied().filter(|cut| *cut > kept_at).min().unwrap_or(Moment::MAX);
            let possible: Vec<_> = past.held.iter().filter(|(at, _)| (from..until).contains(at)).collect();
            let Some((start, end)) = Some((sector * SECTOR, (sector + 1) * SECTOR)).filter(|(s, _)| *s < bytes.len())
            else {
                continue;
            };
            let end = end.min(bytes.len());
            bytes[start..end].copy_from_slice(&pick(&possible, random).1[..end - start]);
        }
        bytes.resize(length, 0);
        bytes
    }

    /// Before a sector changes: what it holds may stay.
    fn begin(&mut self, sector: usize) {
        let content = self.sector(sector);
        let past = self.uncertain.entry(sector);
        // Whenever it was made certain, it has been there from the start.
        past.or_insert_with(|| Past { held: vec![(0, content)], cut: Vec::new(), dropped: false });
    }

    fn remember(&mut self, sector: usize) {
        let (moment, content) = (self.moment, self.sector(sector));
        if let Some(past) = self.uncertain.get_mut(&sector) {
            past.held.push((moment, content));
            past.dropped = false;
        }
    }

    fn sector(&self, number: usize) -> Sector {
        let mut content = [0; SECTOR];
        let from = (number * SECTOR).min(self.now.len());
        let part = &self.now[from..(from + SECTOR).min(self.now.len())];
        content[..part.len()].copy_from_slice(part);
        content
    }
}

fn pick<'a, T>(all: &'a [T], random: &mut StdRng) -> &'a T {
    // The ends are what a disk mostly holds: half of the time nothing or everything was kept.
    match random.random_range(0..4) {
        0 => &all[0],
        1 => &all[all.len() - 1],
        _ => &all[random.random_range(0..all.len())],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    /// All that a disk may hold, as text: one letter a sector.
    fn possible(file: &SimulatedFile) -> BTreeSet<String> {
        let mut random = StdRng::seed_from_u64(1);
        let one = |bytes: Vec<u8>| bytes.chunks(SECTOR).map(|s| char::from(s[0].max(b'.'))).collect::<String>();
        (0..400).map(|_| one(file.after_a_cut(&mut random))).collect()
    }

    fn filled(text: &str) -> Vec<u8> {
        text.bytes().flat_map(|letter| [letter; SECTOR]).collect()
    }

    fn set<const N: usize>(all: [&str; N]) -> BTreeSet<String> {
        all.map(str::to_owned).into()
    }

    #[test]
    fn what_was_synced_is_certain() {
        let mut file = SimulatedFile::certain(Vec::new());
        file.write(0, &filled("ab"));
        file.sync();
        assert_eq!(possible(&file), set(["ab"]));
    }

    #[test]
    fn what_was_not_is_dropped_torn_and_reordered_by_sectors() {
        let mut file = SimulatedFile::certain(filled("ab"));
        file.write(0, &filled("cd"));
        assert_eq!(possible(&file), set(["ab", "cd", "ad", "cb"]));
        file.write(0, &filled("e"));
        assert_eq!(possible(&file), set(["ab", "cd", "ad", "cb", "eb", "ed"]));
    }

    #[test]
    fn a_file_may_be_longer_than_what_was_written_into_it() {
        let mut file = SimulatedFile::certain(filled("a"));
        file.write(SECTOR, &filled("bc"));
        assert_eq!(possible(&file), set(["a", "abc", "ab.", "a.c", "a.."]));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back_behind_what_followed() {
        let mut file = SimulatedFile::certain(filled("ab"));
        file.truncate(0);
        file.write(0, &filled("cd"));
        assert_eq!(possible(&file), set(["ab", "", "cd", "c.", ".d", ".."]));
    }

    #[test]
    fn a_sync_that_failed_leaves_doubt_until_the_place_is_written_again() {
        let mut file = SimulatedFile::certain(filled("ab"));
        file.write(0, &filled("cd"));
        file.sync_failed();
        file.write(0, &filled("e"));
        file.sync();
        assert_eq!(possible(&file), set(["eb", "ed"]));
    }
}
