//! The codes of refusals.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $word:literal $status:ident,)+) => {
        /// The stable values of `code`, each with its HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The value in the answer.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The answer's status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or a field of it is missing, unknown or wrong; `details` name it.
    InvalidPayload "invalid_payload" BAD_REQUEST,
    /// A query parameter, header or path part is wrong; `details` name it.
    InvalidParameter "invalid_parameter" BAD_REQUEST,
    /// `name` is missing.
    NameRequired "name_required" BAD_REQUEST,
    /// The request is not HTTP that Portolan reads.
    BadRequest "bad_request" BAD_REQUEST,
    /// The address policy refuses a URL of the registration.
    AddressDenied "address_denied" BAD_REQUEST,
    /// The request has no token and needs one.
    TokenRequired "token_required" UNAUTHORIZED,
    /// The token is forged, malformed or not for Portolan.
    TokenInvalid "token_invalid" UNAUTHORIZED,
    /// The token has expired.
    TokenExpired "token_expired" UNAUTHORIZED,
    /// The token's `scope` does not cover the request.
    InsufficientScope "insufficient_scope" FORBIDDEN,
    /// The token's `namespaces` do not cover the request, or the namespace takes no registrations here.
    NamespaceForbidden "namespace_forbidden" FORBIDDEN,
    /// The server needs a client certificate that it trusts, and the connection has none.
    CertificateRequired "certificate_required" FORBIDDEN,
    /// Another owner's instance.
    NotOwner "not_owner" FORBIDDEN,
    /// A foreign web page asked for a change.
    CrossOrigin "cross_origin" FORBIDDEN,
    /// No service of that id or name.
    ServiceNotFound "service_not_found" NOT_FOUND,
    /// The service exists, the instance does not.
    InstanceNotFound "instance_not_found" NOT_FOUND,
    /// No such route.
    UnknownRoute "unknown_route" NOT_FOUND,
    /// No such namespace in the cluster.
    NamespaceNotFound "namespace_not_found" NOT_FOUND,
    /// The path exists for other methods; `Allow` lists them.
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED,
    /// The request's head or body did not arrive in time.
    RequestTimeout "request_timeout" REQUEST_TIMEOUT,
    /// The service belongs to a custom resource.
    ManifestOwned "manifest_owned" CONFLICT,
    /// The service is being deleted in the cluster; `Retry-After` says when to ask again.
    Terminating "terminating" CONFLICT,
    /// The service has several instances and the request names none.
    HasInstances "has_instances" CONFLICT,
    /// Another instance of the service has the external id at the same address.
    ExternalIdTaken "external_id_taken" CONFLICT,
    /// The instance has no heartbeat check, so it has no lease to renew.
    NoHeartbeatCheck "no_heartbeat_check" CONFLICT,
    /// Nothing of the service or instance fails, so there is nothing to acknowledge.
    NothingToAcknowledge "nothing_to_acknowledge" CONFLICT,
    /// Another install of Portolan in the cluster writes what this would change.
    OtherInstall "other_install" CONFLICT,
    /// `If-Match` names an older generation.
    StaleGeneration "stale_generation" PRECONDITION_FAILED,
    /// The body is over its limit.
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE,
    /// The request target is over its limit.
    TargetTooLong "target_too_long" URI_TOO_LONG,
    /// The body's `Content-Type` is not JSON.
    NotJson "not_json" UNSUPPORTED_MEDIA_TYPE,
    /// `Host` is not a name of this server.
    MisdirectedRequest "misdirected_request" MISDIRECTED_REQUEST,
    /// `MAX_SERVICES` is reached.
    TooManyServices "too_many_services" UNPROCESSABLE_ENTITY,
    /// `PORTOLAN_MAX_INSTANCES` is reached.
    TooManyInstances "too_many_instances" UNPROCESSABLE_ENTITY,
    /// The service has the most instances that one may have.
    ServiceFull "service_full" UNPROCESSABLE_ENTITY,
    /// The client sends too many requests; `Retry-After` says when to ask again.
    RateLimited "rate_limited" TOO_MANY_REQUESTS,
    /// The address's probe budget is spent.
    ProbeBudget "probe_budget" TOO_MANY_REQUESTS,
    /// The server or the client has as many watches open as it may.
    TooManyWatches "too_many_watches" TOO_MANY_REQUESTS,
    /// The client does not read the large answers that it requested.
    TooManyAnswers "too_many_answers" TOO_MANY_REQUESTS,
    /// The client has as many connections open as it may.
    TooManyConnections "too_many_connections" TOO_MANY_REQUESTS,
    /// The request's head is over its limit.
    HeadTooLarge "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE,
    /// A bug in Portolan; the log has the detail.
    Internal "internal" INTERNAL_SERVER_ERROR,
    /// The store could not be written or read; the log has the detail.
    StoreFailed "store_failed" INTERNAL_SERVER_ERROR,
    /// The body's `Transfer-Encoding` is something other than `chunked`.
    TransferCoding "transfer_coding" NOT_IMPLEMENTED,
    /// The request asks for a healthy instance and none is.
    NoHealthyInstance "no_healthy_instance" SERVICE_UNAVAILABLE,
    /// The store's file cannot be written now; reads still work.
    ReadOnly "read_only" SERVICE_UNAVAILABLE,
    /// A queue is full, or another program has the store's file locked; `Retry-After` says when to ask again.
    Busy "busy" SERVICE_UNAVAILABLE,
    /// The server is stopping.
    ShuttingDown "shutting_down" SERVICE_UNAVAILABLE,
    /// Not ready, or a component does not run or answer; in a cluster that may be the Kubernetes API.
    Unavailable "unavailable" SERVICE_UNAVAILABLE,
    /// The store's disk or the cluster's etcd is full.
    DiskFull "disk_full" INSUFFICIENT_STORAGE,
}
