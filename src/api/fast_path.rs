//! The fast path: `GET /api/v1/services/discover?name=…`, the request that programs send on every connect, answered before any route.
//!
//! It answers only the plain case and copies nothing but the body. Everything else goes to the route, which gives the same answers.

use http::request::Parts;
use http::{Method, Response};

use super::access::Principal;
use super::http::body::Body;
use super::http::reply;
use crate::catalog::Catalog;

/// The answer, when this is the plain case and the service exists.
pub(super) fn answer(
    catalog: &Catalog,
    default_namespace: &str,
    request: &Parts,
    principal: &Principal,
) -> Option<Response<Body>> {
    if request.method != Method::GET {
        return None;
    }
    let (name, namespace) = plain(request.uri.query()?)?;
    let namespace = namespace.unwrap_or(default_namespace);
    if !principal.may_read(namespace) {
        return None;
    }
    let snapshot = catalog.read();
    let entry = snapshot.find(namespace, name)?;
    Some(reply::found(catalog, &snapshot, entry, principal.sees_owners(namespace), &request.headers))
}

/// `name`, and `namespace` when given, from a query without anything else and without escapes.
fn plain(query: &str) -> Option<(&str, Option<&str>)> {
    // What nearly all clients send.
    if let Some(name) = query.strip_prefix("name=").filter(|name| is_label(name)) {
        return Some((name, None));
    }
    let (mut name, mut namespace) = (None, None);
    for part in query.split('&') {
        let (key, value) = part.split_once('=')?;
        let slot = match key {
            "name" => &mut name,
            "namespace" => &mut namespace,
            _ => return None,
        };
        if !is_label(value) || slot.replace(value).is_some() {
            return None;
        }
    }
    Some((name?, namespace))
}

fn is_label(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_case_is_hot() {
        assert_eq!(plain("name=a"), Some(("a", None)));
        assert_eq!(plain("namespace=b&name=a"), Some(("a", Some("b"))));
        for query in
            ["", "name=", "name=a&", "name=a&name=b", "name=%61", "name=a&healthy=true", "namespace=b", "name=a+b"]
        {
            assert_eq!(plain(query), None, "{query}");
        }
    }
}
