//! How what a replica has besides stands, in words.

use std::time::Duration;

use crate::app::component_status::{LocalWords, Word, Words};
use crate::model::ports::{Freshness, Leadership, Role};
use crate::operator::ingest::Ingest;
use crate::operator::ingest::mirror_age::MirrorAge;
use crate::operator::kubernetes::health::ApiHealth;
use crate::operator::replicas::installs::Installs;
use crate::operator::replicas::lease::{Elector, Holder};
use crate::store::Store;
use crate::telemetry::server_events::Part;

/// Of a replica. Ready once there is a complete mirror, from the file or from a finished list, however old it is.
pub(super) struct ClusterWords {
    pub(super) local: LocalWords,
    pub(super) store: Store,
    pub(super) elector: Elector,
    pub(super) ingest: Ingest,
    pub(super) api_health: ApiHealth,
    pub(super) installs: Installs,
    pub(super) age: MirrorAge,
}

impl ClusterWords {
    fn leader(&self) -> Word {
        let me = || self.elector.identity().to_owned();
        match (self.elector.role(), self.elector.holder()) {
            (Role::Leads, _) => Word::good("this replica leads: it probes, and writes status for all").with(me()),
            (Role::Alone, _) => Word::bad(
                "the Lease could not be renewed: this replica writes nothing until it holds it again, and probes for its own readers",
            )
            .with(me()),
            // Who that is comes from the Lease, so no event names them.
            (Role::Follows, Some(holder)) => {
                Word::good("another replica leads: it probes").of(&holder.identity).with(place(&holder))
            }
            (Role::Follows, None) => Word::bad("no replica leads that this one knows of").usual(),
        }
    }

    fn mirror(&self) -> Word {
        let listed = self.ingest.is_complete();
        mirror(listed, self.store.is_complete(), self.age.stale_for(), self.api_health.watch_error().as_deref())
    }

    fn installs(&self) -> Word {
        let elsewhere = self.installs.other_installs();
        if elsewhere.objects == 0 {
            return Word::good("no other install writes what this one watches")
                .usual()
                .with(self.installs.own().to_owned());
        }
        Word::bad("another install writes the status of some services: the namespaces that the two watch overlap").with(
            format!("{} of {}; this one is {}", elsewhere.objects, elsewhere.installs.join(", "), self.installs.own()),
        )
    }
}

/// `listed`: every list of this run has ended. `complete`: the store holds all services, also from an earlier run.
fn mirror(listed: bool, complete: bool, stale_for: Option<Duration>, watch_error: Option<&String>) -> Word {
    let word = match (listed, stale_for) {
        (false, _) if !complete => Word::not_ready("no list of the services has ended yet").usual(),
        (false, _) => Word::bad("what is served comes from an earlier run's file until the services are listed again"),
        (true, Some(_)) => Word::bad("changes in the cluster do not arrive: what is served may be old"),
        (true, None) => return Word::good("what is served is what the cluster holds"),
    };
    let age = stale_for.map(|age| format!("silent for {} s; reads go on, writes are refused", age.as_secs().max(1)));
    let detail: Vec<String> = age.into_iter().chain(watch_error.cloned()).collect();
    word.with(Some(detail.join("; ")).filter(|detail| !detail.is_empty()))
}

fn place(holder: &Holder) -> String {
    match holder.address {
        Some(address) => format!("{} at {address}", holder.identity),
        None => format!("{}, which does not say where it is", holder.identity),
    }
}

impl Words for ClusterWords {
    fn words(&self) -> Vec<(Part, Word)> {
        let mut words = self.local.words();
        words.extend([(Part::Leader, self.leader()), (Part::Mirror, self.mirror()), (Part::Installs, self.installs())]);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_says_how_old_it_may_be() {
        let said = |millis| mirror(true, true, millis, None).in_full();
        assert_eq!(said(None), "what is served is what the cluster holds");
        for (millis, line) in [(300, "silent for 1 s"), (31_999, "silent for 31 s")] {
            let said = said(Some(Duration::from_millis(millis)));
            assert!(said.contains(line), "{said}");
        }
        let why = "forbidden".to_owned();
        let said = mirror(true, true, Some(Duration::from_secs(7)), Some(&why)).in_full();
        assert!(said.ends_with("(silent for 7 s; reads go on, writes are refused; forbidden)"), "{said}");
        assert!(mirror(false, true, None, None).is_ready() && !mirror(false, false, None, None).is_ready());
    }
}
