//! Finds a service by its name or id.

use uuid::Uuid;

use super::client::{Client, Reply};
use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::console::source::api::Reach;
use crate::model::text::escape;
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

/// Says that the service does not exist yet (a mistyped name would otherwise wait silently), and in which other namespaces it does: the
/// server's hints, which this returns.
pub(super) async fn note_absence(client: &Client, reach: &Reach, name: &str, streams: &mut Streams) -> Vec<String> {
    streams.note(&format!("no service is called {} yet; waiting for one", escape(name, 100)));
    if *reach == Reach::All {
        return Vec::new();
    }
    let mut query = vec![("name", name)];
    query.extend(reach.namespace().map(|namespace| ("namespace", namespace)));
    let absent = client.refusal(&["services", "discover"], &query).await;
    let hints = absent.filter(|why| why.exit == Exit::NotFound).map(|why| why.hints).unwrap_or_default();
    for hint in &hints {
        streams.note(hint);
    }
    hints
}
