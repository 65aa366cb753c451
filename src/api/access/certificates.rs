//! Callers that a client's certificate identifies.

use std::sync::Arc;

use http::HeaderValue;
use http::header::CONNECTION;
use http::request::Parts;

use super::class::RouteClass;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::tls::{Peer, is_subject};
use crate::model::ports::CERTIFICATE_SUBJECT;
use crate::model::time::UnixMs;

/// The subject of the request's certificate; none where there is no certificate and none is `required`.
///
/// # Errors
/// 403 `certificate_required`; 503 `unavailable` on a connection of a replica whose certificate no longer counts.
pub(super) fn subject(
    head: &Parts,
    class: RouteClass,
    required: bool,
    now: impl FnOnce() -> UnixMs,
) -> Result<Option<Arc<str>>, ApiError> {
    // The kubelet has no certificate, and a browser shows none before it may send the request itself.
    if matches!(class, RouteClass::Operations | RouteClass::Preflight) {
        return Ok(None);
    }
    match head.extensions.get::<Peer>() {
        None if required => Err(refused("this server needs a client certificate of a CA that it trusts")),
        None => Ok(None),
        // As if its next handshake had failed already: the caller whose request it forwards may try again.
        Some(Peer::Replica(certificate)) if !certificate.is_trusted() => {
            let why = "the certificate of the replica that forwarded this is no longer in use; try again";
            Err(closing(ApiError::new(Code::Unavailable, why).retry_after(1)))
        }
        // The replica has verified it, and without one its caller has a token.
        Some(Peer::Replica(_)) => {
            let named = head.headers.get(CERTIFICATE_SUBJECT).and_then(|value| value.to_str().ok());
            Ok(named.filter(|subject| is_subject(subject)).map(Arc::from))
        }
        Some(Peer::Client(certificate)) if !certificate.is_trusted() => Err(refused(
            "this server no longer trusts the CA of this connection's certificate; connect again with another",
        )),
        Some(Peer::Client(certificate)) if now() >= certificate.ends => {
            Err(refused("this connection's client certificate has expired; connect again with a new one"))
        }
        Some(Peer::Client(certificate)) if certificate.subject.is_none() && required => {
            Err(refused("the client certificate names nobody: it needs one URI, or a DNS name, as subjectAltName")
                .hint("issue one with such a name, or send a token"))
        }
        Some(Peer::Client(certificate)) => Ok(certificate.subject.clone()),
    }
}

fn refused(why: &'static str) -> ApiError {
    closing(ApiError::new(Code::CertificateRequired, why))
}

/// Closes the connection: the client's next one may show another certificate.
fn closing(error: ApiError) -> ApiError {
    error.header(CONNECTION, HeaderValue::from_static("close"))
}
