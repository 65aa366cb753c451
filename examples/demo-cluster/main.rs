//! `make demo-cluster`: Portolan in a real Kubernetes control plane on this machine. An etcd and a kube-apiserver are started, the
//! CustomResourceDefinition and the access rights of `deploy/install.yaml` applied, two replicas run under exactly those rights, and
//! `kubectl get psvc -w` shows what happens as backends stop, the leader is killed, and a program registers over REST.

mod backends;
mod replica;
mod screen;
mod story;

use std::time::Duration;

use anyhow::{Context, Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    let limit = limit()?;
    tokio::select! {
        played = story::play() => played,
        () = async { match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }} => Ok(()),
        signal = tokio::signal::ctrl_c() => signal.context("cannot listen for Ctrl-C"),
    }
}

/// `--seconds N`, if it is given.
fn limit() -> Result<Option<Duration>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, None, None) => Ok(None),
        (Some("--seconds"), Some(seconds), None) => {
            Ok(Some(Duration::from_secs(seconds.parse().context("--seconds takes a whole number")?)))
        }
        _ => bail!("the only flag is --seconds N: end by itself after N seconds"),
    }
}
