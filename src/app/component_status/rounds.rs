//! Which of what is seen is told: changes, and of a part that flaps not each. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::word::Word;
use crate::model::time::UnixMs;
use crate::telemetry::server_events::{Part, ServerEvent};

/// A part tells at most so often in [`WINDOW`]; later what is true then, if that is news.
const MOST: usize = 6;
const WINDOW: Duration = Duration::from_mins(1);

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Rounds(HashMap<Part, Line>);

#[derive(Debug, Default)]
struct Line {
    said: Option<Word>,
    /// When it told, within the window.
    when: VecDeque<Instant>,
}

impl Rounds {
    /// The events that this look deserves.
    pub(super) fn look(&mut self, words: Vec<(Part, Word)>, at: UnixMs, now: Instant) -> Vec<ServerEvent> {
        let news = words.into_iter().filter_map(|(part, word)| {
            let line = self.0.entry(part).or_default();
            if line.said.is_none() && word.usual {
                line.said = Some(word);
                return None;
            }
            let (good, message) = (word.good, word.message.clone());
            let news = line.said.as_ref() != Some(&word) && line.tell(word, now);
            news.then_some(ServerEvent { at, part, good, message })
        });
        news.collect()
    }
}

impl Line {
    /// Whether it may now.
    fn tell(&mut self, word: Word, now: Instant) -> bool {
        while self.when.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            self.when.pop_front();
        }
        if self.when.len() >= MOST {
            return false;
        }
        self.when.push_back(now);
        self.said = Some(word);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Word {
        Word::good("writes succeed")
    }

    fn ill() -> Word {
        Word::bad("writes fail")
    }

    struct Looking {
        rounds: Rounds,
        start: Instant,
    }

    impl Looking {
        fn new() -> Self {
            Self { rounds: Rounds::default(), start: Instant::now() }
        }

        fn see(&mut self, ms: u64, word: Word) -> Vec<bool> {
            let now = self.start + Duration::from_millis(ms);
            let events = self.rounds.look(vec![(Part::Store, word)], UnixMs(0), now);
            events.into_iter().map(|event| event.good).collect()
        }
    }

    #[test]
    fn a_change_is_told_once_and_what_is_usual_at_first_never() {
        let mut looking = Looking::new();
        assert!(looking.see(0, well().usual()).is_empty());
        assert_eq!(looking.see(250, ill()), [false]);
        assert!(looking.see(500, ill()).is_empty());
        assert_eq!(looking.see(750, well().usual()), [true]);
        assert_eq!(Looking::new().see(0, ill()), [false], "ill from the start");
        assert_eq!(Looking::new().see(0, well()), [true], "worth a word");
    }

    #[test]
    fn the_same_sentence_of_another_is_news() {
        let mut looking = Looking::new();
        let leads = |who: &str| Word::good("another replica leads").of(who);
        assert_eq!(looking.see(0, leads("a")).len(), 1);
        assert_eq!(looking.see(250, leads("a")).len(), 0);
        assert_eq!(looking.see(500, leads("b")).len(), 1);
    }

    #[test]
    fn a_part_that_flaps_tells_now_and_then_and_its_last_word_in_the_end() {
        let mut looking = Looking::new();
        let mut told: Vec<bool> = looking.see(0, well().usual());
        for n in 1..=2400_u64 {
            told.extend(looking.see(n * 250, if n % 2 == 0 { well() } else { ill() }));
        }
        assert!((10 * MOST - 10..=11 * MOST).contains(&told.len()), "{} in ten minutes", told.len());
        for n in 0..480 {
            told.extend(looking.see(600_250 + n * 250, ill()));
        }
        assert_eq!(told.last(), Some(&false), "what is true is told in the end");
    }
}
