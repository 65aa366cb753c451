//! What a refused write is in HTTP.

use super::call::not_found;
use super::envelope::{ApiError, Code};
use crate::model::ports::WriteError;

/// Seconds after which a client may try again when the writer is behind.
const RETRY_SECONDS: u64 = 1;

/// The answer to a refused write.
pub(super) fn refused(error: &WriteError) -> ApiError {
    let code = match error {
        WriteError::ServiceNotFound => return not_found(),
        WriteError::InstanceNotFound => Code::InstanceNotFound,
        WriteError::NotOwner => Code::NotOwner,
        WriteError::ManifestOwned => Code::ManifestOwned,
        WriteError::TooManyServices(_) => Code::TooManyServices,
        WriteError::TooManyInstances(_) => Code::TooManyInstances,
        WriteError::ServiceFull(_) => Code::ServiceFull,
        WriteError::HasInstances(_) => Code::HasInstances,
        WriteError::StaleGeneration { .. } => Code::StaleGeneration,
        WriteError::FileLost => Code::StoreFailed,
        WriteError::DiskFull => Code::DiskFull,
        WriteError::Busy => return again(Code::Busy, error),
        WriteError::Closed => return again(Code::ShuttingDown, error),
        WriteError::Store(detail) => {
            tracing::error!(detail, "a write failed in the store");
            let message = "the store could not be written; the server's log says why";
            return ApiError::new(Code::StoreFailed, message);
        }
    };
    ApiError::new(code, error.to_string())
}

fn again(code: Code, error: &WriteError) -> ApiError {
    ApiError::new(code, error.to_string()).retry_after(RETRY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_one_answer() {
        for (error, status, code) in [
            (WriteError::ServiceNotFound, 404, "service_not_found"),
            (WriteError::InstanceNotFound, 404, "instance_not_found"),
            (WriteError::NotOwner, 403, "not_owner"),
            (WriteError::ManifestOwned, 409, "manifest_owned"),
            (WriteError::TooManyServices(1), 422, "too_many_services"),
            (WriteError::TooManyInstances(1), 422, "too_many_instances"),
            (WriteError::ServiceFull(256), 422, "service_full"),
            (WriteError::HasInstances(2), 409, "has_instances"),
            (WriteError::StaleGeneration { current: 7 }, 412, "stale_generation"),
            (WriteError::FileLost, 500, "store_failed"),
            (WriteError::DiskFull, 507, "disk_full"),
            (WriteError::Busy, 503, "busy"),
            (WriteError::Closed, 503, "shutting_down"),
            (WriteError::Store("/secret/path: malformed".to_owned()), 500, "store_failed"),
        ] {
            let answer = refused(&error);
            assert_eq!((answer.status().as_u16(), answer.code.as_str()), (status, code), "{error}");
            assert!(!answer.message.contains("/secret"), "what the store says stays in the log");
            let retry = answer.into_reply().headers().contains_key("retry-after");
            assert_eq!(retry, status == 503, "{code}");
        }
    }
}
