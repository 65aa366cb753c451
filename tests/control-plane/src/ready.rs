//! Waiting for the servers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::guarded::Guarded;

/// The API server needs 2 to 3 s on a quiet machine.
const PATIENCE: Duration = Duration::from_mins(4);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until `is_ready` says so.
pub(crate) async fn until(what: &str, server: &mut Guarded, is_ready: impl AsyncFn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !is_ready().await {
        if server.has_ended() {
            bail!("{what} ended at its start");
        }
        if started.elapsed() > PATIENCE {
            bail!("{what} is not ready after {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether `GET path` over plain HTTP answers 200.
pub(crate) async fn http(port: u16, path: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(answer)) if answer.contains(" 200 OK"))
}

/// Whether the API server has finished its start: its own roles and the namespace `default` are there.
pub(crate) async fn api_server(client: &kube::Client) -> bool {
    for path in ["/readyz", "/api/v1/namespaces/default"] {
        let Ok(request) = http::Request::get(path).body(Vec::new()) else { return false };
        let answer = tokio::time::timeout(Duration::from_secs(2), client.request_text(request)).await;
        if !matches!(answer, Ok(Ok(_))) {
            return false;
        }
    }
    true
}
