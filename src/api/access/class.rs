//! Classes of requests: who may call a route, and how it counts against the rate limit. The table of routes gives each route its class.

/// The class of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteClass {
    /// `OPTIONS`: answered with 204, neither limited nor closed.
    Preflight,
    /// `/healthz`, `/readyz`, `/openapi.json`: not limited, never closed.
    Operations,
    /// `/metrics`: not limited; closed with the reads, since its series name services.
    Metrics,
    /// Shows nothing about services: limited, never closed.
    Public,
    /// A read that is open unless `PORTOLAN_READ_AUTH` closes it.
    OpenRead,
    /// A watch: open like a read. What it sends at first counts like a list of the same size.
    Watch,
    /// A read that needs a token whenever auth is on.
    TokenRead,
    /// The same for one service by its id: a token that may only register sees its own.
    ServiceRead,
    /// The prober's current state: needs a token like [`Self::TokenRead`], and spends from the larger quota.
    Probing,
    /// Adds or changes an instance.
    Register,
    /// Removes an instance or a service.
    Deregister,
    /// Probes now.
    Check,
    /// Drains an instance, or ends that.
    Drain,
    /// Acknowledges a failure, or ends that.
    Acknowledge,
    /// A heartbeat.
    Heartbeat,
    /// No route has this path and method, and none around it needs a token: limited like a read, and answered 404 or 405.
    Unrouted,
}

/// A limit on how often one client may send requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests that change something, or make Portolan connect somewhere.
    Writes,
    /// The rest; a large answer counts as several.
    Reads,
}

impl Limit {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Reads => "reads",
        }
    }

    /// The setting behind it.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Writes => "PORTOLAN_RATE_LIMIT_PER_MINUTE",
            Self::Reads => "PORTOLAN_READ_RATE_LIMIT_PER_MINUTE",
        }
    }

    /// The reason under which its refusals are counted.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Writes => "rate_limit",
            Self::Reads => "read_rate_limit",
        }
    }
}

/// How a limit counts a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// From the quota.
    Always,
    /// From the larger quota when it turns out to change nothing, or to send nothing new.
    UnlessUnchanged,
    /// From the larger quota, so that other requests of its client cannot use it up.
    Separate,
    /// The same, also while its client owes reads: it sends next to nothing, and a program that ends may say so.
    Removals,
    /// From the quota of heartbeats, which nothing else uses up.
    Heartbeats,
}

impl RouteClass {
    /// Whether it changes something or makes Portolan connect somewhere.
    pub fn is_change(self) -> bool {
        matches!(
            self,
            Self::Register | Self::Deregister | Self::Check | Self::Drain | Self::Acknowledge | Self::Heartbeat
        )
    }

    /// The limit that counts it.
    pub fn limit(self) -> Option<Limit> {
        match self {
            Self::Preflight | Self::Operations | Self::Metrics => None,
            Self::Public
            | Self::OpenRead
            | Self::TokenRead
            | Self::ServiceRead
            | Self::Probing
            | Self::Watch
            | Self::Unrouted => Some(Limit::Reads),
            Self::Register | Self::Deregister | Self::Check | Self::Drain | Self::Acknowledge | Self::Heartbeat => {
                Some(Limit::Writes)
            }
        }
    }

    /// How that limit counts it. A register call may only renew; `names_state` is set where a read names the state that the client knows, or
    /// a watch its cursor.
    pub(super) fn counting(self, names_state: bool) -> Counting {
        match self {
            Self::Deregister => Counting::Removals,
            Self::Drain | Self::Acknowledge => Counting::Separate,
            Self::Heartbeat => Counting::Heartbeats,
            Self::Register | Self::Probing => Counting::UnlessUnchanged,
            Self::OpenRead | Self::TokenRead | Self::ServiceRead | Self::Watch if names_state => {
                Counting::UnlessUnchanged
            }
            _ => Counting::Always,
        }
    }

    /// Whether it needs a token when auth is on, and, by `read_auth`, reads are closed.
    pub fn needs_token(self, read_auth: bool) -> bool {
        match self {
            Self::Preflight | Self::Operations | Self::Public | Self::Unrouted => false,
            Self::Metrics | Self::OpenRead | Self::Watch => read_auth,
            Self::TokenRead
            | Self::ServiceRead
            | Self::Probing
            | Self::Register
            | Self::Deregister
            | Self::Check
            | Self::Drain
            | Self::Acknowledge
            | Self::Heartbeat => true,
        }
    }
}
