//! All annotated objects that were listed and watched.

use std::collections::{BTreeSet, HashMap};

use super::kind::Kind;
use super::object::{Held, ObjectRef, Seen};
use crate::model::name::ServiceKey;
use crate::operator::kubernetes::follow::News;

/// The objects, and which service each names.
#[derive(Debug, Default)]
pub(super) struct View {
    objects: HashMap<ObjectRef, Held>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectRef>>,
}

impl View {
    /// Takes in news of a kind: the annotated objects that it is about.
    pub(super) fn take(&mut self, kind: Kind, news: News<Seen>) -> Vec<ObjectRef> {
        match news {
            News::Listed(_, all) => {
                self.clear(kind);
                all.into_iter().filter_map(|seen| self.put(seen)).collect()
            }
            News::Put(seen) => self.put(*seen).into_iter().collect(),
            News::Removed(seen) => {
                self.remove(&seen.object);
                Vec::new()
            }
        }
    }

    /// Keeps the object, unless a newer version of it is known.
    pub(super) fn put(&mut self, seen: Seen) -> Option<ObjectRef> {
        let Seen { object, revision, held } = seen;
        if self.objects.get(&object).is_some_and(|before| before.revision >= revision) {
            return None;
        }
        self.remove(&object);
        let held = held?;
        if let Ok(key) = &held.service {
            self.by_service.entry(key.clone()).or_default().insert(object.clone());
        }
        self.objects.insert(object.clone(), held);
        Some(object)
    }

    /// Keeps the answer to a write. The watch may be ahead of it: an object that has gone, or was replaced by another of its name, stays
    /// so.
    pub(super) fn put_answer(&mut self, seen: Seen) {
        let uid = |held: &Held| held.uid.clone();
        let known = self.objects.get(&seen.object).map(uid);
        if known.is_some() && known == seen.held.as_ref().map(uid) {
            self.put(seen);
        }
    }

    fn remove(&mut self, object: &ObjectRef) {
        let Some(Held { service: Ok(key), .. }) = self.objects.remove(object) else { return };
        if let Some(objects) = self.by_service.get_mut(&key) {
            objects.remove(object);
            if objects.is_empty() {
                self.by_service.remove(&key);
            }
        }
    }

    /// Forgets all objects of the kind.
    pub(super) fn clear(&mut self, kind: Kind) {
        let all: Vec<ObjectRef> = self.objects.keys().filter(|object| object.kind == kind).cloned().collect();
        for object in &all {
            self.remove(object);
        }
    }

    pub(super) fn get(&self, object: &ObjectRef) -> Option<&Held> {
        self.objects.get(object)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ObjectRef> {
        self.objects.keys()
    }

    /// Those that name the service.
    pub(super) fn naming(&self, key: &ServiceKey) -> impl Iterator<Item = &ObjectRef> {
        self.by_service.get(key).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use serde_json::json;

    use super::*;

    fn seen(name: &str, revision: u64, service: Option<&str>) -> Seen {
        let annotations = service.map(|service| json!({ "portolan.dev/service": service }));
        let object: DynamicObject = serde_json::from_value(json!({ "metadata": {
            "name": name, "namespace": "shop", "uid": "1", "resourceVersion": revision.to_string(), "annotations": annotations,
        } }))
        .expect("an object");
        Seen::of(Kind::WorkloadEntry, &object)
    }

    fn naming(view: &View, service: &str) -> Vec<String> {
        let key = ServiceKey::new(&"shop".parse().expect("a name"), &service.parse().expect("a name"));
        view.naming(&key).map(|object| object.name.clone()).collect()
    }

    #[test]
    fn the_newest_version_says_which_service_it_names() {
        let mut view = View::default();
        let kind = Kind::WorkloadEntry;
        let all = vec![seen("a", 5, Some("orders")), seen("b", 5, None), seen("c", 5, Some("orders"))];
        assert_eq!(view.take(kind, News::Listed(None, all)).len(), 2);
        assert_eq!(naming(&view, "orders"), ["a", "c"]);
        assert_eq!(view.take(kind, News::Put(Box::new(seen("a", 4, Some("stock"))))), []);
        assert_eq!(naming(&view, "orders"), ["a", "c"], "that was an older one");
        assert_eq!(view.take(kind, News::Put(Box::new(seen("a", 6, Some("stock"))))).len(), 1);
        assert_eq!((naming(&view, "orders"), naming(&view, "stock")), (vec!["c".into()], vec!["a".into()]));
        view.take(kind, News::Put(Box::new(seen("a", 7, None))));
        view.take(kind, News::Removed(Box::new(seen("c", 7, Some("orders")))));
        assert_eq!((view.all().count(), view.by_service.len()), (0, 0));
    }

    #[test]
    fn an_answer_brings_no_object_back() {
        let mut view = View::default();
        view.put(seen("a", 5, Some("orders")));
        view.put_answer(seen("a", 6, Some("stock")));
        assert_eq!(naming(&view, "stock"), ["a"]);
        let mut other = seen("a", 8, Some("orders"));
        other.held.as_mut().expect("annotated").uid = "2".to_owned();
        view.put_answer(other);
        assert_eq!(naming(&view, "stock"), ["a"], "that was another object of this name");
        view.take(Kind::WorkloadEntry, News::Removed(Box::new(seen("a", 7, Some("stock")))));
        view.put_answer(seen("a", 9, Some("stock")));
        assert_eq!((view.all().count(), view.by_service.len()), (0, 0));
    }
}
