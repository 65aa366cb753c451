//! Builds the programs from Go modules, once for all users.

use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::assets::version;

/// The Go module beside this crate's sources.
const MODULE: &str = env!("CARGO_MANIFEST_DIR");
/// What all of it takes on two slow cores, downloads included.
const MINUTES: u32 = 10;
const NODE: &str = include_str!("../node/main.go");
/// CoreDNS has a module of its own, since it needs other versions of Kubernetes' libraries.
const CORE_DNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/coredns");
const CORE_DNS_SOURCE: &str = concat!(include_str!("../coredns/go.mod"), include_str!("../coredns/main.go"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Etcd,
    ApiServer,
    Kubectl,
    ControllerManager,
    Node,
    CoreDns,
}

impl Program {
    pub(crate) fn file(self) -> String {
        match self {
            Self::Etcd => "etcd".to_owned(),
            Self::ApiServer => "kube-apiserver".to_owned(),
            Self::Kubectl => "kubectl".to_owned(),
            Self::ControllerManager => "kube-controller-manager".to_owned(),
            // Its source is here, so a version of Kubernetes does not tell one from another.
            Self::Node => format!("node-{:016x}", hash(NODE)),
            Self::CoreDns => format!("coredns-{:016x}", hash(CORE_DNS_SOURCE)),
        }
    }

    /// What Go calls it: the last part of its package's path that is not a version.
    fn built(self) -> &'static str {
        match self {
            Self::Etcd => "server",
            Self::ApiServer => "kube-apiserver",
            Self::Kubectl => "kubectl",
            Self::ControllerManager => "kube-controller-manager",
            Self::Node => "node",
            Self::CoreDns => "coredns",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Node => "./node",
            Self::CoreDns => ".",
        }
    }

    /// The folder of its Go module.
    fn module(self) -> &'static str {
        if self == Self::CoreDns { CORE_DNS } else { MODULE }
    }
}

fn hash(text: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

/// Builds those of `programs` that `folder` does not have, all at once. A lock lets others wait instead of building the same.
pub(crate) fn missing(folder: &Path, programs: &[Program]) -> Result<()> {
    let missing = || -> Vec<Program> {
        programs.iter().copied().filter(|program| !folder.join(program.file()).is_file()).collect()
    };
    if missing().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join(".lock")).context("cannot open the lock of the control plane's cache")?;
    if lock.try_lock().is_err() {
        say("another process is building the control plane's programs; waiting for it");
        lock.lock().context("cannot lock the control plane's cache")?;
    }
    for module in [MODULE, CORE_DNS] {
        let programs: Vec<Program> = missing().into_iter().filter(|program| program.module() == module).collect();
        if !programs.is_empty() {
            build(folder, module, &programs)?;
        }
    }
    Ok(())
}

/// One call of Go for all of them: it compiles what they share once, and links one while it compiles for another.
fn build(folder: &Path, module: &str, programs: &[Program]) -> Result<()> {
    let started = Instant::now();
    let names = programs.iter().map(|program| program.file()).collect::<Vec<_>>().join(", ");
    say(&format!("building {names} into {} (once; all of it takes about {MINUTES} minutes)", folder.display()));
    // Under their names only when complete: a build that was cut short is not taken for a program.
    let partial = tempfile::tempdir_in(folder).context("cannot create a folder to build in")?;
    let built = go()
        // Without what debuggers read, which `-s -w` leaves out anyway: a tenth of the work.
        .args(["build", "-mod=readonly", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", &flags()?, "-o"])
        // The slash says that it is a folder also when there is one program.
        .arg(partial.path().join(""))
        .args(programs.iter().map(|program| program.package()))
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output();
    let output = match built {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let other = if matches!(programs, [Program::Node | Program::CoreDns]) {
                ""
            } else {
                ", or name a folder with the programs in KUBEBUILDER_ASSETS"
            };
            bail!("go is missing: install Go 1.22 or newer{other}")
        }
        Err(error) => return Err(error).context("cannot run go"),
    };
    if !output.status.success() {
        bail!("go could not build {names}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    for program in programs {
        let built = partial.path().join(program.built());
        std::fs::rename(built, folder.join(program.file())).context("cannot name what was built")?;
    }
    say(&format!("built {names} in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// The Go command, which may get the release of Go that a go.mod asks for: some distributions forbid it.
pub(crate) fn go() -> Command {
    let mut go = Command::new("go");
    if std::env::var_os("GOTOOLCHAIN").is_none() {
        go.env("GOTOOLCHAIN", "auto");
    }
    go
}

/// Without its version the API server reports v0.0.0 and turns features off by it.
fn flags() -> Result<String> {
    let version = version("k8s.io/kubernetes")?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.git{name}={value}");
    Ok(format!("-s -w{}{}{}", set("Version", version), set("Major", major), set("Minor", minor)))
}

/// Straight to stderr, past what the test runner keeps back: somebody is waiting.
fn say(text: &str) {
    // Nothing can be done about a closed stderr.
    drop(writeln!(std::io::stderr(), "control plane: {text}"));
}
