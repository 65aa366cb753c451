//! A node whose pods can be forwarded to.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::{Assets, ControlPlane, Guarded};

const PATIENCE: Duration = Duration::from_mins(3);

/// Serves pods/portforward for the pods that are bound to it, whose ports are those of this machine; it runs nothing. Dropping it is the
/// node's death: its object stays.
#[derive(Debug)]
pub struct Node {
    name: String,
    process: Guarded,
}

impl Node {
    /// Starts one and creates its object. Its program is built at the first use.
    ///
    /// # Errors
    /// When it cannot be built or started, or the API server refuses the object.
    pub async fn start(plane: &ControlPlane, name: &str) -> Result<Self> {
        let program = tokio::task::spawn_blocking(Assets::node).await??;
        let log = plane.folder().join(format!("{name}.log"));
        let mut process = Guarded::start(&Command::new(program), &log)?;
        let address = address(&mut process, &log).await?;
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        plane.kubectl().run_with(&["create", "-f", "-"], &object.to_string()).await?;
        let status = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": address.ip() }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": address.port() } },
        } });
        let patch = ["patch", "node", name, "--subresource", "status", "--patch", &status.to_string()];
        plane.kubectl().run(&patch).await?;
        Ok(Self { name: name.to_owned(), process })
    }

    /// For `spec.nodeName`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kills it: the streams of its pods break, and there are no new ones.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

/// Where it says that it listens.
async fn address(process: &mut Guarded, log: &Path) -> Result<SocketAddr> {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let listening = text.split_once("listening on ").and_then(|(_, rest)| rest.split_once('\n'));
        if let Some((address, _)) = listening {
            return address.parse().context("the node listens on no address");
        }
        if process.has_ended() || started.elapsed() > PATIENCE {
            bail!("the node does not start: {text}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
