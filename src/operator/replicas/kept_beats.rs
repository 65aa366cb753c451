//! Heartbeats that wait for the next leader: the newest of each instance, for a minute.
//!
//! A program whose heartbeat was acknowledged must not lose its lease because of an election. What is lost anyway, with this process,
//! does no harm: a new leader gives every lease its full time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::sync::Notify;
use uuid::Uuid;

use super::passed_headers::{REQUEST_HEADERS, picked};
use crate::model::name::InstanceName;
use crate::model::ports::{PassOnError, PassedBeat};
use crate::telemetry::metrics::Metrics;

/// Most instances whose heartbeat is kept: as many as PORTOLAN_MAX_INSTANCES allows by default.
const MAX_KEPT: usize = 25_600;
/// Most memory for all of them, in bytes of requests.
const MAX_BYTES: usize = 16 << 20;
/// Time that one is kept: an election takes 15 s.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// An instance of a service.
pub(super) type BeatKey = (Uuid, InstanceName);

/// The heartbeats; cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct KeptBeats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    beats: Mutex<Beats>,
    added: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Beats {
    by_instance: HashMap<BeatKey, KeptBeat>,
    bytes: usize,
    /// Those last taken that still count, with the time since when each is kept.
    taken: HashMap<BeatKey, Instant>,
}

/// A heartbeat that is kept.
#[derive(Debug)]
pub(super) struct KeptBeat {
    pub(super) beat: PassedBeat,
    since: Instant,
    ends: Instant,
}

impl KeptBeats {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Inner { beats: Mutex::default(), added: Notify::new(), metrics }))
    }

    /// Keeps it instead of an older one of its instance.
    ///
    /// # Errors
    /// [`PassOnError::Busy`] if there is no room.
    pub(super) fn keep(&self, mut beat: PassedBeat) -> Result<(), PassOnError> {
        // The rest of the head is not forwarded, and would only take memory.
        *beat.request.headers_mut() = picked(beat.request.headers(), &REQUEST_HEADERS);
        let kept = self.change(|beats| beats.keep(KeptBeat::new(beat)));
        if !kept {
            self.0.metrics.reject("heartbeats_kept");
            return Err(PassOnError::Busy);
        }
        self.0.added.notify_one();
        Ok(())
    }

    /// Drops what is kept of an instance that was heard at `at`: a heartbeat older than that would overrule what the program has said since.
    pub(super) fn heard(&self, key: &BeatKey, at: Instant) {
        self.change(|beats| {
            if beats.by_instance.get(key).is_some_and(|kept| kept.since <= at) {
                beats.remove(key);
            }
            if beats.taken.get(key).is_some_and(|since| *since <= at) {
                beats.taken.remove(key);
            }
        });
    }

    /// Whether one that was taken is still to be delivered: its instance has not been heard since.
    pub(super) fn counts(&self, taken: &KeptBeat) -> bool {
        self.change(|beats| beats.taken.contains_key(&taken.key()))
    }

    /// Keeps one again that could not be delivered, unless there is a newer one that says as much, or its time is over.
    pub(super) fn put_back(&self, kept: KeptBeat) {
        let key = kept.key();
        self.change(|beats| match beats.remove(&key) {
            newer if !beats.taken.contains_key(&key) => newer.is_some_and(|newer| beats.keep(newer)),
            Some(newer) if kept.ends <= Instant::now() || !newer.says_less_than(&kept) => beats.keep(newer),
            Some(newer) => beats.keep(KeptBeat { ends: newer.ends.max(kept.ends), ..kept }),
            None => kept.ends > Instant::now() && beats.keep(kept),
        });
    }

    /// Takes up to `most` of them; those whose time is over are dropped. Only one task may take them.
    pub(super) fn take(&self, most: usize) -> Vec<KeptBeat> {
        self.change(|beats| {
            beats.drop_old();
            let keys: Vec<BeatKey> = beats.by_instance.keys().take(most).cloned().collect();
            let taken: Vec<KeptBeat> = keys.iter().filter_map(|key| beats.remove(key)).collect();
            beats.taken = taken.iter().map(|kept| (kept.key(), kept.since)).collect();
            taken
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.change(|beats| beats.by_instance.is_empty())
    }

    /// Waits until one is added.
    pub(super) async fn added(&self) {
        self.0.added.notified().await;
    }

    fn change<T>(&self, how: impl FnOnce(&mut Beats) -> T) -> T {
        how(&mut self.0.beats.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Beats {
    /// Whether there was room.
    fn keep(&mut self, kept: KeptBeat) -> bool {
        let key = kept.key();
        let kept = match self.remove(&key) {
            Some(older) if kept.says_less_than(&older) => KeptBeat { ends: kept.ends, ..older },
            _ => kept,
        };
        if !self.has_room(&kept) {
            self.drop_old();
        }
        let fits = self.has_room(&kept);
        if fits {
            self.bytes += kept.bytes();
            self.by_instance.insert(key, kept);
        }
        fits
    }

    fn has_room(&self, kept: &KeptBeat) -> bool {
        self.by_instance.len() < MAX_KEPT && self.bytes + kept.bytes() <= MAX_BYTES
    }

    fn remove(&mut self, key: &BeatKey) -> Option<KeptBeat> {
        let kept = self.by_instance.remove(key)?;
        self.bytes -= kept.bytes();
        Some(kept)
    }

    fn drop_old(&mut self) {
        let now = Instant::now();
        let old: Vec<BeatKey> =
            self.by_instance.iter().filter(|(_, kept)| kept.ends <= now).map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.remove(key);
        }
    }
}

impl KeptBeat {
    fn new(beat: PassedBeat) -> Self {
        let since = Instant::now();
        Self { beat, since, ends: since + KEPT_FOR }
    }

    /// A register call that repeats what is registered does not say how the program is.
    fn says_less_than(&self, other: &Self) -> bool {
        self.beat.beat.is_none() && other.beat.beat.is_some()
    }

    fn key(&self) -> BeatKey {
        (self.beat.service, self.beat.instance.clone())
    }

    /// What it takes, about.
    fn bytes(&self) -> usize {
        let request: &Request<Bytes> = &self.beat.request;
        let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let note = self.beat.beat.as_ref().and_then(|beat| beat.note.as_ref()).map_or(0, String::len);
        size_of::<Self>() + headers + request.body().len() + note + request.uri().path().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ports::{Beat, BeatStatus};

    fn beat(instance: &str, status: Option<BeatStatus>, body: usize) -> PassedBeat {
        let mut request = Request::new(Bytes::from(vec![b' '; body]));
        request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer a"));
        request.headers_mut().insert("x-other", http::HeaderValue::from_static("b"));
        let beat = status.map(|status| Beat { status, note: None });
        PassedBeat { service: Uuid::nil(), instance: instance.parse().expect("a label"), beat, request }
    }

    fn statuses(kept: &KeptBeats) -> Vec<(String, Option<BeatStatus>)> {
        let all = kept.take(usize::MAX).into_iter();
        let mut all: Vec<_> = all.map(|k| (k.beat.instance.to_string(), k.beat.beat.map(|b| b.status))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    #[test]
    fn the_newest_of_each_instance_is_kept() {
        let kept = KeptBeats::new(Metrics::default());
        for (instance, status) in [
            ("a", Some(BeatStatus::Pass)),
            ("b", None),
            ("a", Some(BeatStatus::Fail)),
            ("a", None),
            ("b", Some(BeatStatus::Warn)),
        ] {
            kept.keep(beat(instance, status, 0)).expect("room");
        }
        let taken = kept.take(usize::MAX);
        assert!(taken.iter().all(|kept| kept.beat.request.headers().len() == 1), "only what is forwarded");
        for one in taken {
            kept.put_back(one);
        }
        kept.keep(beat("b", Some(BeatStatus::Pass), 0)).expect("room");
        kept.put_back(KeptBeat::new(beat("b", Some(BeatStatus::Fail), 0)));
        assert_eq!(
            statuses(&kept),
            [("a".to_owned(), Some(BeatStatus::Fail)), ("b".to_owned(), Some(BeatStatus::Pass))],
            "a renewal says nothing of the program, and an older one does not come back"
        );
        assert!(kept.is_empty());
        kept.put_back(KeptBeat { ends: Instant::now(), ..KeptBeat::new(beat("a", None, 0)) });
        assert!(kept.is_empty(), "its time is over");
    }

    #[test]
    fn a_status_that_comes_back_outlasts_a_newer_renewal() {
        let kept = KeptBeats::new(Metrics::default());
        kept.keep(beat("a", Some(BeatStatus::Fail), 0)).expect("room");
        let failed = kept.take(1).pop().expect("one");
        kept.keep(beat("a", None, 0)).expect("room");
        let renewed = kept.take(1).pop().expect("one");
        let (older, newer) = (failed.ends, renewed.ends);
        kept.put_back(renewed);
        kept.put_back(failed);
        let left = kept.take(usize::MAX);
        let found: Vec<_> = left.iter().map(|one| (one.beat.beat.as_ref().map(|beat| beat.status), one.ends)).collect();
        assert!(older < newer);
        assert_eq!(found, [(Some(BeatStatus::Fail), newer)], "for as long as the renewal");

        kept.keep(beat("a", None, 0)).expect("room");
        let over = KeptBeat { ends: Instant::now(), ..KeptBeat::new(beat("a", Some(BeatStatus::Fail), 0)) };
        kept.put_back(over);
        assert_eq!(statuses(&kept), [("a".to_owned(), None)], "one whose time is over does not come back");
    }

    #[test]
    fn what_is_older_than_what_was_heard_is_dropped_wherever_it_is() {
        let kept = KeptBeats::new(Metrics::default());
        let fail = || beat("a", Some(BeatStatus::Fail), 0);
        let began = Instant::now().checked_sub(Duration::from_millis(1)).expect("the machine is up for longer");
        kept.keep(fail()).expect("room");
        let key = (Uuid::nil(), "a".parse().expect("a label"));
        kept.heard(&key, began);
        assert!(!kept.is_empty(), "it is newer");
        kept.heard(&key, Instant::now());
        assert!(kept.is_empty());

        kept.keep(fail()).expect("room");
        let taken = kept.take(1).pop().expect("one");
        assert!(kept.counts(&taken));
        kept.heard(&key, Instant::now());
        assert!(!kept.counts(&taken), "while it is delivered");
        kept.keep(beat("a", Some(BeatStatus::Warn), 0)).expect("room");
        kept.put_back(taken);
        assert_eq!(statuses(&kept), [("a".to_owned(), Some(BeatStatus::Warn))]);
        assert_eq!(kept.change(|beats| beats.bytes), 0);
    }

    #[test]
    fn their_number_and_their_memory_have_a_bound() {
        let metrics = Metrics::default();
        let kept = KeptBeats::new(metrics.clone());
        let large = |n: usize| kept.keep(beat(&format!("i{n}"), None, 1 << 20));
        let fit = (0..64).take_while(|n| large(*n).is_ok()).count();
        assert_eq!(fit, 15, "with what each takes besides");
        assert_eq!(kept.keep(beat("small", None, 0)), Ok(()));
        assert_eq!(large(99), Err(PassOnError::Busy));
        assert_eq!(kept.take(usize::MAX).len(), 16);
        assert_eq!(kept.change(|beats| beats.bytes), 0);
        for n in 0..MAX_KEPT {
            kept.keep(beat(&format!("i{n}"), None, 0)).expect("room");
        }
        assert_eq!(kept.keep(beat("more", None, 0)), Err(PassOnError::Busy));
        kept.keep(beat("i7", None, 0)).expect("it takes the place of its older one");
        let text = metrics.render().expect("metrics");
        assert!(text.contains("portolan_rejected_total{reason=\"heartbeats_kept\"} 3"), "{text}");
    }
}
