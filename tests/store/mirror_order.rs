//! In whatever order news of objects arrives, the newest decides.

use portolan::model::mirror::{MirrorChange, VerdictsFrom};
use proptest::prelude::*;

use crate::common::{Running, folder, spec};
use crate::mirror::{instance, mirror_settings, object, put, remove};

/// What happens to a name, in order.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The object is created or changed.
    Put,
    /// It stops being a valid service.
    Invalid,
    /// It is deleted, and another one may follow.
    Deleted,
}

/// News of each name, all of it twice, in a random order.
fn story() -> impl Strategy<Value = Vec<MirrorChange>> {
    let event = prop_oneof![4 => Just(Event::Put), 1 => Just(Event::Invalid), 2 => Just(Event::Deleted)];
    let events = proptest::collection::vec((0..3_u8, event), 1..24);
    let news = events.prop_map(|events| {
        let mut lives = [1_u128, 1001, 2001];
        let mut news = Vec::new();
        for (revision, (name, event)) in (1_u64..).zip(events) {
            let (called, life) = (format!("s{name}"), &mut lives[usize::from(name)]);
            let port = u16::try_from(revision).expect("few");
            news.extend(match event {
                Event::Put => put(object(&called, *life, revision, vec![instance("a", spec(port), None)])),
                Event::Invalid => remove(&called, *life, revision),
                Event::Deleted => {
                    *life += 1;
                    remove(&called, *life - 1, revision)
                }
            });
        }
        news
    });
    let twice = news.prop_map(|news: Vec<_>| [news.clone(), news].concat());
    twice.prop_shuffle()
}

/// The newest news of a name, by revision.
fn newest(news: &[MirrorChange], name: &str) -> Option<MirrorChange> {
    let revision = |change: &MirrorChange| match change {
        MirrorChange::Put(object) => object.revision,
        MirrorChange::Remove { revision, .. } => *revision,
    };
    let of_name = news.iter().filter(|change| match change {
        MirrorChange::Put(object) => object.key.name() == name,
        MirrorChange::Remove { key, .. } => key.name() == name,
    });
    of_name.max_by_key(|change| revision(change)).cloned()
}

async fn run(news: Vec<MirrorChange>, chunk: usize) {
    let (_folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    for changes in news.chunks(chunk) {
        s.store.mirror(changes.to_vec(), VerdictsFrom::Status).await.expect("mirrors");
    }
    for name in ["s0", "s1", "s2"] {
        let found =
            s.find(name).map(|service| (service.id, service.revision, service.instances[0].spec.base_url.clone()));
        let expected = match newest(&news, name) {
            Some(MirrorChange::Put(object)) => {
                Some((object.id, object.revision, object.instances[0].spec.base_url.clone()))
            }
            _ => None,
        };
        assert_eq!(found, expected, "{name}");
    }
    let before = (s.all(), s.revision());
    s.stop().await;
    let s = Running::open(mirror_settings(&path)).expect("opens");
    let unnumbered = |mut all: Vec<portolan::model::service::Service>| {
        for service in &mut all {
            service.sequence = 0;
        }
        all
    };
    assert_eq!((s.all(), s.revision()), (unnumbered(before.0), before.1), "the file holds the same");
    s.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_newest_news_of_a_name_counts(news in story(), chunk in 1..8_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(news, chunk));
    }
}
