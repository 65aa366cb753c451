//! What a mirror remembers of removals: news that were overtaken on their way must bring nothing back.

use crate::model::name::ServiceKey;

/// Removals remembered, the newest. What is late is late by moments, so that more of them never matter.
const MOST: usize = 16_384;

/// The newest removal of each service. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Gone {
    of: imbl::HashMap<ServiceKey, u64>,
    oldest_first: imbl::OrdSet<(u64, ServiceKey)>,
}

impl Gone {
    /// When a service of that name was last removed.
    pub(in crate::store) fn revision(&self, key: &ServiceKey) -> Option<u64> {
        self.of.get(key).copied()
    }

    /// Remembers a removal.
    pub(in crate::store) fn note(&mut self, key: ServiceKey, revision: u64) {
        if self.revision(&key).is_some_and(|known| known >= revision) {
            return;
        }
        self.forget(&key);
        self.of.insert(key.clone(), revision);
        self.oldest_first.insert((revision, key));
        if self.of.len() > MOST
            && let Some((_, oldest)) = self.oldest_first.remove_min()
        {
            self.of.remove(&oldest);
        }
    }

    /// Forgets it: what is there now is newer.
    pub(in crate::store) fn forget(&mut self, key: &ServiceKey) {
        if let Some(revision) = self.of.remove(key) {
            self.oldest_first.remove(&(revision, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> ServiceKey {
        let name = format!("s{n}").parse().expect("a name");
        ServiceKey::new(&crate::model::name::Namespace::default(), &name)
    }

    #[test]
    fn the_newest_removal_counts_and_the_oldest_are_forgotten() {
        let mut gone = Gone::default();
        gone.note(key(0), 7);
        gone.note(key(0), 3);
        assert_eq!(gone.revision(&key(0)), Some(7));
        let most = u64::try_from(MOST).expect("fits");
        for n in 1..=most {
            gone.note(key(n), 100 + n);
        }
        assert_eq!((gone.revision(&key(0)), gone.revision(&key(1))), (None, Some(101)));
        assert_eq!((gone.of.len(), gone.oldest_first.len()), (MOST, MOST));
        gone.forget(&key(1));
        assert_eq!((gone.of.len(), gone.oldest_first.len()), (MOST - 1, MOST - 1));
    }
}
