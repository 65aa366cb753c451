//! Where the programs of a control plane are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::compile::{self, Program};

const GO_MOD: &str = include_str!("../go.mod");

/// The folder with `etcd`, `kube-apiserver` and `kubectl`.
#[derive(Debug, Clone)]
pub struct Assets {
    folder: PathBuf,
    given: bool,
}

impl Assets {
    /// The folder that `KUBEBUILDER_ASSETS` names, or else the cache of this version of the programs, built when they are missing:
    /// some minutes on two cores, said on stderr. Processes that ask at the same time build once.
    ///
    /// # Errors
    /// When the folder that was named lacks a program, or one cannot be built, as without `go`.
    pub fn find_or_build() -> Result<Self> {
        let assets = match std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()) {
            Some(folder) => Self { folder: folder.into(), given: true },
            None => Self { folder: cache_folder()?, given: false },
        };
        let mut programs = vec![Program::Etcd, Program::Kubectl, Program::ApiServer];
        if !assets.given {
            // Not all need a node, and beside the others it costs nothing.
            programs.push(Program::Node);
        }
        assets.provide(&programs)?;
        Ok(assets)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kubectl program.
    pub fn kubectl(&self) -> PathBuf {
        self.path(Program::Kubectl)
    }

    /// Makes sure of the controller manager, which only some need.
    pub(crate) fn with_controller_manager(&self) -> Result<PathBuf> {
        self.provide(&[Program::ControllerManager])?;
        Ok(self.path(Program::ControllerManager))
    }

    /// Makes sure of the node, which no folder that is given has, for it is our own.
    pub(crate) fn node() -> Result<PathBuf> {
        let folder = cache_folder()?;
        compile::missing(&folder, &[Program::Node])?;
        Ok(folder.join(Program::Node.file()))
    }

    /// Makes sure of CoreDNS, which no folder that is given has.
    pub(crate) fn core_dns() -> Result<PathBuf> {
        let folder = cache_folder()?;
        compile::missing(&folder, &[Program::CoreDns])?;
        Ok(folder.join(Program::CoreDns.file()))
    }

    pub(crate) fn path(&self, program: Program) -> PathBuf {
        self.folder.join(program.file())
    }

    fn provide(&self, programs: &[Program]) -> Result<()> {
        if !self.given {
            return compile::missing(&self.folder, programs);
        }
        for program in programs {
            let path = self.path(*program);
            ensure!(path.is_file(), "KUBEBUILDER_ASSETS has no {}: {} does not exist", program.file(), path.display());
        }
        Ok(())
    }
}

/// The version of `module` that `go.mod` requires.
pub(crate) fn version(module: &str) -> Result<&'static str> {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
        .with_context(|| format!("go.mod does not require {module}"))
}

fn cache_folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(root) = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache"))) else {
        bail!("no folder to keep the control plane's programs in: set XDG_CACHE_HOME, HOME or KUBEBUILDER_ASSETS");
    };
    let name = format!("k8s-{}-etcd-{}", version("k8s.io/kubernetes")?, version("go.etcd.io/etcd/server/v3")?);
    Ok(root.join(Path::new("portolan/control-plane")).join(name))
}
