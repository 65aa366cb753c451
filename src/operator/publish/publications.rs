//! The result of publishing each object, for its status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::model::name::ServiceKey;
use crate::operator::crd::PublishSpec;
use crate::operator::ingest::ObservedObject;
use crate::operator::status::Publication;

pub(super) const NO_RIGHT: &str = "this ServiceAccount may not publish endpoints; apply deploy/components/publish";

/// The result while the Kubernetes API refuses what publishing needs, in its words.
pub(super) fn forbidden(why: &str) -> Publication {
    Publication { published: false, reason: "Forbidden", message: format!("{NO_RIGHT}: {why}") }
}

/// What a result is about. It says nothing about another object of the name, nor about another `spec.publish`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PublishedObject {
    id: Uuid,
    publish: PublishSpec,
}

impl PublishedObject {
    fn of(observed: &ObservedObject) -> Option<Self> {
        Some(Self { id: observed.id(), publish: observed.parsed.publish.clone()? })
    }
}

/// Set by the publisher, read by the status writer. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Publications(Option<Arc<Mutex<Results>>>);

/// Each object that asks for endpoints, and what became of it; none before that is known.
type Results = HashMap<ServiceKey, (PublishedObject, Option<Publication>)>;

impl Publications {
    /// For an install that publishes.
    pub(super) fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// For an install that does not publish: the status of each object that asks for it says so.
    pub fn off() -> Self {
        Self(None)
    }

    /// What became of the object; none if it does not publish, or before the publisher has looked at it with this `spec.publish`.
    pub fn of(&self, observed: &ObservedObject) -> Option<Publication> {
        let object = PublishedObject::of(observed)?;
        match self.all() {
            Some(all) => {
                all.get(observed.key()).filter(|(of, _)| *of == object).and_then(|(_, publication)| publication.clone())
            }
            None => Some(Publication {
                published: false,
                reason: "Disabled",
                message: "publishing is off; a cluster administrator switches it on with deploy/components/publish"
                    .to_owned(),
            }),
        }
    }

    /// The publisher looks at this object: what it sets next is about it. A result for another object of the name, or another
    /// `spec.publish`, is forgotten.
    pub(super) fn begin(&self, observed: &ObservedObject) {
        let (Some(object), Some(mut all)) = (PublishedObject::of(observed), self.all()) else { return };
        if all.get(observed.key()).is_none_or(|(of, _)| *of != object) {
            all.insert(observed.key().clone(), (object, None));
        }
    }

    /// Sets what became of the object that the publisher looked at last. Whether it is another result than before.
    pub(super) fn set(&self, key: &ServiceKey, publication: Publication) -> bool {
        let Some(mut all) = self.all() else { return false };
        let Some((_, before)) = all.get_mut(key) else { return false };
        let publication = Some(publication);
        *before != publication && {
            *before = publication;
            true
        }
    }

    pub(super) fn forget(&self, key: &ServiceKey) {
        if let Some(mut all) = self.all() {
            all.remove(key);
        }
    }

    /// Forgets all: another replica publishes.
    pub(super) fn clear(&self) {
        if let Some(mut all) = self.all() {
            all.clear();
        }
    }

    fn all(&self) -> Option<MutexGuard<'_, Results>> {
        self.0.as_ref().map(|all| all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::samples::Anywhere;

    fn object(uid: u128, generation: i64, publish: &Value) -> ObservedObject {
        let object = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": {
                "name": "orders", "namespace": "shop", "uid": Uuid::from_u128(uid), "generation": generation,
                "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": { "instances": [{ "name": "a", "baseUrl": "http://10.0.0.5:8080" }], "publish": publish },
        });
        let raw = serde_json::from_str(&object.to_string()).expect("an object");
        ObservedObject::new(raw, &Anywhere).expect("a name, a uid and a revision")
    }

    fn done() -> Publication {
        Publication { published: true, reason: "Published", message: "the endpoints are written".to_owned() }
    }

    #[test]
    fn a_result_is_about_one_object_with_one_target() {
        let results = Publications::on();
        let first = object(1, 1, &json!({ "service": "db" }));
        let key = first.key();
        assert!(!results.set(key, done()), "the publisher has not looked at it");
        results.begin(&first);
        assert_eq!(results.of(&first), None);
        assert!(results.set(key, done()) && !results.set(key, done()), "news only once");
        let edited = object(1, 2, &json!({ "service": "db", "whenAllDown": "Empty" }));
        results.begin(&edited);
        assert_eq!(results.of(&edited), Some(done()), "an edit of something else");

        let others = [json!({ "service": "db2" }), json!({ "service": "db", "port": "sql" })];
        let kept = json!({ "service": "db", "whenAllDown": "Keep" });
        for publish in others.iter().chain([&kept]) {
            assert_eq!(results.of(&object(1, 3, publish)), None, "{publish}");
        }
        assert_eq!(results.of(&object(2, 1, &json!({ "service": "db" }))), None, "it was created again");
        assert_eq!(results.of(&object(1, 3, &Value::Null)), None, "it no longer publishes");

        let moved = object(1, 3, &others[0]);
        results.begin(&moved);
        assert_eq!((results.of(&first), results.of(&moved)), (None, None));
        assert!(results.set(key, done()), "the same result, but for another target");
        assert_eq!((results.of(&first), results.of(&moved)), (None, Some(done())));
        results.forget(key);
        assert_eq!(results.of(&moved), None);
    }

    #[test]
    fn where_publishing_is_off_only_objects_that_ask_for_it_say_so() {
        let off = Publications::off();
        let reason = |publish: &Value| off.of(&object(1, 1, publish)).map(|result| result.reason);
        assert_eq!((reason(&json!({ "service": "db" })), reason(&Value::Null)), (Some("Disabled"), None));
    }
}
