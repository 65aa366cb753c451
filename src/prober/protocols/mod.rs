//! What a probe speaks.

pub(crate) mod connect;
pub(crate) mod errors;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod http_response;
pub(crate) mod tcp;
pub(crate) mod time_wait;
pub(crate) mod tls;
pub(crate) mod trace;
