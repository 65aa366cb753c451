//! The one response body of the API.

use bytes::Bytes;
use http_body_util::Full;

/// A response body: ready bytes, sent without another allocation.
pub type Body = Full<Bytes>;
