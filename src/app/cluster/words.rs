//! How what a replica has besides stands, in words.

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
        let word = match (self.ingest.is_complete(), self.age.stale_for()) {
            (false, _) if !self.store.is_complete() => Word::not_ready("no list of the services has ended yet").usual(),
            (false, _) => {
                Word::bad("what is served comes from an earlier run's file until the cluster has told all anew")
            }
            (true, Some(_)) => Word::bad("changes in the cluster are not heard of: what is served may be old"),
            (true, None) => return Word::good("what is served is what the cluster holds"),
        };
        word.with(self.api_health.watch_error().map(|why| why.to_string()))
    }

    fn installs(&self) -> Word {
        let elsewhere = self.installs.elsewhere();
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
