//! What is known of each object that checks name, and which one is read next. Pure: callers pass the time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::read::Parts;
use crate::model::backoff::Backoff;
use crate::model::certificates::{CertificateError, CertificateObject, ObjectPart, Pem};
use crate::model::name::Namespace;

/// Most objects.
const MAX_OBJECTS: usize = 512;
/// Most objects of one namespace, so that none takes the place of all others.
const MAX_OF_NAMESPACE: usize = 128;
/// Most parts of one object.
const MAX_PARTS: usize = 8;
/// Most bytes of all texts, each counted once however many objects have it.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Most bytes of the texts of one namespace, each counted once, even if other namespaces have it too.
const MAX_BYTES_OF_NAMESPACE: usize = 4 * 1024 * 1024;
/// Time between two readings of an object.
const REREAD: Duration = Duration::from_mins(1);
/// Pauses after a reading that failed: somebody may be about to create the object, or the right to read it.
const RETRIES: Backoff = Backoff::exact(Duration::from_secs(5), Duration::from_secs(15));
/// Pauses between readings ahead of time, while these find nothing new.
const DOUBTS: Backoff = Backoff::exact(Duration::from_secs(5), REREAD);
/// An object that no probe has asked for within this time is forgotten. A check with a longer interval waits for a reading each time.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

type Reading = Result<Arc<Pem>, CertificateError>;

/// The answer to a probe.
pub(super) enum Answer {
    Known(Reading),
    /// It is not read yet.
    Wanted,
    /// It will not be read: so many are named already.
    Full(&'static str),
}

/// The objects.
#[derive(Default)]
pub(super) struct Table {
    objects: HashMap<CertificateObject, Known>,
    /// Texts by their digest: many namespaces have the same bundle.
    texts: HashMap<[u8; 32], Weak<Pem>>,
}

struct Known {
    parts: BTreeMap<ObjectPart, Part>,
    due: Instant,
    /// When it may be read ahead of time again.
    doubted_until: Instant,
    reading: bool,
    retries: Backoff,
    doubts: Backoff,
}

struct Part {
    /// None until it is read.
    reading: Option<Reading>,
    asked_at: Instant,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self { parts: BTreeMap::new(), due: now, doubted_until: now, reading: false, retries: RETRIES, doubts: DOUBTS }
    }

    /// The texts of its parts.
    fn texts(&self) -> impl Iterator<Item = &Arc<Pem>> {
        self.parts.values().filter_map(Part::text)
    }

    /// Whether it was read, and nothing in it is of use.
    fn failed(&self) -> bool {
        !self.reading && self.parts.values().all(|part| matches!(part.reading, Some(Err(_))))
    }

    fn asked_at(&self) -> Option<Instant> {
        self.parts.values().map(|part| part.asked_at).max()
    }
}

impl Part {
    fn text(&self) -> Option<&Arc<Pem>> {
        self.reading.as_ref()?.as_ref().ok()
    }

    /// Takes in what a reading gave. A text stays if its successor is out of reach for a reason that is not the object's:
    /// the API server is away, or there is no room.
    fn set(&mut self, read: Reading) {
        let passing = matches!(read, Err(CertificateError::Unavailable(_) | CertificateError::TooMany(_)));
        if !(passing && self.text().is_some()) {
            self.reading = Some(read);
        }
    }
}

impl Table {
    /// What is known of a part. The object is read from now on.
    pub(super) fn ask(&mut self, object: &CertificateObject, part: &ObjectPart, now: Instant) -> Answer {
        if !self.objects.contains_key(object)
            && let Err(bound) = self.make_room(&object.namespace)
        {
            return Answer::Full(bound);
        }
        let known = self.objects.entry(object.clone()).or_insert_with(|| Known::new(now));
        if let Some(part) = known.parts.get_mut(part) {
            part.asked_at = now;
            return part.reading.clone().map_or(Answer::Wanted, Answer::Known);
        }
        if known.parts.len() >= MAX_PARTS {
            return Answer::Full("8 keys of this object");
        }
        known.parts.insert(part.clone(), Part { reading: None, asked_at: now });
        known.due = now;
        Answer::Wanted
    }

    /// Makes room for one more object of this namespace.
    ///
    /// # Errors
    /// The bound that is reached, if no object can be forgotten.
    fn make_room(&mut self, namespace: &Namespace) -> Result<(), &'static str> {
        let of_namespace = self.objects.keys().filter(|other| other.namespace == *namespace).count();
        if of_namespace >= MAX_OF_NAMESPACE && !self.forget_failed(|other| other.namespace == *namespace) {
            return Err("128 objects of this namespace");
        }
        if self.objects.len() >= MAX_OBJECTS && !self.forget_failed(|_| true) {
            return Err("512 objects");
        }
        Ok(())
    }

    /// Forgets the object that failed and was not asked for longest. Those that are not read yet keep their turn. Returns whether there was one.
    fn forget_failed(&mut self, among: impl Fn(&CertificateObject) -> bool) -> bool {
        let failed = self.objects.iter().filter(|(object, known)| among(object) && known.failed());
        let oldest = failed.min_by_key(|(_, known)| known.asked_at()).map(|(object, _)| object.clone());
        oldest.is_some_and(|object| self.objects.remove(&object).is_some())
    }

    /// Makes the object due, unless that helped nothing a moment ago.
    pub(super) fn doubt(&mut self, object: &CertificateObject, now: Instant) {
        let Some(known) = self.objects.get_mut(object) else { return };
        if known.reading || now < known.doubted_until {
            return;
        }
        known.doubted_until = now + known.doubts.next();
        known.due = known.due.min(now);
    }

    /// The object that is overdue most, with the parts that are wanted. It counts as being read until [`Table::finish`].
    pub(super) fn next(&mut self, now: Instant) -> Option<(CertificateObject, Vec<ObjectPart>)> {
        let due = self.objects.iter_mut().filter(|(_, known)| !known.reading && known.due <= now);
        let (object, known) = due.min_by_key(|(_, known)| known.due)?;
        known.reading = true;
        Some((object.clone(), known.parts.keys().cloned().collect()))
    }

    /// Takes in what a reading gave. Returns whether all of it had room.
    pub(super) fn finish(
        &mut self,
        object: &CertificateObject,
        read: Result<Parts, CertificateError>,
        now: Instant,
    ) -> bool {
        let Some(mut known) = self.objects.remove(object) else { return true };
        known.reading = false;
        let read = match read {
            Ok(parts) => self.take_parts(&object.namespace, &mut known, parts, now),
            Err(error) => {
                known.parts.values_mut().for_each(|part| part.set(Err(error.clone())));
                Err(error)
            }
        };
        if read.is_ok() {
            known.retries = RETRIES;
            known.due = now + REREAD.mul_f64(rand::random_range(0.9..=1.0));
        } else {
            known.due = now + known.retries.next();
        }
        if known.parts.values().any(|part| part.reading.is_none()) {
            // A probe asked for it during the reading.
            known.due = now;
        }
        self.objects.insert(object.clone(), known);
        !matches!(read, Err(CertificateError::TooMany(_)))
    }

    /// Takes in the parts of an object, which is not in the table meanwhile.
    ///
    /// # Errors
    /// Why a part has no new text; that there is no room, if this is one of several reasons.
    fn take_parts(
        &mut self,
        namespace: &Namespace,
        known: &mut Known,
        parts: Parts,
        now: Instant,
    ) -> Result<(), CertificateError> {
        let mut result = Ok(());
        for (name, read) in parts {
            // Its old text makes room for the new one.
            let Some(mut part) = known.parts.remove(&name) else { continue };
            let read = read.and_then(|pem| self.share(namespace, known, part.text(), pem));
            if part.reading.as_ref() != Some(&read) {
                (known.doubts, known.doubted_until) = (DOUBTS, now);
            }
            if let Err(error) = &read
                && !matches!(result, Err(CertificateError::TooMany(_)))
            {
                result = Err(error.clone());
            }
            part.set(read);
            known.parts.insert(name, part);
        }
        result
    }

    /// The same text as another object has, if there is one. `known` is the rest of its object, `old` the text that it replaces.
    fn share(&mut self, namespace: &Namespace, known: &Known, old: Option<&Arc<Pem>>, pem: Pem) -> Reading {
        if let Some(old) = old.filter(|old| ***old == pem) {
            return Ok(Arc::clone(old));
        }
        if self.bytes_with(namespace, known, &pem) > MAX_BYTES_OF_NAMESPACE {
            return Err(CertificateError::TooMany("4 MiB of certificates of this namespace"));
        }
        if let Some(shared) = self.texts.get(&pem.digest()).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        self.texts.retain(|_, text| text.strong_count() > 0);
        let held: usize = self.texts.values().filter_map(Weak::upgrade).map(|text| text.expose().len()).sum();
        let freed = old.filter(|old| Arc::strong_count(old) == 1).map_or(0, |old| old.expose().len());
        if held.saturating_sub(freed) + pem.expose().len() > MAX_BYTES {
            return Err(CertificateError::TooMany("32 MiB of certificates"));
        }
        let pem = Arc::new(pem);
        self.texts.insert(pem.digest(), Arc::downgrade(&pem));
        Ok(pem)
    }

    /// The bytes of this text, and of all others of the namespace. `known` is an object of it that is not in the table.
    fn bytes_with(&self, namespace: &Namespace, known: &Known, pem: &Pem) -> usize {
        let others = self.objects.iter().filter(|(object, _)| object.namespace == *namespace).map(|(_, other)| other);
        let mut counted = HashSet::from([pem.digest()]);
        let texts = others.chain([known]).flat_map(Known::texts).filter(|text| counted.insert(text.digest()));
        pem.expose().len() + texts.map(|text| text.expose().len()).sum::<usize>()
    }

    /// Forgets what no probe asks for. Returns whether that was everything.
    pub(super) fn forget_unused(&mut self, now: Instant) -> bool {
        self.objects.retain(|_, known| {
            known.parts.retain(|_, part| now.duration_since(part.asked_at) < FORGOTTEN_AFTER);
            known.reading || !known.parts.is_empty()
        });
        self.objects.is_empty()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
        self.texts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::certificates::ObjectKind;

    fn object(namespace: &str, name: &str) -> CertificateObject {
        let namespace = namespace.parse().expect("a namespace");
        CertificateObject { namespace, kind: ObjectKind::Secret, name: name.to_owned() }
    }

    fn key() -> ObjectPart {
        ObjectPart::Key("ca.crt".to_owned())
    }

    fn parts(text: &str) -> Parts {
        Parts::from([(key(), Ok(Pem::new(text.as_bytes().to_vec())))])
    }

    fn known(table: &mut Table, object: &CertificateObject, now: Instant) -> Option<Result<String, CertificateError>> {
        let text = |pem: Arc<Pem>| String::from_utf8_lossy(pem.expose()).into_owned();
        match table.ask(object, &key(), now) {
            Answer::Known(reading) => Some(reading.map(text)),
            Answer::Wanted => None,
            Answer::Full(bound) => Some(Err(CertificateError::TooMany(bound))),
        }
    }

    /// A table with one object that was read.
    fn with(text: &str, now: Instant) -> (Table, CertificateObject) {
        let (mut table, object) = (Table::default(), object("shop", "a"));
        assert_eq!(known(&mut table, &object, now), None);
        assert_eq!(table.next(now), Some((object.clone(), vec![key()])));
        table.finish(&object, Ok(parts(text)), now);
        (table, object)
    }

    fn after(seconds: u64, start: Instant) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn an_object_is_read_once_for_all_who_ask_and_again_each_minute() {
        let start = Instant::now();
        let (mut table, object) = (Table::default(), object("shop", "a"));
        assert!((0..3).all(|_| known(&mut table, &object, start).is_none()));
        assert!(table.next(start).is_some());
        assert_eq!(table.next(start), None, "it is being read");
        table.finish(&object, Ok(parts("one")), start);
        assert_eq!(known(&mut table, &object, start), Some(Ok("one".to_owned())));
        assert_eq!(table.next(after(50, start)), None);
        assert!(table.next(after(60, start)).is_some());
        table.finish(&object, Ok(parts("two")), after(60, start));
        assert_eq!(known(&mut table, &object, after(60, start)), Some(Ok("two".to_owned())));
    }

    #[test]
    fn an_outage_changes_nothing_but_a_lost_right_or_object_counts_at_once() {
        let start = Instant::now();
        let away = || CertificateError::Unavailable("does not answer".to_owned());
        for (error, stays) in
            [(away(), true), (CertificateError::Forbidden, false), (CertificateError::NotFound, false)]
        {
            let (mut table, object) = with("one", start);
            let now = after(60, start);
            assert!(table.next(now).is_some());
            table.finish(&object, Err(error.clone()), now);
            let expected = if stays { Ok("one".to_owned()) } else { Err(error) };
            assert_eq!(known(&mut table, &object, now), Some(expected));
            assert!(table.next(after(66, start)).is_some(), "it is tried again soon");
        }
        let (mut table, object) = (Table::default(), object("shop", "a"));
        assert_eq!(known(&mut table, &object, start), None);
        assert!(table.next(start).is_some());
        table.finish(&object, Err(away()), start);
        assert!(matches!(known(&mut table, &object, start), Some(Err(CertificateError::Unavailable(_)))));
    }

    #[test]
    fn a_doubt_has_it_read_ahead_of_time_ever_more_rarely_until_it_changes() {
        let start = Instant::now();
        let (mut table, object) = with("one", start);
        let mut reads = Vec::new();
        for second in 1..=50 {
            let now = after(second, start);
            table.doubt(&object, now);
            if table.next(now).is_some() {
                reads.push(second);
                table.finish(&object, Ok(parts("one")), now);
            }
        }
        assert_eq!(reads, [1, 6, 16, 36], "after 5, 10 and 20 seconds");
        let now = after(80, start);
        table.doubt(&object, now);
        assert!(table.next(now).is_some());
        table.finish(&object, Ok(parts("two")), now);
        table.doubt(&object, after(120, start));
        assert!(table.next(after(120, start)).is_some());
    }

    #[test]
    fn a_part_that_is_asked_for_during_a_reading_is_read_next() {
        let start = Instant::now();
        let (mut table, object) = (Table::default(), object("shop", "a"));
        assert_eq!(known(&mut table, &object, start), None);
        assert!(table.next(start).is_some());
        assert!(matches!(table.ask(&object, &ObjectPart::Pair, start), Answer::Wanted));
        table.finish(&object, Ok(parts("one")), start);
        assert_eq!(table.next(start), Some((object, vec![key(), ObjectPart::Pair])));
    }

    #[test]
    fn objects_with_the_same_text_share_it() {
        let start = Instant::now();
        let (mut table, first) = with("one", start);
        let second = object("mail", "b");
        assert_eq!(known(&mut table, &second, start), None);
        assert!(table.next(start).is_some());
        table.finish(&second, Ok(parts("one")), start);
        let mut held = |object: &CertificateObject| match table.ask(object, &key(), start) {
            Answer::Known(Ok(pem)) => pem,
            _ => panic!("it was read"),
        };
        assert!(Arc::ptr_eq(&held(&first), &held(&second)));
    }

    #[test]
    fn a_namespace_and_the_cluster_name_only_so_many() {
        let start = Instant::now();
        let mut table = Table::default();
        let mut ask = |namespace: &str, n: usize| known(&mut table, &object(namespace, &n.to_string()), start);
        assert!((0..128).all(|n| ask("a", n).is_none()));
        assert_eq!(ask("a", 128), Some(Err(CertificateError::TooMany("128 objects of this namespace"))));
        assert!(["b", "c", "d"].into_iter().all(|namespace| (0..128).all(|n| ask(namespace, n).is_none())));
        assert_eq!(ask("e", 0), Some(Err(CertificateError::TooMany("512 objects"))));
        assert!(!table.forget_unused(after(599, start)) && table.forget_unused(after(600, start)));
    }

    /// Asks for an object, and has it read as `text`.
    fn read(
        table: &mut Table,
        object: &CertificateObject,
        text: &str,
        now: Instant,
    ) -> Result<String, CertificateError> {
        known(table, object, now);
        while let Some((due, _)) = table.next(now) {
            let read = if due == *object { Ok(parts(text)) } else { Err(CertificateError::NotFound) };
            table.finish(&due, read, now);
        }
        known(table, object, now).expect("it was read")
    }

    /// 512 KiB that no other `n` gives.
    fn large(n: &str) -> String {
        format!("{}{n}", "0".repeat(512 * 1024 - n.len()))
    }

    #[test]
    fn all_texts_together_are_bounded_and_who_has_one_keeps_it_and_may_replace_it() {
        let start = Instant::now();
        let (mut table, first) = with(&large("old"), start);
        for n in 0..63 {
            let object = object(&format!("ns-{}", n / 8), &n.to_string());
            assert!(read(&mut table, &object, &large(&n.to_string()), start).is_ok());
        }
        let full = CertificateError::TooMany("32 MiB of certificates");
        assert_eq!(read(&mut table, &object("late", "a"), "one", start), Err(full));
        let now = after(50, start);
        for (text, expected) in [(format!("{}0", large("old")), large("old")), (large("new"), large("new"))] {
            table.objects.get_mut(&first).expect("it is known").due = now;
            assert_eq!(read(&mut table, &first, &text, now), Ok(expected));
        }
    }

    #[test]
    fn a_namespace_that_floods_the_table_leaves_the_texts_of_another_and_lets_them_rotate() {
        let start = Instant::now();
        let (mut table, first) = with("old", start);
        let full = || CertificateError::TooMany("4 MiB of certificates of this namespace");
        for n in 0..100 {
            let read = read(&mut table, &object("flood", &n.to_string()), &large(&n.to_string()), start);
            assert_eq!(read.map(|_| ()), if n < 8 { Ok(()) } else { Err(full()) });
        }
        assert!(read(&mut table, &object("flood", "same"), &large("7"), start).is_ok(), "it counts once");
        assert_eq!(read(&mut table, &object("mail", "b"), &large("7"), start), Ok(large("7")));
        assert_eq!(known(&mut table, &first, start), Some(Ok("old".to_owned())));
        table.doubt(&first, after(1, start));
        assert_eq!(read(&mut table, &first, "new", after(1, start)), Ok("new".to_owned()));
    }

    #[test]
    fn a_full_table_forgets_the_failed_object_that_was_not_asked_for_longest() {
        let start = Instant::now();
        let (mut table, good) = with("one", start);
        for namespace in ["a", "b", "c", "d"] {
            for n in 0..if namespace == "d" { 127 } else { 128 } {
                assert_eq!(known(&mut table, &object(namespace, &n.to_string()), start), None);
            }
        }
        let full = Some(Err(CertificateError::TooMany("512 objects")));
        assert_eq!(known(&mut table, &object("late", "a"), start), full, "all others wait for their turn");
        while let Some((due, _)) = table.next(start) {
            assert!(table.finish(&due, Err(CertificateError::NotFound), start));
        }
        let now = after(1, start);
        let forgotten = object("b", "5");
        let others: Vec<_> =
            table.objects.keys().filter(|other| ![&good, &forgotten].contains(other)).cloned().collect();
        assert!(others.iter().all(|other| matches!(known(&mut table, other, now), Some(Err(_)))));
        assert_eq!(read(&mut table, &object("late", "a"), "two", now), Ok("two".to_owned()));
        assert!(!table.objects.contains_key(&forgotten) && table.objects.len() == MAX_OBJECTS);
        assert_eq!(
            known(&mut table, &object("a", "more"), now),
            None,
            "it takes the place of another of its namespace"
        );
        assert_eq!(table.objects.keys().filter(|object| object.namespace.as_str() == "a").count(), MAX_OF_NAMESPACE);
        assert_eq!(known(&mut table, &good, now), Some(Ok("one".to_owned())));
    }
}
