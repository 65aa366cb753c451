//! Services that exist without an instance: in cluster mode, an object may adopt endpoints of which there are none now.

use futures::future::BoxFuture;

use super::name::ServiceKey;

/// Knows the services that have no instance now. The catalog does not: every service in it has one.
pub trait EmptyServices: Send + Sync + 'static {
    /// Why the service has no instance now, in a sentence that anybody may read; none if there is no such service.
    fn why_empty(&self, key: &ServiceKey) -> Option<String>;

    /// Resolves once [`Self::why_empty`] says something else about the service than at the time of this call. The catalog need not change then.
    fn reason_changed(&self, key: &ServiceKey) -> BoxFuture<'static, ()>;
}
