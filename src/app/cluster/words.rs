//! How what a replica has besides stands, in words.

use crate::app::told::{LocalWords, Word, Words};
use crate::model::ports::{Freshness, Leadership, Role};
use crate::operator::intake::Intake;
use crate::operator::lease::Elector;
use crate::operator::mirror_age::MirrorAge;
use crate::store::Store;
use crate::telemetry::told::Part;

/// Of a replica.
pub(super) struct ClusterWords {
    pub(super) local: LocalWords,
    pub(super) store: Store,
    pub(super) elector: Elector,
    pub(super) intake: Intake,
    pub(super) age: MirrorAge,
    /// Somebody led already.
    pub(super) led: bool,
}

impl ClusterWords {
    fn leader(&mut self) -> Option<Word> {
        let word = match (self.elector.role(), self.elector.holder()) {
            (Role::Leads, _) => Word::good("this replica leads: it probes, and writes status for all"),
            (Role::Alone, _) => Word::bad(
                "the Lease could not be renewed: this replica writes nothing until it holds it again, and probes for its own readers",
            ),
            // Who that is comes from the Lease, and `/readyz?verbose` says it.
            (Role::Follows, Some(holder)) => Word::good("another replica leads: it probes").of(&holder.identity),
            (Role::Follows, None) if self.led => Word::bad("no replica leads that this one knows of"),
            (Role::Follows, None) => return None,
        };
        self.led = true;
        Some(word)
    }

    fn mirror(&self) -> Option<Word> {
        let word = match (self.intake.is_complete(), self.age.stale_for()) {
            (false, _) if !self.store.is_complete() => return None,
            (false, _) => {
                Word::bad("what is served comes from an earlier run's file until the cluster has told all anew")
            }
            (true, Some(_)) => Word::bad("changes in the cluster are not heard of: what is served may be old"),
            (true, None) => Word::good("what is served is what the cluster holds"),
        };
        Some(word)
    }
}

impl Words for ClusterWords {
    fn words(&mut self) -> Vec<(Part, Word)> {
        let mut words = self.local.words();
        words.extend(self.leader().map(|word| (Part::Leader, word)));
        words.extend(self.mirror().map(|word| (Part::Mirror, word)));
        words
    }
}
