//! kubectl, as a user runs it.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::Kubeconfig;

/// Longer than the longest thing that a test asks for.
const PATIENCE: Duration = Duration::from_mins(4);

/// kubectl under one kubeconfig, with nothing of the person's own home.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    home: PathBuf,
    kubeconfig: Kubeconfig,
}

/// kubectl ended with an error. Find it in an [`anyhow::Error`] by `downcast_ref`.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The exit status, if it was not a signal that ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout, as `no` of `auth can-i`.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "kubectl ended with {:?}: {}{}", self.code, self.stdout, self.stderr)
    }
}

impl std::error::Error for Refused {}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, home: PathBuf, kubeconfig: Kubeconfig) -> Self {
        Self { program, home, kubeconfig }
    }

    /// The command without arguments, for what the other functions do not cover, such as `get -w`.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", self.kubeconfig.path())
            .env("HOME", &self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it and gives its stdout.
    ///
    /// # Errors
    /// [`Refused`] when it ends with another status than 0, and when it takes longer than four minutes.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        Self::finish(self.command().args(args).spawn().context("cannot run kubectl")?, args).await
    }

    /// Runs it with `input` on its stdin.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn run_with(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = self.command().args(args).stdin(Stdio::piped()).spawn().context("cannot run kubectl")?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let input = input.to_owned();
        let ((), output) = tokio::join!(
            async move {
                // Closed early means that kubectl says why.
                drop(stdin.write_all(input.as_bytes()).await);
            },
            Self::finish(child, args)
        );
        output
    }

    /// `kubectl apply -f -` of one or more manifests.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        self.run_with(&["apply", "-f", "-"], manifests).await
    }

    /// `kubectl apply -f` of a file.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn apply_file(&self, file: &Path) -> Result<String> {
        self.run(&["apply", "-f", file.to_str().context("a path in UTF-8")?]).await
    }

    /// Waits until the API server serves the kind of a CustomResourceDefinition, such as `services.portolan.dev`.
    ///
    /// # Errors
    /// As [`Kubectl::run`], and when it is not served after 30 s.
    pub async fn until_established(&self, definition: &str) -> Result<()> {
        let definition = format!("crd/{definition}");
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", &definition];
        let established = async {
            loop {
                match self.run(&wait).await {
                    // kubectl ends at once when the definition is so new that its status is empty.
                    Err(error) if is_without_status(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
                    result => return result.map(drop),
                }
            }
        };
        tokio::time::timeout(PATIENCE, established).await.with_context(|| format!("{definition} is not served"))?
    }

    /// Whether `kubectl auth can-i` says yes to `question`, such as `["create", "pods", "-n", "shop"]`.
    ///
    /// # Errors
    /// When it says neither.
    pub async fn can_i(&self, question: &[&str]) -> Result<bool> {
        match self.run(&[&["auth", "can-i"], question].concat()).await {
            Ok(output) => Ok(output.trim() == "yes"),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|no| no.stdout.starts_with("no")) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn finish(child: Child, args: &[&str]) -> Result<String> {
        let waited = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = waited.with_context(|| format!("kubectl {} takes too long", args.join(" ")))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() {
            return Ok(stdout);
        }
        Err(Refused { code: output.status.code(), stdout, stderr }.into())
    }
}

/// Whether kubectl found no list of conditions to wait for.
fn is_without_status(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.stderr.contains("conditions accessor error"))
}
