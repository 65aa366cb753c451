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
        WriteError::DiskFull => Code::DiskFull,
        WriteError::Busy => return ApiError::new(Code::Busy, error.to_string()).retry_after(RETRY_SECONDS),
        WriteError::Closed => Code::ShuttingDown,
        WriteError::Store(detail) => {
            tracing::error!(detail, "a write failed in the store");
            let message = "the store could not be written; the server's log says why";
            return ApiError::new(Code::StoreFailed, message);
        }
    };
    ApiError::new(code, error.to_string())
}
