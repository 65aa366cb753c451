//! Who talks to which address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig as Parsed};
use serde_json::{Value, json};

/// A kubeconfig file in the control plane's folder. Clones name the same file.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    text: Arc<Value>,
    path: PathBuf,
}

impl Kubeconfig {
    pub(crate) fn with_certificate(
        folder: &Path,
        server: &str,
        authority: &Path,
        admin: (&Path, &Path),
    ) -> Result<Self> {
        Self::write(folder, server, authority, &json!({ "client-certificate": admin.0, "client-key": admin.1 }))
    }

    pub(crate) fn with_token(folder: &Path, server: &str, authority: &Path, token: &str) -> Result<Self> {
        Self::write(folder, server, authority, &json!({ "token": token }))
    }

    fn write(folder: &Path, server: &str, authority: &Path, user: &Value) -> Result<Self> {
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": server, "certificate-authority": authority } }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        Self::put(folder, text)
    }

    fn put(folder: &Path, text: Value) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = folder.join(format!("kubeconfig-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, text.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { text: Arc::new(text), path })
    }

    /// The same user by way of another address, such as that of a [`crate::Proxy`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn through(&self, address: std::net::SocketAddr) -> Result<Self> {
        let mut text = Value::clone(&self.text);
        text["clusters"][0]["cluster"]["server"] = format!("https://{address}").into();
        Self::put(self.path.parent().context("a kubeconfig lies in a folder")?, text)
    }

    /// The file, for `KUBECONFIG` and `--kubeconfig`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A client of the current runtime. Make one in each test: it belongs to the runtime that made it.
    ///
    /// # Errors
    /// When the file is not understood.
    pub async fn client(&self) -> Result<kube::Client> {
        let parsed = Parsed::read_from(&self.path)?;
        let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }
}
