//! Whether a refusal concerns all writes.

use kube::core::Status;

/// Whether the API server refuses for a reason that other objects share, so that writes should wait. A 500 is about the storage, unless its
/// message says that it is about the object.
pub(in crate::operator) fn concerns_all(status: &Status) -> bool {
    match status.code {
        401 | 429 | 502..=504 => true,
        500 => !is_of_one(&status.message),
        _ => false,
    }
}

/// Whether a 500 is about one object: an admission webhook that is asked about some objects only cannot be called, or it is too large.
fn is_of_one(message: &str) -> bool {
    message.contains("webhook") || is_too_large(message)
}

/// Whether a 500 says that etcd, or the API server's client of it, finds the object too large.
pub(in crate::operator) fn is_too_large(message: &str) -> bool {
    message.contains("request is too large") || message.contains("message larger than max")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_or_a_large_object_concerns_some_writes_and_an_outage_all() {
        let concerns =
            |code, message: &str| concerns_all(&Status { code, message: message.to_owned(), ..Status::default() });
        for code in [401, 429, 502, 503, 504] {
            assert!(concerns(code, ""), "{code}");
        }
        for code in [400, 403, 409, 422, 501] {
            assert!(!concerns(code, ""), "{code}");
        }
        assert!(concerns(500, "etcdserver: request timed out"));
        for message in [
            "Internal error occurred: failed calling webhook \"a.example.com\": connection refused",
            "etcdserver: request is too large",
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2097164 vs. 2097152)",
        ] {
            assert!(!concerns(500, message), "{message}");
        }
    }
}
