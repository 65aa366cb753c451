//! What differs from one control plane to another.

/// How a control plane is started. The default is what most tests want: RBAC, an audit log, short compaction left alone.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) audit: bool,
    pub(crate) api_server: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { audit: true, api_server: Vec::new() }
    }
}

impl Options {
    /// No audit log: for measuring.
    #[must_use]
    pub fn without_audit(mut self) -> Self {
        self.audit = false;
        self
    }

    /// A further flag of kube-apiserver, such as `--watch-cache=false`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.api_server.push(flag.to_owned());
        self
    }

    /// Old revisions are forgotten every `seconds`, so that a watch or a list that continues late gets 410 Gone.
    #[must_use]
    pub fn compacting_every(self, seconds: u32) -> Self {
        self.flag(&format!("--etcd-compaction-interval={seconds}s"))
    }

    /// Watches without a timeout of their own are ended by the server after `seconds` to twice as many.
    #[must_use]
    pub fn watches_of(self, seconds: u32) -> Self {
        self.flag(&format!("--min-request-timeout={seconds}"))
    }
}
