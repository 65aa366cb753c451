//! Which instance is probed next when more want to start than may: lanes take turns, namespaces take turns within a lane, and within a
//! namespace all are probed at the same fraction of the rate that they ask for. Due instances wait for a slot in such a queue, and each
//! address whose budget is spent has one of its own.
//!
//! The last is weighted fair queueing ([self-clocked](https://doi.org/10.1109/INFCOM.1994.337677)): an entry's key is the queue's own time
//! plus the entry's *gap*, the time that it asks for between two probes, and the queue's time is the key of the entry taken last.
//! So while there is a queue, an instance that asks for a probe every second is taken ten times as often as one that asks every ten
//! seconds, and all intervals stretch by the same factor. Without a queue nothing waits, and all keep their intervals.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use crate::model::service::CheckId;
use crate::prober::targets::{Lane, Priority};

/// Longer gaps count as this one: an instance that is probed rarely must not wait for hours because all wait a little.
const LONGEST_GAP: Duration = Duration::from_hours(1);

/// The waiting instances of one namespace, by key.
#[derive(Debug, Default)]
struct Queue {
    /// The key of the entry taken last.
    time: u64,
    /// How many were pushed; entries with the same key keep this order.
    pushed: u64,
    entries: BinaryHeap<Reverse<(u64, u64, CheckId)>>,
}

impl Queue {
    fn push(&mut self, gap: u64, instance: CheckId) {
        self.pushed += 1;
        self.entries.push(Reverse((self.time.saturating_add(gap), self.pushed, instance)));
    }

    /// Puts an instance in front of all others.
    fn put_back(&mut self, instance: CheckId) {
        self.entries.push(Reverse((self.time, 0, instance)));
    }

    fn pop(&mut self) -> Option<CheckId> {
        let Reverse((key, _, instance)) = self.entries.pop()?;
        self.time = key;
        Some(instance)
    }
}

/// One lane's queue, in which namespaces take turns.
#[derive(Debug, Default)]
struct Fair {
    turns: VecDeque<u64>,
    queues: HashMap<u64, Queue>,
}

impl Fair {
    fn push(&mut self, namespace: u64, gap: u64, instance: CheckId) {
        let queue = self.queues.entry(namespace).or_default();
        if queue.entries.is_empty() {
            self.turns.push_back(namespace);
        }
        queue.push(gap, instance);
    }

    /// Puts an instance in front of all others: its namespace has the next turn.
    fn put_back(&mut self, namespace: u64, instance: CheckId) {
        self.turns.retain(|other| *other != namespace);
        self.turns.push_front(namespace);
        self.queues.entry(namespace).or_default().put_back(instance);
    }

    fn pop(&mut self) -> Option<CheckId> {
        let namespace = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&namespace)?;
        let instance = queue.pop();
        if queue.entries.is_empty() {
            self.queues.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        instance
    }
}

/// Everything that waits. Outdated entries stay until they are popped.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    urgent: [Fair; 4],
    usual: [Fair; 4],
    turn: u8,
    /// Entries of quick ones, and of those that may hang.
    count: [usize; 2],
}

impl FairQueue {
    /// Adds an instance that asks for `gap` between two probes; its namespace is a number. Urgent and new ones keep their order of
    /// arrival.
    pub(crate) fn push(&mut self, priority: Priority, namespace: u64, gap: Duration, instance: CheckId) {
        let in_order = priority.urgent || priority.lane == Lane::New;
        let gap = if in_order { 0 } else { u64::try_from(gap.min(LONGEST_GAP).as_millis()).unwrap_or(0).max(1) };
        self.enter(priority).push(namespace, gap, instance);
    }

    /// Puts back an instance that was taken and could not start: it is the next one of its lane.
    pub(crate) fn put_back(&mut self, priority: Priority, namespace: u64, instance: CheckId) {
        self.enter(priority).put_back(namespace, instance);
    }

    /// Counts one more entry in its lane.
    fn enter(&mut self, priority: Priority) -> &mut Fair {
        self.count[usize::from(priority.lane.may_hang())] += 1;
        let row = if priority.urgent { &mut self.urgent } else { &mut self.usual };
        &mut row[priority.lane as usize]
    }

    /// Whether a quick one waits.
    pub(crate) fn has_quick(&self) -> bool {
        self.waiting(false) > 0
    }

    /// How many entries wait; without `slow`, those that may hang do not count.
    pub(crate) fn waiting(&self, slow: bool) -> usize {
        let [quick, hanging] = self.count;
        if slow { quick + hanging } else { quick }
    }

    /// Takes the next one. Urgent ones come first, then new, quick, slow and hung ones; but of sixteen turns two belong to the quick lane
    /// and one each to the slow and the hung, so that nothing waits for ever. Without `slow`, those that may hang stay.
    pub(crate) fn pop(&mut self, slow: bool) -> Option<CheckId> {
        use Lane::{Hung, New, Quick, Slow};
        let (order, urgent_first) = match self.turn {
            3 | 11 => ([Quick, New, Slow, Hung], false),
            7 => ([Slow, Hung, Quick, New], false),
            15 => ([Hung, Slow, Quick, New], false),
            _ => ([New, Quick, Slow, Hung], true),
        };
        let (first, second) =
            if urgent_first { (&mut self.urgent, &mut self.usual) } else { (&mut self.usual, &mut self.urgent) };
        let (lane, found) = take(first, order, slow).or_else(|| take(second, order, slow))?;
        self.turn = (self.turn + 1) % 16;
        self.count[usize::from(lane.may_hang())] -= 1;
        Some(found)
    }
}

fn take(row: &mut [Fair; 4], order: [Lane; 4], slow: bool) -> Option<(Lane, CheckId)> {
    let mut lanes = order.into_iter().filter(|lane| slow || !lane.may_hang());
    lanes.find_map(|lane| Some((lane, row[lane as usize].pop()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn usual(lane: Lane) -> Priority {
        Priority { urgent: false, lane }
    }

    fn first(queue: &mut FairQueue, count: usize) -> Vec<i64> {
        std::iter::from_fn(|| queue.pop(true)).take(count).map(|id| id.instance.0).collect()
    }

    #[test]
    fn namespaces_take_turns() {
        let mut queue = FairQueue::default();
        for n in 0..1000 {
            queue.push(usual(Lane::Quick), 1, SECOND, CheckId::plain(n));
        }
        queue.push(usual(Lane::Quick), 2, SECOND, CheckId::plain(5000));
        queue.push(usual(Lane::Quick), 2, SECOND, CheckId::plain(5001));
        assert_eq!(first(&mut queue, 4), [0, 5000, 1, 5001]);
    }

    #[test]
    fn one_that_is_put_back_is_the_next_and_every_entry_is_counted() {
        for lane in [Lane::New, Lane::Quick] {
            let mut queue = FairQueue::default();
            for (namespace, n) in [(1, 1), (1, 2), (2, 3)] {
                queue.push(usual(lane), namespace, SECOND, CheckId::plain(n));
            }
            assert_eq!(queue.pop(true), Some(CheckId::plain(1)));
            queue.put_back(usual(lane), 1, CheckId::plain(1));
            assert_eq!((queue.waiting(true), queue.waiting(false)), (3, if lane.may_hang() { 0 } else { 3 }));
            assert_eq!(first(&mut queue, 4), [1, 3, 2]);
            assert_eq!((queue.waiting(true), queue.has_quick()), (0, false));
        }
    }

    #[test]
    fn slow_ones_wait_for_their_slots_and_are_not_forgotten() {
        let mut queue = FairQueue::default();
        queue.push(usual(Lane::Slow), 1, SECOND, CheckId::plain(1));
        assert_eq!(queue.pop(false), None);
        for n in 10..30 {
            queue.push(usual(Lane::Quick), 1, SECOND, CheckId::plain(n));
        }
        let first = first(&mut queue, 8);
        assert!(first.contains(&1), "{first:?}");
        assert_ne!(first[0], 1);
    }

    #[test]
    fn instances_known_to_be_down_yield_to_those_not_yet_confirmed() {
        let mut queue = FairQueue::default();
        for n in 0..100 {
            queue.push(usual(Lane::Hung), 1, SECOND, CheckId::plain(n));
            queue.push(usual(Lane::Slow), 1, SECOND, CheckId::plain(1000 + n));
        }
        let first = first(&mut queue, 96);
        assert_eq!(first.iter().filter(|id| **id < 1000).count(), 6, "one in sixteen: {first:?}");
    }

    #[test]
    fn new_ones_do_not_wait_behind_hung_ones() {
        let mut queue = FairQueue::default();
        for n in 0..1000 {
            queue.push(usual(Lane::Slow), 1, SECOND, CheckId::plain(n));
        }
        queue.push(usual(Lane::New), 1, SECOND, CheckId::plain(5000));
        assert_eq!(queue.pop(false), None, "it may hang as well");
        assert_eq!(queue.pop(true), Some(CheckId::plain(5000)));
    }

    #[test]
    fn urgent_ones_come_first_but_do_not_starve_the_rest() {
        let mut queue = FairQueue::default();
        for n in 0..100 {
            queue.push(Priority { urgent: true, lane: Lane::Quick }, 1, SECOND, CheckId::plain(n));
            queue.push(usual(Lane::Quick), 1, SECOND, CheckId::plain(1000 + n));
        }
        let first = first(&mut queue, 8);
        assert_eq!(first.iter().filter(|id| **id < 1000).count(), 6, "{first:?}");
    }

    /// Simulates instances that ask for these gaps, in ms, and a prober that starts one probe every `pace` ms, for `for_ms`. Returns how
    /// often each was probed.
    fn play(gaps: &[u64], pace: u64, for_ms: u64) -> Vec<u64> {
        let mut queue = FairQueue::default();
        // Offsets apart, as the prober spreads them.
        let phase = |n: usize, gap: u64| gap * (u64::try_from(n).expect("few") * 619 % 1000) / 1000;
        let mut due: Vec<Option<u64>> = gaps.iter().enumerate().map(|(n, gap)| Some(phase(n, *gap))).collect();
        let mut probed = vec![0; gaps.len()];
        for now in (0..for_ms).step_by(usize::try_from(pace).expect("small")) {
            for (n, at) in due.iter_mut().enumerate() {
                if at.is_some_and(|at| at <= now) {
                    *at = None;
                    let id = CheckId::plain(i64::try_from(n).expect("few"));
                    queue.push(usual(Lane::Quick), 1, Duration::from_millis(gaps[n]), id);
                }
            }
            if let Some(id) = queue.pop(true) {
                let n = usize::try_from(id.instance.0).expect("made from one");
                probed[n] += 1;
                due[n] = Some(now + gaps[n]);
            }
        }
        probed
    }

    /// However few of the requested probes are possible, each instance gets about the same part of its own.
    #[test]
    fn all_intervals_stretch_alike() {
        let gaps: Vec<u64> = [1000, 2000, 5000, 10_000, 30_000, 60_000].repeat(60);
        // Probes requested per second, in thousandths: `short` times as many as possible.
        let asked: u64 = gaps.iter().map(|gap| 1_000_000 / gap).sum();
        for short in [2, 4, 8] {
            let span = 60_000 * short * 12;
            let probed = play(&gaps, 1_000_000 * short / asked, span);
            for (gap, count) in gaps.iter().zip(&probed) {
                let wanted = span / (gap * short);
                assert!(
                    count.abs_diff(wanted) <= wanted / 4 + 1,
                    "every {gap} ms: {count} times, {wanted} are its part of {short} times too many"
                );
            }
        }
    }

    #[test]
    fn nobody_waits_while_there_is_room() {
        let gaps = [1000, 1000, 5000, 60_000];
        let probed = play(&gaps, 100, 600_000);
        for (gap, count) in gaps.iter().zip(probed) {
            assert!(count >= 600_000 / (gap + 200), "every {gap} ms: {count}");
        }
    }
}
