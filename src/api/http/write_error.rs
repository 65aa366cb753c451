//! The answer to a write that the registrar refuses.

use http::header::{CONNECTION, HeaderValue};

use super::envelope::{ApiError, Code};
use crate::model::ports::{ClusterError, WriteError};

/// Seconds after which a client may try again when the writer is behind.
const RETRY_SECONDS: u64 = 1;
/// The same for what takes a cluster a while: a deletion, an API server that starts.
const SLOW_RETRY_SECONDS: u64 = 5;

/// The answer to a refused write.
pub(in crate::api) fn refused(error: &WriteError) -> ApiError {
    let code = match error {
        WriteError::ServiceNotFound => return ApiError::service_not_found(),
        WriteError::InstanceNotFound => Code::InstanceNotFound,
        WriteError::NotOwner => Code::NotOwner,
        WriteError::ManifestOwned(_) | WriteError::ManifestDrain { .. } => Code::ManifestOwned,
        WriteError::NothingToAcknowledge { .. } => Code::NothingToAcknowledge,
        WriteError::Terminating(_) => return again(Code::Terminating, error, SLOW_RETRY_SECONDS),
        WriteError::NamespaceClosed { .. } => {
            let hint = "PORTOLAN_REST_NAMESPACES of the server lists the namespaces that take registrations";
            return ApiError::new(Code::NamespaceForbidden, error.to_string()).hint(hint);
        }
        WriteError::NamespaceNotWatched(_) => Code::NamespaceForbidden,
        WriteError::TooManyServices(_) => Code::TooManyServices,
        WriteError::TooManyInstances(_) => Code::TooManyInstances,
        WriteError::ServiceFull(_) | WriteError::FullByPolicy(_) => Code::ServiceFull,
        WriteError::HasInstances(_) | WriteError::SharedExternalId(_) => Code::HasInstances,
        WriteError::ExternalIdTaken(_) => Code::ExternalIdTaken,
        // Only the registry's own removals are refused so.
        WriteError::LastInstance => Code::Internal,
        WriteError::StaleGeneration { .. } => Code::StaleGeneration,
        WriteError::FileLost => Code::StoreFailed,
        WriteError::DiskFull => Code::DiskFull,
        WriteError::ReadOnly => return again(Code::ReadOnly, error, SLOW_RETRY_SECONDS),
        WriteError::Locked | WriteError::Busy => return again(Code::Busy, error, RETRY_SECONDS),
        WriteError::Closed => return again(Code::ShuttingDown, error, RETRY_SECONDS),
        WriteError::Store(detail) => {
            tracing::error!(detail, "a write failed in the store");
            let message = "the store could not be written; the server's log says why";
            return ApiError::new(Code::StoreFailed, message);
        }
        WriteError::Cluster(why) => return by_cluster(why),
    };
    ApiError::new(code, error.to_string())
}

fn by_cluster(error: &ClusterError) -> ApiError {
    let code = match error {
        ClusterError::Away { retry_after } => {
            // Closed, so that the next attempt may reach a replica that is not cut off.
            let close = HeaderValue::from_static("close");
            return again(Code::Unavailable, error, *retry_after).header(CONNECTION, close);
        }
        ClusterError::PoliciesUnknown | ClusterError::NamespaceUnknown(_) => {
            return again(Code::Unavailable, error, RETRY_SECONDS);
        }
        ClusterError::Unanswered | ClusterError::NotLeading | ClusterError::KindMissing | ClusterError::Failed => {
            return again(Code::Unavailable, error, SLOW_RETRY_SECONDS);
        }
        ClusterError::Overloaded { retry_after } => return again(Code::Busy, error, *retry_after),
        ClusterError::Contended(_) => return again(Code::Busy, error, RETRY_SECONDS),
        ClusterError::NamespaceTerminating(_) => return again(Code::Terminating, error, SLOW_RETRY_SECONDS),
        ClusterError::NotAllowed(namespace) => {
            let hint = format!("kubectl auth can-i --list -n {namespace} --as=system:serviceaccount:portolan:portolan");
            return ApiError::new(Code::NamespaceForbidden, error.to_string()).hint(hint);
        }
        ClusterError::OtherInstall(_) => Code::OtherInstall,
        ClusterError::NamespaceMissing(_) => Code::NamespaceNotFound,
        ClusterError::Quota(_) => Code::TooManyServices,
        ClusterError::Invalid(_) => Code::InvalidPayload,
        ClusterError::TooLarge => Code::ServiceFull,
        ClusterError::Full => Code::DiskFull,
    };
    ApiError::new(code, error.to_string())
}

fn again(code: Code, error: &impl std::fmt::Display, seconds: u64) -> ApiError {
    ApiError::new(code, error.to_string()).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::name::{Namespace, ServiceKey};
    use crate::model::ports::FullService;

    #[test]
    fn each_refusal_is_one_answer() {
        let key = || ServiceKey::new(&Namespace::default(), &"users".parse().expect("a name"));
        let closed = WriteError::NamespaceClosed { namespace: Namespace::default(), open: Arc::new([]) };
        let full = WriteError::ServiceFull(FullService { instances: 256, unhealthy: 0, longest: None });
        let namespace = Namespace::default;
        for (error, status, code) in [
            (WriteError::ServiceNotFound, 404, "service_not_found"),
            (WriteError::InstanceNotFound, 404, "instance_not_found"),
            (WriteError::NotOwner, 403, "not_owner"),
            (WriteError::ManifestOwned(key()), 409, "manifest_owned"),
            (
                WriteError::ManifestDrain { service: key(), instance: "a".parse().expect("a name") },
                409,
                "manifest_owned",
            ),
            (WriteError::NothingToAcknowledge { instance: true }, 409, "nothing_to_acknowledge"),
            (WriteError::Terminating(key()), 409, "terminating"),
            (closed, 403, "namespace_forbidden"),
            (WriteError::NamespaceNotWatched(namespace()), 403, "namespace_forbidden"),
            (WriteError::FullByPolicy(4), 422, "service_full"),
            (ClusterError::PoliciesUnknown.into(), 503, "unavailable"),
            (ClusterError::NamespaceUnknown(namespace()).into(), 503, "unavailable"),
            (WriteError::TooManyServices(1), 422, "too_many_services"),
            (WriteError::TooManyInstances(1), 422, "too_many_instances"),
            (full, 422, "service_full"),
            (WriteError::HasInstances(2), 409, "has_instances"),
            (WriteError::SharedExternalId(2), 409, "has_instances"),
            (WriteError::ExternalIdTaken("a".parse().expect("a name")), 409, "external_id_taken"),
            (WriteError::StaleGeneration { asked: 6, current: 7 }, 412, "stale_generation"),
            (WriteError::FileLost, 500, "store_failed"),
            (WriteError::DiskFull, 507, "disk_full"),
            (WriteError::ReadOnly, 503, "read_only"),
            (WriteError::Locked, 503, "busy"),
            (WriteError::Busy, 503, "busy"),
            (WriteError::Closed, 503, "shutting_down"),
            (WriteError::Store("/secret/path: malformed".to_owned()), 500, "store_failed"),
            (ClusterError::Away { retry_after: 2 }.into(), 503, "unavailable"),
            (ClusterError::Unanswered.into(), 503, "unavailable"),
            (ClusterError::NotLeading.into(), 503, "unavailable"),
            (ClusterError::OtherInstall(key()).into(), 409, "other_install"),
            (ClusterError::Overloaded { retry_after: 2 }.into(), 503, "busy"),
            (ClusterError::Contended(key()).into(), 503, "busy"),
            (ClusterError::NotAllowed(namespace()).into(), 403, "namespace_forbidden"),
            (ClusterError::NamespaceMissing(namespace()).into(), 404, "namespace_not_found"),
            (ClusterError::NamespaceTerminating(namespace()).into(), 409, "terminating"),
            (ClusterError::Quota(namespace()).into(), 422, "too_many_services"),
            (ClusterError::KindMissing.into(), 503, "unavailable"),
            (ClusterError::Invalid("spec.version: Too long".to_owned()).into(), 400, "invalid_payload"),
            (ClusterError::TooLarge.into(), 422, "service_full"),
            (ClusterError::Full.into(), 507, "disk_full"),
            (ClusterError::Failed.into(), 503, "unavailable"),
        ] {
            let answer = refused(&error);
            assert_eq!((answer.status().as_u16(), answer.code.as_str()), (status, code), "{error}");
            assert!(!answer.message.contains("/secret"), "what the store says stays in the log");
            let reply = answer.into_reply();
            let retry = reply.headers().contains_key("retry-after");
            assert_eq!(retry, status == 503 || code == "terminating", "{code}");
            let is_away = matches!(error, WriteError::Cluster(ClusterError::Away { .. }));
            assert_eq!(reply.headers().contains_key("connection"), is_away, "{error}");
        }
    }
}
