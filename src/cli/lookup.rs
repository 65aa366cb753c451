//! Finds a service by its name or id.

use uuid::Uuid;

use super::client::{Client, Reply};
use super::exit::Failure;
use crate::wire::Service;

/// A service by `NAME` (in `namespace`) or by id, with the answer that held it.
///
/// # Errors
/// See [`Failure`]; not found is its own exit code.
pub(super) async fn service(
    client: &Client,
    target: &str,
    namespace: Option<&str>,
) -> Result<(Service, Reply), Failure> {
    let reply = if target.parse::<Uuid>().is_ok() {
        client.get(&["services", target], &[]).await?
    } else {
        let mut query = vec![("name", target)];
        query.extend(namespace.map(|ns| ("namespace", ns)));
        client.get(&["services", "discover"], &query).await?
    };
    Ok((reply.read()?, reply))
}
