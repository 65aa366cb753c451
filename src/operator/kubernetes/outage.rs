//! Whether a refusal concerns all writes.

use kube::core::Status;

/// Whether the API server refuses for a reason that other objects share, so that writes should wait. A 500 is about the storage, unless an
/// admission webhook that is asked about some objects only cannot be called.
pub(in crate::operator) fn concerns_all(status: &Status) -> bool {
    match status.code {
        401 | 429 | 502..=504 => true,
        500 => !status.message.contains("webhook"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_concerns_some_objects_and_an_outage_all() {
        let concerns =
            |code, message: &str| concerns_all(&Status { code, message: message.to_owned(), ..Status::default() });
        for code in [401, 429, 502, 503, 504] {
            assert!(concerns(code, ""), "{code}");
        }
        for code in [400, 403, 409, 422, 501] {
            assert!(!concerns(code, ""), "{code}");
        }
        assert!(concerns(500, "etcdserver: request timed out"));
        assert!(!concerns(
            500,
            "Internal error occurred: failed calling webhook \"a.example.com\": connection refused"
        ));
    }
}
