//! What happens, in its order.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_plane::{ControlPlane, Kubeconfig, Kubectl};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::backends::Backends;
use crate::replica::{Replica, program};
use crate::screen;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// Where the samples go. REST registrations go to Portolan's own namespace.
const NAMESPACE: &str = "shop";
/// Time to look at what a step did.
const PAUSE: Duration = Duration::from_secs(7);
/// A takeover takes at most 20 s.
const PATIENCE: Duration = Duration::from_secs(40);

struct Demo {
    plane: ControlPlane,
    account: Kubeconfig,
    secret: String,
    backends: Backends,
    replicas: Vec<Replica>,
}

/// The whole demo. It goes on until it is dropped.
pub(crate) async fn play() -> Result<()> {
    let mut demo = Demo::start().await?;
    let kubectl = demo.plane.kubectl();
    tokio::select! {
        ended = watch(&kubectl) => ended,
        played = demo.scenes() => played,
    }
}

/// `kubectl get psvc -w`, line by line as they come.
async fn watch(kubectl: &Kubectl) -> Result<()> {
    screen::command("kubectl get psvc -A -w")?;
    let mut process = kubectl.command().args(["get", "psvc", "-A", "-w"]).spawn().context("cannot run kubectl")?;
    let mut lines = BufReader::new(process.stdout.take().context("no stdout")?).lines();
    while let Some(line) = lines.next_line().await? {
        screen::line(&line)?;
    }
    let output = process.wait_with_output().await?;
    anyhow::bail!("kubectl ended: {}", String::from_utf8_lossy(&output.stderr))
}

impl Demo {
    async fn start() -> Result<Self> {
        program()?;
        screen::tell("An etcd and a kube-apiserver start on this machine.")?;
        let plane = ControlPlane::start().await?;
        let kubectl = plane.kubectl();
        screen::command("kubectl apply --server-side -f deploy/install.yaml")?;
        let install = format!("{REPOSITORY}/deploy/install.yaml");
        screen::line(kubectl.run(&["apply", "--server-side", "-f", &install]).await?.trim_end())?;
        kubectl.until_established("services.portolan.dev").await?;
        kubectl.run(&["create", "namespace", NAMESPACE]).await?;

        let account = plane.service_account("portolan", "portolan").await?;
        let secret = format!("{:032x}", rand::random::<u128>());
        let mut replicas = Vec::new();
        for name in ["portolan-0", "portolan-1"] {
            replicas.push(Replica::start(&plane, &account, &secret, name).await?);
        }
        screen::tell(
            "No kubelet runs here, so two processes stand for the pods, under the ServiceAccount's own rights:",
        )?;
        for replica in &replicas {
            screen::line(&format!("{}  {}  log {}/{0}.log", replica.name, replica.url, plane.folder().display()))?;
        }
        let demo = Self { plane, account, secret, backends: Backends::start().await?, replicas };
        demo.apply_samples().await?;
        demo.invite()?;
        Ok(demo)
    }

    async fn apply_samples(&self) -> Result<()> {
        screen::command(&format!("kubectl apply -n {NAMESPACE} -f deploy/samples"))?;
        let mut manifests = Vec::new();
        for entry in fs::read_dir(Path::new(REPOSITORY).join("deploy/samples"))? {
            let path = entry?.path();
            // Nobody answers here for somebody else's API.
            if !path.ends_with("saas-over-https.yaml") {
                manifests.push(self.backends.localised(&fs::read_to_string(&path)?));
            }
        }
        manifests.sort();
        let input = manifests.join("\n---\n");
        let output = self.plane.kubectl().run_with(&["apply", "-n", NAMESPACE, "-f", "-"], &input).await?;
        screen::line(output.trim_end())?;
        Ok(())
    }

    /// How to look at it from another terminal.
    fn invite(&self) -> Result<()> {
        screen::tell("In another terminal:")?;
        screen::line(&format!("export KUBECONFIG={}", self.plane.admin().path().display()))?;
        screen::line(&format!("export PATH=\"{}:$PATH\"", self.plane.programs().display()))?;
        screen::line(&format!("kubectl describe psvc -n {NAMESPACE} user-service"))?;
        screen::line(&format!(
            "curl '{}/api/v1/services/discover?name=user-service&namespace={NAMESPACE}'",
            self.replicas[0].url
        ))?;
        Ok(())
    }

    async fn scenes(&mut self) -> Result<()> {
        tokio::time::sleep(PAUSE).await;
        self.outage().await?;
        self.takeover().await?;
        self.registration().await?;
        screen::tell("From here on ledger-db's primary stops and comes back. Ctrl-C ends the demo.")?;
        loop {
            self.backends.stop("10.20.0.11:5432").await;
            tokio::time::sleep(PAUSE * 2).await;
            self.backends.resume("10.20.0.11:5432").await?;
            tokio::time::sleep(PAUSE * 2).await;
        }
    }

    /// One instance, then the other; then both come back.
    async fn outage(&mut self) -> Result<()> {
        screen::tell("user-service/a stops: connections are refused.")?;
        self.backends.stop("10.0.0.5:8080").await;
        tokio::time::sleep(PAUSE).await;
        screen::tell("user-service/b stops too.")?;
        self.backends.stop("10.0.0.6:9000").await;
        tokio::time::sleep(PAUSE).await;
        screen::tell("Both come back.")?;
        self.backends.resume("10.0.0.5:8080").await?;
        self.backends.resume("10.0.0.6:9000").await?;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// The leader dies. Nothing goes back to unknown.
    async fn takeover(&mut self) -> Result<()> {
        let leader = self.leader().await?;
        let position = self.replicas.iter().position(|replica| leader.starts_with(&replica.name));
        let position =
            position.with_context(|| format!("the Lease is held by {leader}, who is none of the replicas"))?;
        let mut dead = self.replicas.remove(position);
        screen::tell(&format!("{} leads, and is killed with SIGKILL.", dead.name))?;
        dead.kill()?;
        let started = Instant::now();
        while self.leader().await.is_ok_and(|now| now == leader) {
            ensure!(started.elapsed() < PATIENCE, "nobody takes over");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (seconds, now) = (started.elapsed().as_secs_f32(), self.leader().await?);
        screen::tell(&format!("{now} leads after {seconds:.1} s. {} starts again.", dead.name))?;
        self.replicas.push(Replica::start(&self.plane, &self.account, &self.secret, &dead.name).await?);
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    async fn leader(&self) -> Result<String> {
        let args = ["get", "lease", "portolan", "-n", "portolan", "-o", "jsonpath={.spec.holderIdentity}"];
        let holder = self.plane.kubectl().run(&args).await?;
        ensure!(!holder.is_empty(), "nobody leads");
        Ok(holder)
    }

    /// A program registers at the replica that does not lead.
    async fn registration(&self) -> Result<()> {
        let leader = self.leader().await?;
        let other =
            self.replicas.iter().find(|replica| !leader.starts_with(&replica.name)).context("one replica alone")?;
        screen::tell(&format!("A program registers over REST, through {}, which is not the leader.", other.name))?;
        let url = format!("http://{}", self.backends.address("10.0.0.6:8080")?);
        let args = ["register", "--name", "cart", "--base-url", &url, "--check-http", "/healthz"];
        screen::command(&format!("portolan {} --server {}", args.join(" "), other.url))?;
        screen::line(&self.portolan(&[&args, ["--server", &other.url].as_slice()].concat())?)?;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    fn portolan(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program()?);
        let token = run(command.args(["token", "--subject", "demo"]).env("JWT_SECRET", &self.secret))?;
        run(Command::new(program()?).args(args).env("PORTOLAN_TOKEN", token))
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run portolan")?;
    ensure!(output.status.success(), "portolan: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
