//! What was removed lately from a mirror, so that a watch can go on from any place since.

use uuid::Uuid;

use crate::model::name::ServiceKey;

/// Removals kept, the newest. A watch that was away for more begins with everything.
const MOST: usize = 8192;

/// The newest removals by sequence. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone {
    of: imbl::OrdMap<u64, (ServiceKey, Uuid)>,
    /// Those up to here are forgotten.
    floor: u64,
}

impl Gone {
    pub(super) fn note(&mut self, sequence: u64, key: ServiceKey, id: Uuid) {
        self.of.insert(sequence, (key, id));
        if self.of.len() > MOST
            && let Some(oldest) = self.of.get_min().map(|(sequence, _)| *sequence)
        {
            self.of.remove(&oldest);
            self.floor = oldest;
        }
    }

    /// Those after `sequence`; none where some are forgotten.
    pub(super) fn since(&self, sequence: u64) -> Option<Vec<(ServiceKey, Uuid)>> {
        (sequence >= self.floor).then(|| self.of.range(sequence + 1..).map(|(_, gone)| gone.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_it_says_so() {
        let key = |n: u64| {
            let name = format!("s{n}").parse().expect("a name");
            ServiceKey::new(&crate::model::name::Namespace::default(), &name)
        };
        let mut gone = Gone::default();
        let most = u64::try_from(MOST).expect("fits");
        for n in 1..=most {
            gone.note(n, key(n), Uuid::from_u128(u128::from(n)));
        }
        assert_eq!(gone.since(0).map(|all| all.len()), Some(MOST));
        gone.note(most + 1, key(0), Uuid::nil());
        assert_eq!(gone.since(0), None);
        assert_eq!(gone.since(1).map(|all| all.len()), Some(MOST));
        assert_eq!(gone.since(most), Some(vec![(key(0), Uuid::nil())]));
    }
}
