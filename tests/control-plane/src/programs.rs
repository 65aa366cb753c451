//! The flags of the servers.

use std::path::PathBuf;

use anyhow::Result;

use crate::certificates::Certificates;
use crate::options::Options;

/// Everything that stays the same when a server is started again.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    pub(crate) certificates: Certificates,
    pub(crate) ports: Ports,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) peers: u16,
    pub(crate) api_server: u16,
}

impl Layout {
    pub(crate) fn log(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.log"))
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server)
    }

    pub(crate) fn etcd(&self) -> Vec<String> {
        let clients = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peers = format!("http://127.0.0.1:{}", self.ports.peers);
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // The data has to survive `kill -9`, which it does without; it need not survive a loss of power.
            "--unsafe-no-fsync=true".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    pub(crate) fn api_server(&self, options: &Options) -> Result<Vec<String>> {
        let certificates = &self.certificates;
        let file = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        let mut flags = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", self.ports.api_server),
            file("cert-dir", self.folder.join("pki")),
            file("tls-cert-file", certificates.server().0),
            file("tls-private-key-file", certificates.server().1),
            file("client-ca-file", certificates.authority()),
            format!("--service-account-issuer={}", self.url()),
            file("service-account-key-file", certificates.accounts().0),
            file("service-account-signing-key-file", certificates.accounts().1),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // Pods are only ever validated here: no controller gives them a token.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--profiling=false".to_owned(),
        ];
        if options.audit {
            let policy = self.folder.join("audit-policy.json");
            std::fs::write(&policy, AUDIT_POLICY)?;
            flags.push(file("audit-policy-file", policy));
            flags.push(file("audit-log-path", self.audit_log()));
            flags.push("--audit-log-maxsize=4096".to_owned());
        }
        flags.extend(options.api_server.iter().cloned());
        Ok(flags)
    }
}

/// One line a request: when it is answered, and for a watch also when it begins.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [{ "level": "Metadata" }]
}"#;
