//! `--context`: the program outside of the cluster, Portolan's pods inside. What goes between them is the API server's and the kubelet's own
//! code; only the pods' servers run on this machine.

mod carried;
mod recovery;
mod refused;
mod server;
#[path = "../../console/terminal.rs"]
#[expect(dead_code, reason = "shared with the console's own tests, which use more of it")]
mod terminal;

use std::path::Path;
use std::process::Output;

use control_plane::{ControlPlane, Kubeconfig, Node};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::common::{Installed, install, repository, shared};
use crate::sync::replica::until;

/// A namespace with what `deploy/` puts there, a node, and a person.
struct Place {
    plane: &'static ControlPlane,
    namespace: String,
    node: Node,
    /// Where sockets are made, and what is left of them.
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let plane = shared().await;
        let Installed { namespace, .. } = install(plane, "cluster").await;
        let node = Node::start(plane, &format!("node-of-{namespace}")).await.expect("a node");
        Self { plane, namespace, node, folder: tempfile::tempdir().expect("a folder") }
    }

    /// A pod of the Deployment's own template whose server listens on `port` of this machine.
    async fn pod(&self, name: &str, port: u16) {
        self.pod_on(&self.node, name, port).await;
    }

    async fn pod_on(&self, node: &Node, name: &str, port: u16) {
        let get = ["get", "deployment", "portolan", "-n", &self.namespace, "-o", "json"];
        let deployment = self.plane.kubectl().run(&get).await.expect("found");
        let mut pod = serde_json::from_str::<Value>(&deployment).expect("JSON")["spec"]["template"].take();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = name.into();
        pod["metadata"]["namespace"] = self.namespace.as_str().into();
        pod["spec"]["nodeName"] = node.name().into();
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = port.into();
        self.plane.kubectl().apply(&pod.to_string()).await.expect("created");
        self.ready(name, true).await;
    }

    /// What its kubelet would say of it.
    async fn ready(&self, pod: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let patch = json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } }).to_string();
        let args = ["patch", "pod", pod, "-n", &self.namespace, "--subresource", "status", "--patch", &patch];
        self.plane.kubectl().run(&args).await.expect("patched");
    }

    /// An account without any rights.
    async fn nobody(&self) -> Kubeconfig {
        let args = ["create", "serviceaccount", "person", "-n", &self.namespace];
        self.plane.kubectl().run(&args).await.expect("created");
        self.plane.service_account(&self.namespace, "person").await.expect("a token")
    }

    /// An account with only the rights that docs/kubernetes.md lists.
    async fn person(&self) -> Kubeconfig {
        let account = self.nobody().await;
        let text = std::fs::read_to_string(repository().join("docs/kubernetes.md")).expect("the page");
        let mut blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let role = blocks.find(|block| block.contains("pods/portforward")).expect("the Role");
        let role = role.replace("namespace: portolan\n", &format!("namespace: {}\n", self.namespace));
        self.grant(&account, &role, &["create", "pods", "--subresource=portforward"]).await;
        account
    }

    /// Gives that Role to the person, and waits until they may `then`.
    async fn grant(&self, person: &Kubeconfig, role: &str, then: &[&str]) {
        self.plane.kubectl().apply(role).await.expect("taken");
        let (role, who) = ("--role=portolan-context", format!("--serviceaccount={}:person", self.namespace));
        let args = ["create", "rolebinding", "person", "-n", &self.namespace, role, &who];
        self.plane.kubectl().run(&args).await.expect("bound");
        let (kubectl, question) = (self.plane.kubectl_as(person), [then, &["-n", &self.namespace]].concat());
        until("the Role counts", async || kubectl.can_i(&question).await.expect("an answer")).await;
    }

    /// The program under a kubeconfig, with `--context`.
    fn command(&self, kubeconfig: &Kubeconfig, args: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_portolan"));
        program.args(args).args(["--context", "test", "--context-namespace", &self.namespace]);
        program.env_clear().env("KUBECONFIG", kubeconfig.path()).env("TMPDIR", self.folder.path()).kill_on_drop(true);
        program
    }

    async fn run(&self, kubeconfig: &Kubeconfig, args: &[&str]) -> Output {
        self.command(kubeconfig, args).output().await.expect("it runs")
    }

    /// What lies where sockets are made.
    fn left(&self) -> usize {
        count(self.folder.path())
    }
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

/// The exit code and what was said on stderr.
fn ended(output: &Output) -> (i32, String) {
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What was printed, once the program ended well.
fn printed(output: &Output) -> String {
    let (code, said) = ended(output);
    assert_eq!(code, 0, "{said}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}
