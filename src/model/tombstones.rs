//! Recent removals, so that a late update does not restore what was removed, and a reader learns what it missed.

use std::hash::Hash;

/// The newest removals, each with its place in some order: a revision or a sequence. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Tombstones<K: Clone + Ord + Hash> {
    orders: imbl::HashMap<K, u64>,
    oldest_first: imbl::OrdSet<(u64, K)>,
    most: usize,
    /// The order of the newest removal that was forgotten for want of room.
    floor: u64,
}

impl<K: Clone + Ord + Hash> Tombstones<K> {
    /// Keeps the `most` newest.
    pub fn new(most: usize) -> Self {
        Self { orders: imbl::HashMap::new(), oldest_first: imbl::OrdSet::new(), most, floor: 0 }
    }

    /// The order of the key's newest removal.
    pub fn order(&self, key: &K) -> Option<u64> {
        self.orders.get(key).copied()
    }

    /// Notes a removal; one that is older than what is known of the key changes nothing.
    pub fn note(&mut self, key: K, order: u64) {
        if self.order(&key).is_some_and(|known| known >= order) {
            return;
        }
        self.forget(&key);
        self.orders.insert(key.clone(), order);
        self.oldest_first.insert((order, key));
        if self.orders.len() > self.most
            && let Some((order, oldest)) = self.oldest_first.remove_min()
        {
            self.orders.remove(&oldest);
            self.floor = order;
        }
    }

    /// Forgets the key: what is there now is newer.
    pub fn forget(&mut self, key: &K) {
        if let Some(order) = self.orders.remove(key) {
            self.oldest_first.remove(&(order, key.clone()));
        }
    }

    /// What was removed after `order`, oldest first; none where some of it is forgotten.
    pub fn since(&self, order: u64) -> Option<Vec<K>> {
        if order < self.floor {
            return None;
        }
        // From the newest back, since the order alone is not a key of the set.
        let mut removed: Vec<K> =
            self.oldest_first.iter().rev().take_while(|(at, _)| *at > order).map(|(_, key)| key.clone()).collect();
        removed.reverse();
        Some(removed)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 100;

    #[test]
    fn the_newest_removal_counts_and_the_oldest_are_forgotten() {
        let mut removed = Tombstones::new(CAPACITY);
        removed.note(0, 7);
        removed.note(0, 3);
        assert_eq!(removed.order(&0), Some(7));
        for n in 1..=100_u64 {
            removed.note(n, 100 + n);
        }
        assert_eq!((removed.order(&0), removed.order(&1)), (None, Some(101)));
        assert_eq!((removed.len(), removed.oldest_first.len()), (CAPACITY, CAPACITY));
        removed.forget(&1);
        assert_eq!((removed.len(), removed.oldest_first.len()), (CAPACITY - 1, CAPACITY - 1));
        assert!(!removed.is_empty());
    }

    #[test]
    fn a_reader_learns_what_it_missed_or_that_some_is_forgotten() {
        let mut removed = Tombstones::new(CAPACITY);
        for n in 1..=100_u64 {
            removed.note(n, n);
        }
        assert_eq!(removed.since(0).map(|all| all.len()), Some(CAPACITY));
        removed.note(0, 101);
        assert_eq!(removed.since(0), None);
        assert_eq!(removed.since(1).map(|all| all.len()), Some(CAPACITY));
        assert_eq!(removed.since(99), Some(vec![100, 0]));
        assert_eq!(removed.since(100), Some(vec![0]));
        assert_eq!(removed.since(101), Some(Vec::new()));
    }
}
