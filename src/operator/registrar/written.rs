//! A service as its object was written: the answer to a call if another client has removed the object before it could be read.

use std::time::Duration;

use crate::model::mirror::{Mirrored, MirroredInstance};
use crate::model::service::{Instance, InstanceId, Service};
use crate::model::time::UnixMs;
use crate::operator::read::ParsedService;

/// For instances without an interval of their own. No health that is read here depends on it.
const INTERVAL: Duration = Duration::from_secs(30);

/// None if nothing of the object can be used.
pub(super) fn service(parsed: ParsedService) -> Option<Service> {
    let Mirrored { key, id, source, registered_at, updated_at, revision, instances } = parsed.mirrored?;
    let instances = instances.into_iter().map(|one| instance(one, registered_at, updated_at)).collect();
    Some(Service { id, key, source, registered_at, updated_at, revision, sequence: 0, unreported: None, instances })
}

/// Nobody has probed it yet, as far as the answer can tell.
fn instance(written: MirroredInstance, registered_at: UnixMs, updated_at: UnixMs) -> Instance {
    let MirroredInstance { name, spec, owner, generation, drain, reported: _, acknowledged } = written;
    let unproved = spec.unproved(INTERVAL);
    let fence = Some(generation.unwrap_or(0));
    let new = Instance::new(InstanceId(0), name, spec, unproved, updated_at);
    Instance { owner, fence, created_at: registered_at, drain, acknowledged, ..new }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ports::AddressGate;
    use crate::model::service::Owner;
    use crate::model::url::EndpointUrl;
    use crate::operator::crd::ServiceResource;
    use crate::operator::read;

    struct Open;

    impl AddressGate for Open {
        fn admit(&self, _: &EndpointUrl) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn the_answer_is_what_was_written() {
        let object = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": {
                "name": "users", "namespace": "shop", "uid": "01900000-0000-7000-8000-000000000001", "resourceVersion": "41",
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"source": "Rest", "instances": [{
                "name": "a", "baseUrl": "http://10.0.0.5:80", "generation": 7, "owner": {"issuer": "kubernetes", "subject": "api"},
            }]},
        });
        let object: ServiceResource = serde_json::from_value(object).expect("an object");
        let service = service(read::parse(&object, &Open)).expect("usable");
        assert_eq!((service.key.as_str(), service.revision), ("shop/users", 41));
        let [instance] = &*service.instances else { panic!("{service:?}") };
        assert_eq!((instance.shown_generation(), &*instance.spec.base_url.to_string()), (7, "http://10.0.0.5:80"));
        assert_eq!(instance.owner, Owner::Token { issuer: "kubernetes".into(), subject: "api".into() });
    }
}
