//! Acknowledgements in a mirror: what the status of an object says of them, and when that counts.
//!
//! The leader alone writes them, into the status that carries the failure as well, so for every other replica the status counts as it is. The
//! leader knows better than a status that lags behind what it decided, and so it follows one only where it shows what another leader did
//! just before: an acknowledgement that is newer than all it knows, or the end of the one that it shows.

use std::sync::Arc;

use crate::model::acknowledgement::Acknowledgement;
use crate::model::mirror::VerdictsFrom;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// What is known of each instance that was ever acknowledged. A batch works on a copy, so copies are cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusAcknowledgements(imbl::HashMap<InstanceId, Known>);

#[derive(Debug, Clone, Default)]
struct Known {
    /// What the newest status says.
    said: Option<Arc<Acknowledgement>>,
    /// When the newest was given of all that a status showed, or this process gave.
    newest: Option<UnixMs>,
}

impl StatusAcknowledgements {
    /// The acknowledgement of an instance that shows `ours`, once a status says `theirs`.
    pub(super) fn merge(
        &mut self,
        instance: InstanceId,
        ours: Option<&Arc<Acknowledgement>>,
        theirs: Option<Arc<Acknowledgement>>,
        verdicts: VerdictsFrom,
    ) -> Option<Arc<Acknowledgement>> {
        if ours.is_none() && theirs.is_none() {
            if let Some(known) = self.0.get_mut(&instance) {
                known.said = None;
            }
            return None;
        }
        let Known { said, newest } = self.0.get(&instance).cloned().unwrap_or_default();
        let newest = newest.max(ours.map(|ours| ours.since));
        let is_news = match &theirs {
            Some(theirs) => newest.is_none_or(|newest| theirs.since > newest),
            None => is_same(said.as_ref(), ours),
        };
        let newest = newest.max(theirs.as_ref().map(|theirs| theirs.since));
        self.0.insert(instance, Known { said: theirs.clone(), newest });
        if is_news || verdicts == VerdictsFrom::Status { theirs } else { ours.cloned() }
    }

    /// This process gave one.
    pub(super) fn give(&mut self, instance: InstanceId, given: &Acknowledgement) {
        let known = self.0.entry(instance).or_default();
        known.newest = known.newest.max(Some(given.since));
    }

    /// An instance was removed.
    pub(super) fn forget(&mut self, instance: InstanceId) {
        self.0.remove(&instance);
    }
}

/// Whether both are the same acknowledgement, or both are none.
pub(super) fn is_same(one: Option<&Arc<Acknowledgement>>, other: Option<&Arc<Acknowledgement>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acknowledgement::Failure;

    const A: InstanceId = InstanceId(1);

    fn given(since: i64) -> Arc<Acknowledgement> {
        let failure = Failure { down: None, warning: None, also: Box::default() };
        let (note, by) = ("known".to_owned(), "alice".to_owned());
        Arc::new(Acknowledgement { note, by, since: UnixMs(since), until: None, whole: false, failure })
    }

    #[test]
    fn another_replicas_status_counts_as_it_is() {
        let mut known = StatusAcknowledgements::default();
        for theirs in [Some(given(9)), None, Some(given(3))] {
            assert_eq!(known.merge(A, Some(&given(5)), theirs.clone(), VerdictsFrom::Status), theirs);
        }
    }

    #[test]
    fn the_leader_does_not_follow_a_status_that_lags_behind() {
        let mut known = StatusAcknowledgements::default();
        let mut then = |ours: Option<i64>, theirs: Option<i64>| {
            if let Some(ours) = ours {
                known.give(A, &given(ours));
            }
            let shown = known.merge(A, ours.map(given).as_ref(), theirs.map(given), VerdictsFrom::Here);
            shown.map(|shown| shown.since.0)
        };
        assert_eq!(then(Some(5), None), Some(5), "not written yet");
        assert_eq!(then(Some(5), Some(5)), Some(5), "written");
        assert_eq!(then(None, Some(5)), None, "it ended, which is not written yet");
        assert_eq!(then(Some(7), Some(5)), Some(7), "another one was given");
        assert_eq!(then(Some(7), None), Some(7), "the end of the first is written");
        assert_eq!(then(Some(7), Some(7)), Some(7));
        assert_eq!(then(None, None), None, "the end of the second");
        known.forget(A);
        assert!(known.0.is_empty());
    }

    #[test]
    fn a_new_leader_takes_over_what_the_last_one_wrote_late() {
        let mut known = StatusAcknowledgements::default();
        let first = known.merge(A, None, Some(given(5)), VerdictsFrom::Status);
        let second = known.merge(A, first.as_ref(), Some(given(6)), VerdictsFrom::Here);
        assert_eq!(second, Some(given(6)), "a newer one");
        assert_eq!(known.merge(A, second.as_ref(), None, VerdictsFrom::Here), None, "and its end");
        assert_eq!(known.merge(A, None, Some(given(6)), VerdictsFrom::Here), None, "once");
    }
}
