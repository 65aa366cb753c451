//! What an error or a silence of the Kubernetes API means for a write.

use std::time::Duration;

use kube::core::Status;

use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::ClusterError;
use crate::model::text;
use crate::operator::kubernetes::outage::is_too_large;
use crate::operator::kubernetes::rights::{is_namespace_ending, lacks_rights};

/// Longest text of the API server that a client sees, in characters.
const MAX_MESSAGE: usize = 400;
/// Most causes of a refusal that are reported.
const MAX_CAUSES: usize = 3;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestError {
    /// The object has changed: read it again.
    Moved,
    /// No answer, or one that leaves open whether it was done. Holds the error that the client gets in the end.
    NoAnswer(ClusterError),
    /// To be sent again after that time.
    Overloaded(Duration),
    /// The content; with several calls in it, perhaps because of one of them.
    Content(ClusterError),
    /// It would be refused again.
    Refused(ClusterError),
}

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Create,
    Replace,
    Delete,
}

impl Verb {
    fn gerund(self) -> &'static str {
        match self {
            Self::Get => "reading",
            Self::Create => "creating",
            Self::Replace => "changing",
            Self::Delete => "deleting",
        }
    }
}

/// Classifies the error of a request about `key`.
pub(super) fn of(error: &kube::Error, verb: Verb, key: &ServiceKey) -> RequestError {
    match error {
        kube::Error::Api(status) => by_status(status, verb, key),
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
            tracing::debug!(service = %key, "{} it failed without an answer: {error}", verb.gerund());
            RequestError::NoAnswer(ClusterError::Unanswered)
        }
        other => failed(verb, key, &other.to_string()),
    }
}

fn by_status(status: &Status, verb: Verb, key: &ServiceKey) -> RequestError {
    let message = status.message.as_str();
    match status.code {
        404 if verb == Verb::Create => RequestError::Refused(missing(status, key)),
        404 | 409 => RequestError::Moved,
        403 => forbidden(status, key),
        413 => RequestError::Content(ClusterError::TooLarge),
        // 400 is how an admission webhook refuses that names no code.
        400 | 422 => RequestError::Content(ClusterError::Invalid(causes(status))),
        429 => {
            let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            RequestError::Overloaded(Duration::from_secs(asked.clamp(1, 60).into()))
        }
        500.. if is_too_large(message) => RequestError::Content(ClusterError::TooLarge),
        500.. if message.contains("database space exceeded") => {
            tracing::error!(service = %key, "etcd is full; nothing can be registered until its operator frees space");
            RequestError::Refused(ClusterError::Full)
        }
        500.. => {
            let message = text::escape(message, MAX_MESSAGE);
            tracing::warn!(service = %key, code = status.code, "{} it failed: {message}", verb.gerund());
            RequestError::NoAnswer(ClusterError::Failed)
        }
        _ => failed(verb, key, &format!("{} {message}", status.code)),
    }
}

fn failed(verb: Verb, key: &ServiceKey, message: &str) -> RequestError {
    tracing::error!(service = %key, "{} it failed: {}", verb.gerund(), text::escape(message, MAX_MESSAGE));
    RequestError::Refused(ClusterError::Failed)
}

/// The namespace of a key, which was made from a label.
fn namespace(key: &ServiceKey) -> Namespace {
    key.namespace().parse().unwrap_or_default()
}

fn missing(status: &Status, key: &ServiceKey) -> ClusterError {
    match &status.details {
        Some(details) if details.kind == "namespaces" => ClusterError::NamespaceMissing(namespace(key)),
        _ => ClusterError::KindMissing,
    }
}

fn forbidden(status: &Status, key: &ServiceKey) -> RequestError {
    if is_namespace_ending(status) {
        return RequestError::Refused(ClusterError::NamespaceTerminating(namespace(key)));
    }
    let message = status.message.as_str();
    if message.contains("exceeded quota") {
        return RequestError::Refused(ClusterError::Quota(namespace(key)));
    }
    if lacks_rights(message) {
        tracing::error!("RBAC does not let Portolan write an object: {}", text::escape(message, MAX_MESSAGE));
        return RequestError::Refused(ClusterError::NotAllowed(namespace(key)));
    }
    RequestError::Content(ClusterError::Invalid(causes(status)))
}

/// What is wrong, field by field if the API server says so.
fn causes(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let named: Vec<String> = causes
        .filter(|cause| !cause.message.is_empty())
        .take(MAX_CAUSES)
        .map(|cause| match cause.field.as_str() {
            "" | "<nil>" => cause.message.clone(),
            field => format!("{field}: {}", cause.message),
        })
        .collect();
    let message = if named.is_empty() { status.message.clone() } else { named.join("; ") };
    text::escape(&message, MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classify(verb: Verb, status: &serde_json::Value) -> RequestError {
        let status: Status = serde_json::from_value(status.clone()).expect("a status");
        let key = ServiceKey::new(&"shop".parse().expect("a label"), &"users".parse().expect("a label"));
        of(&kube::Error::Api(Box::new(status)), verb, &key)
    }

    #[test]
    fn each_answer_of_the_api_server_has_its_meaning() {
        let shop = || "shop".parse::<Namespace>().expect("a label");
        let rbac = "services.portolan.dev is forbidden: User \"system:serviceaccount:portolan:portolan\" cannot create resource \"services\" in API group \"portolan.dev\" in the namespace \"shop\"";
        let ending = json!({"causes": [{"reason": "NamespaceTerminating", "message": "namespace shop is being terminated", "field": "metadata.namespace"}]});
        let cel = json!({"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: \"\u{1b}x\": no", "field": "spec.instances[0].baseUrl"}]});
        let quota =
            "services.portolan.dev \"users\" is forbidden: exceeded quota: q, requested: count/services.portolan.dev=1";
        for (verb, status, meaning) in [
            (Verb::Replace, json!({"code": 409, "reason": "Conflict"}), RequestError::Moved),
            (Verb::Create, json!({"code": 409, "reason": "AlreadyExists"}), RequestError::Moved),
            (Verb::Delete, json!({"code": 404, "reason": "NotFound"}), RequestError::Moved),
            (
                Verb::Create,
                json!({"code": 404, "details": {"kind": "namespaces", "name": "shop"}}),
                RequestError::Refused(ClusterError::NamespaceMissing(shop())),
            ),
            (
                Verb::Create,
                json!({"code": 404, "message": "404 page not found"}),
                RequestError::Refused(ClusterError::KindMissing),
            ),
            (
                Verb::Create,
                json!({"code": 403, "message": rbac}),
                RequestError::Refused(ClusterError::NotAllowed(shop())),
            ),
            (Verb::Create, json!({"code": 403, "message": quota}), RequestError::Refused(ClusterError::Quota(shop()))),
            (
                Verb::Create,
                json!({"code": 403, "message": "unable", "details": ending}),
                RequestError::Refused(ClusterError::NamespaceTerminating(shop())),
            ),
            (
                Verb::Create,
                json!({"code": 403, "message": "denied by policy x"}),
                RequestError::Content(ClusterError::Invalid("denied by policy x".to_owned())),
            ),
            (
                Verb::Create,
                json!({"code": 403, "message": "denied by policy x: services cannot run on mars"}),
                RequestError::Content(ClusterError::Invalid(
                    "denied by policy x: services cannot run on mars".to_owned(),
                )),
            ),
            (
                Verb::Create,
                json!({"code": 400, "message": "admission webhook \"x\" denied the request: no"}),
                RequestError::Content(ClusterError::Invalid(
                    "admission webhook \"x\" denied the request: no".to_owned(),
                )),
            ),
            (Verb::Replace, json!({"code": 413}), RequestError::Content(ClusterError::TooLarge)),
            (
                Verb::Replace,
                json!({"code": 500, "message": "etcdserver: request is too large"}),
                RequestError::Content(ClusterError::TooLarge),
            ),
            (
                Verb::Replace,
                json!({"code": 500, "message": "etcdserver: mvcc: database space exceeded"}),
                RequestError::Refused(ClusterError::Full),
            ),
            (
                Verb::Replace,
                json!({"code": 500, "message": "etcdserver: leader changed"}),
                RequestError::NoAnswer(ClusterError::Failed),
            ),
            (Verb::Replace, json!({"code": 503}), RequestError::NoAnswer(ClusterError::Failed)),
            (
                Verb::Replace,
                json!({"code": 429, "details": {"retryAfterSeconds": 7}}),
                RequestError::Overloaded(Duration::from_secs(7)),
            ),
            (Verb::Replace, json!({"code": 401}), RequestError::Refused(ClusterError::Failed)),
        ] {
            assert_eq!(classify(verb, &status), meaning, "{status}");
        }
        let RequestError::Content(ClusterError::Invalid(message)) =
            classify(Verb::Replace, &json!({"code": 422, "details": cel}))
        else {
            panic!("a rule of the CRD")
        };
        assert!(
            message.starts_with("spec.instances[0].baseUrl: Invalid value: ") && !message.contains('\u{1b}'),
            "{message}"
        );
    }
}
