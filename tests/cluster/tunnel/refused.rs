//! What does not work says why, and what to do.

use control_plane::Kubeconfig;

use super::server::Server;
use super::{Place, ended};

impl Place {
    /// Runs `list`, which has to end with that code and say those words.
    async fn says(&self, kubeconfig: &Kubeconfig, code: i32, words: &[&str]) {
        for args in [["list"], ["watch"]] {
            let (ended, said) = ended(&self.run(kubeconfig, &args).await);
            assert_eq!(ended, code, "{args:?}: {said}");
            for word in words {
                assert!(said.contains(word), "{args:?} does not say {word}: {said}");
            }
            assert_eq!(self.left(), 0);
        }
    }
}

#[tokio::test]
async fn no_pod_none_ready_and_none_that_listens_are_distinguished() {
    let place = Place::new().await;
    let admin = place.plane.admin();
    let namespace = place.namespace.as_str();
    place.says(admin, 3, &["there is no pod of Portolan", namespace, "--context-namespace"]).await;

    let gone = {
        let server = Server::start(&[]).await;
        server.port()
    };
    place.pod("a", gone).await;
    let words = ["the pod a takes no connections on its port", "connection refused", "kubectl --context test"];
    place.says(admin, 3, &words).await;

    place.ready("a", false).await;
    place.says(admin, 3, &["none of Portolan's pods is ready (1 found)", "describe pods"]).await;
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let place = Place::new().await;
    let server = Server::start(&[]).await;
    place.pod("a", server.port()).await;
    let nobody = place.nobody().await;
    place.says(&nobody, 5, &["lets you list pods", "cannot list resource", &place.namespace]).await;
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: portolan-context, namespace: {}}}\n\
         rules: [{{apiGroups: [''], resources: [pods], verbs: [list]}}]",
        place.namespace
    );
    place.grant(&nobody, &role, &["list", "pods"]).await;
    place.says(&nobody, 5, &["get and create pods/portforward", &place.namespace]).await;
}

#[tokio::test]
async fn a_dead_node_is_named_as_the_likely_cause() {
    let mut place = Place::new().await;
    place.pod("a", 1).await;
    place.node.kill().expect("killed");
    place.says(place.plane.admin(), 3, &["no stream to the pod a", "is the pod running, and its node healthy"]).await;
}

#[tokio::test]
async fn a_context_that_is_none_is_a_wrong_command_line() {
    let plane = crate::common::shared().await;
    let run = async |args: &[&str]| {
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
        program.arg("list").args(args).env_clear().env("KUBECONFIG", plane.admin().path());
        ended(&program.output().await.expect("it runs"))
    };
    let (code, said) = run(&["--context", "nowhere\u{1b}[2J"]).await;
    assert!(code == 2 && said.contains("kubectl config get-contexts") && !said.contains('\u{1b}'), "{code} {said}");
    assert_eq!(run(&["--context", "test", "--server", "http://127.0.0.1:1"]).await.0, 2);
    assert_eq!(run(&["--context-namespace", "portolan"]).await.0, 2);
    assert_eq!(run(&["--context", "test", "--context-namespace", "No Name"]).await.0, 2);
}
