//! Runs a command beside a fresh control plane: KUBECONFIG is an administrator's, and kubectl is on the PATH. Ends as the command does.
//! `--dns NAMESPACE` before the command adds a DNS server for a namespace: DNS_SERVER is its address.

use std::process::ExitCode;

use anyhow::{Context, Result};
use control_plane::{ControlPlane, CoreDns};
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut args = std::env::args_os().skip(1).peekable();
    let namespace = args.next_if(|arg| arg == "--dns").and_then(|_| args.next()?.into_string().ok());
    let program = args.next().context("give a command to run")?;
    let plane = ControlPlane::start().await?;
    let dns = match namespace {
        Some(namespace) => Some(CoreDns::start(&plane, &namespace).await?),
        None => None,
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(plane.programs().to_owned()).chain(std::env::split_paths(&path));
    let status = Command::new(&program)
        .args(args)
        .envs(dns.iter().map(|dns| ("DNS_SERVER", dns.address().to_string())))
        .env("KUBECONFIG", plane.admin().path())
        .env("PATH", std::env::join_paths(folders)?)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
