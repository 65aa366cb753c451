//! The control plane as one value.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::certificates::Certificates;
use crate::compile::Program;
use crate::guarded::Guarded;
use crate::programs::{Layout, Ports};
use crate::{Assets, Audit, Kubeconfig, Kubectl, Options, Proxy, ports, ready};

/// How often a start is tried when others take the ports.
const ATTEMPTS: u32 = 5;
/// Lines of each log that a failed start shows.
const SHOWN: usize = 15;

/// A running etcd and kube-apiserver. Dropping it ends them and removes its folder.
#[derive(Debug)]
pub struct ControlPlane {
    assets: Assets,
    options: Options,
    layout: Layout,
    admin: Kubeconfig,
    // In the order of their end: the API server before what it stores in.
    api_server: Guarded,
    etcd: Guarded,
    managers: Vec<Guarded>,
    names: AtomicU32,
}

impl ControlPlane {
    /// Starts one with the default options, in about 3 s; the very first start builds the programs.
    ///
    /// # Errors
    /// When the programs are missing and cannot be built, or do not start; the ends of their logs are in the message.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts one with `options`.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_with(options: Options) -> Result<Self> {
        let assets = tokio::task::spawn_blocking(Assets::find_or_build).await??;
        let mut attempt = 1;
        loop {
            let tried = Self::try_start(&assets, &options).await;
            let clash = tried.as_ref().is_err_and(|error| format!("{error:#}").contains("address already in use"));
            if !clash || attempt == ATTEMPTS {
                return tried;
            }
            attempt += 1;
        }
    }

    async fn try_start(assets: &Assets, options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portolan-control-plane-").tempdir()?;
        let [etcd, peers, api_server] = ports::free()?;
        let layout = Layout {
            certificates: Certificates::write(&folder.path().join("pki"))?,
            folder: folder.path().to_owned(),
            ports: Ports { etcd, peers, api_server },
        };
        let pki = &layout.certificates;
        let (certificate, key) = pki.admin();
        let admin = Kubeconfig::with_certificate(folder.path(), &layout.url(), &pki.authority(), (&certificate, &key))?;
        let etcd = start_etcd(assets, &layout).await.map_err(|error| with_logs(&layout, error))?;
        let api_server =
            start_api_server(assets, &layout, options, &admin).await.map_err(|error| with_logs(&layout, error))?;
        // From here on the folder is removed by `drop`, or by what guards the servers.
        drop(folder.keep());
        Ok(Self {
            assets: assets.clone(),
            options: options.clone(),
            layout,
            admin,
            api_server,
            etcd,
            managers: Vec::new(),
            names: AtomicU32::new(0),
        })
    }

    /// The folder with logs and kubeconfigs; it ends with the control plane.
    pub fn folder(&self) -> &Path {
        &self.layout.folder
    }

    /// The folder with kubectl.
    pub fn programs(&self) -> &Path {
        self.assets.folder()
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.layout.ports.api_server).into()
    }

    /// A certificate of the group `system:masters`, which has all rights.
    pub fn admin(&self) -> &Kubeconfig {
        &self.admin
    }

    /// An admin's client, of the current runtime.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn client(&self) -> Result<kube::Client> {
        self.admin.client().await
    }

    /// An admin's kubectl.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_as(&self.admin)
    }

    /// kubectl under another kubeconfig.
    pub fn kubectl_as(&self, kubeconfig: &Kubeconfig) -> Kubectl {
        Kubectl::new(self.assets.kubectl(), self.layout.folder.clone(), kubeconfig.clone())
    }

    /// A kubeconfig with a fresh token of a ServiceAccount that exists; valid for a day.
    ///
    /// # Errors
    /// When the token is refused.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Kubeconfig> {
        let args = ["create", "token", name, "--namespace", namespace, "--duration=24h"];
        let token = self.kubectl().run(&args).await?;
        let authority = self.layout.certificates.authority();
        Kubeconfig::with_token(&self.layout.folder, &self.layout.url(), &authority, token.trim())
    }

    /// A new namespace whose name begins with `prefix`, which separates tests that share the control plane.
    ///
    /// # Errors
    /// When it cannot be created.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.kubectl().run(&["create", "namespace", &name]).await?;
        Ok(name)
    }

    /// What is asked of the API server from now on.
    ///
    /// # Errors
    /// With [`Options::without_audit`].
    pub fn audit(&self) -> Result<Audit> {
        Audit::from_now(self.layout.audit_log(), self.admin.clone())
    }

    /// A proxy in front of the API server; see [`Kubeconfig::through`].
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn proxy(&self) -> Result<Proxy> {
        Proxy::start(self.address()).await
    }

    /// SIGSTOP to the API server: connections hang.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn pause(&self) -> Result<()> {
        self.api_server.pause()
    }

    /// SIGCONT to the API server.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> Result<()> {
        self.api_server.resume()
    }

    /// SIGKILL to the API server; etcd stays.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.api_server.kill()
    }

    /// Starts the API server again after [`ControlPlane::kill`], at the same address and on the same data, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.api_server.kill()?;
        let started = start_api_server(&self.assets, &self.layout, &self.options, &self.admin).await;
        self.api_server = started.map_err(|error| with_logs(&self.layout, error))?;
        Ok(())
    }

    /// Runs `controllers` of kube-controller-manager, such as `garbage-collector-controller` and `namespace-controller`. Its program is
    /// built at the first use.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn run_controllers(&mut self, controllers: &[&str]) -> Result<()> {
        let assets = self.assets.clone();
        let program = tokio::task::spawn_blocking(move || assets.with_controller_manager()).await??;
        let flags = [
            format!("--kubeconfig={}", self.admin.path().display()),
            format!("--controllers={}", controllers.join(",")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        self.managers.push(start(&self.layout, "controller-manager", &program, &flags)?);
        Ok(())
    }

    /// Every sample of the API server's own metrics whose name is `name`, as `(labels, value)`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, name: &str) -> Result<Vec<(String, f64)>> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client().await?.request_text(request).await?;
        let sample = |line: &str| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then(|| Some((labels.to_owned(), value.parse().ok()?)))?
        };
        Ok(text.lines().filter_map(sample).collect())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.managers.clear();
        // Errors are of no use here, and the guards remove the folder too.
        drop(self.api_server.kill());
        drop(self.etcd.kill());
        drop(std::fs::remove_dir_all(&self.layout.folder));
    }
}

fn start(layout: &Layout, server: &str, program: &Path, flags: &[String]) -> Result<Guarded> {
    Guarded::with_folder(Command::new(program).args(flags), &layout.log(server), &layout.folder)
}

async fn start_etcd(assets: &Assets, layout: &Layout) -> Result<Guarded> {
    let mut etcd = start(layout, "etcd", &assets.path(Program::Etcd), &layout.etcd())?;
    let port = layout.ports.etcd;
    ready::until("etcd", &mut etcd, async || ready::http(port, "/health").await).await?;
    Ok(etcd)
}

async fn start_api_server(assets: &Assets, layout: &Layout, options: &Options, admin: &Kubeconfig) -> Result<Guarded> {
    let flags = layout.api_server(options)?;
    let mut server = start(layout, "kube-apiserver", &assets.path(Program::ApiServer), &flags)?;
    let client = admin.client().await.context("no client of the API server")?;
    ready::until("kube-apiserver", &mut server, async || ready::api_server(&client).await).await?;
    Ok(server)
}

/// The error with the ends of the logs, whose files go with the folder.
fn with_logs(layout: &Layout, error: anyhow::Error) -> anyhow::Error {
    let ends = ["etcd", "kube-apiserver"].map(|server| {
        let log = std::fs::read_to_string(layout.log(server)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{server} wrote:\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"))
    });
    error.context(ends.join("\n"))
}
