//! The custom resource definitions of other projects whose objects Portolan writes to.
//!
//! Those of Istio and external-dns are their own, read from the Go modules that tests/interop runs them from, in the versions of its
//! `go.mod` files and with the checksums of their `go.sum`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::compile;

const CONSUMERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../interop");

/// The definition of `WorkloadEntry` in YAML, as Istio's chart installs it: v1, v1beta1 and v1alpha3, with a status subresource.
///
/// # Errors
/// When Go is missing, or cannot get the module.
pub fn istio_workload_entry() -> Result<String> {
    let all = read("istio", "istio.io/istio", "manifests/charts/base/files/crd-all.gen.yaml")?;
    let name = "name: workloadentries.networking.istio.io";
    let wanted = all.split("\n---\n").find(|document| document.lines().any(|line| line.trim() == name));
    Ok(wanted.with_context(|| format!("Istio's definitions have no `{name}`"))?.to_owned())
}

/// The definition of `DNSEndpoint` in YAML, as external-dns' chart installs it: v1alpha1, with a status subresource.
///
/// # Errors
/// When Go is missing, or cannot get the module.
pub fn external_dns_endpoint() -> Result<String> {
    let file = "config/crd/standard/dnsendpoints.externaldns.k8s.io.yaml";
    read("external-dns", "sigs.k8s.io/external-dns", file)
}

/// A definition of `ExternalWorkload` in YAML that has what Linkerd's chart installs: v1beta1 with a status subresource, v1alpha1 without one,
/// their fields and the bounds of these. It is our own text: Linkerd's module is not on every Go proxy.
///
/// # Errors
/// None; the others can fail.
pub fn linkerd_external_workload() -> Result<String> {
    Ok(include_str!("external-workload.yaml").to_owned())
}

/// A file of a Go module that the consumer's `go.mod` requires. Go downloads it if it must, and compares it with `go.sum`.
fn read(consumer: &str, module: &str, file: &str) -> Result<String> {
    let path = folder(consumer, module)?.join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn folder(consumer: &str, module: &str) -> Result<PathBuf> {
    let output = compile::go()
        .args(["mod", "download", "-json", module])
        .current_dir(Path::new(CONSUMERS).join(consumer))
        // A flag from outside could let it change go.sum.
        .env("GOFLAGS", "-mod=readonly")
        .stdin(Stdio::null())
        .output()
        .context("cannot run go")?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let why = said["Error"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr), Into::into);
    ensure!(output.status.success(), "go cannot download {module}: {}", why.trim());
    Ok(said["Dir"].as_str().context("go does not say where the module is")?.into())
}
