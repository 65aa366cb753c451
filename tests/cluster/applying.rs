//! `kubectl apply` of what `deploy/` holds, again and after changes, from the client's side and from the server's.

use control_plane::{ControlPlane, Kubectl, Refused};
use serde_json::{Value, json};

use crate::common::{objects, repository, shared};

const CLIENT: &[&str] = &["apply", "-f", "-"];
const SERVER: &[&str] = &["apply", "--server-side", "-f", "-"];
const FORCED: &[&str] = &["apply", "--server-side", "--force-conflicts", "-f", "-"];

/// An installation whose objects are applied over and over.
struct Applied {
    kubectl: Kubectl,
    plane: &'static ControlPlane,
    namespace: String,
}

impl Applied {
    async fn new(how: &[&str]) -> Self {
        let plane = shared().await;
        let namespace = plane.namespace("applying").await.expect("a namespace");
        let this = Self { kubectl: plane.kubectl(), plane, namespace };
        this.apply(how, "").await.expect("applied");
        this
    }

    /// Applies the overlay with `changes`; otherwise what kubectl wrote to stderr.
    async fn apply(&self, how: &[&str], changes: &str) -> Result<(), String> {
        let objects = objects(self.plane, "namespaced", &self.namespace, changes).await;
        let tried = self.kubectl.run_with(how, &objects).await;
        tried.map(drop).map_err(|error| error.downcast::<Refused>().expect("kubectl's own end").stderr)
    }

    async fn set(&self, variable: &str) {
        let args = ["set", "env", "deployment/portolan", variable, "-n", &self.namespace];
        self.kubectl.run(&args).await.expect("set");
    }

    /// The value of an environment variable of the pods.
    async fn value(&self, name: &str) -> Option<String> {
        let args = ["get", "deployment", "portolan", "-o", "json", "-n", &self.namespace];
        let deployment: Value = serde_json::from_str(&self.kubectl.run(&args).await.expect("found")).expect("JSON");
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().expect("a list").clone();
        let entry = env.iter().find(|entry| entry["name"] == name)?;
        Some(entry["value"].as_str().unwrap_or_else(|| panic!("{entry} has no value")).to_owned())
    }
}

/// An overlay that sets an environment variable.
fn overlay(name: &str, value: &str) -> String {
    let entry = json!({ "name": name, "value": value });
    format!(
        "patches:
- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: portolan}}
    spec: {{template: {{spec: {{containers: [{{name: portolan, env: [{entry}]}}]}}}}}}
"
    )
}

/// The changes of the overlay in docs/kubernetes.md.
fn documented() -> String {
    let docs = std::fs::read_to_string(repository().join("docs/kubernetes.md")).expect("a document");
    let (_, overlay) = docs.split_once("kind: Kustomization\n").expect("an overlay");
    let (overlay, _) = overlay.split_once("```").expect("its end");
    overlay[overlay.find("patches:").expect("patches")..].to_owned()
}

const NEW: &str = "PORTOLAN_REST_NAMESPACES";
const DEFAULT: &str = "PORTOLAN_WATCH_NAMESPACES";

#[tokio::test]
async fn what_set_env_added_stays_and_blocks_no_apply() {
    for how in [CLIENT, SERVER] {
        let applied = Applied::new(how).await;
        applied.set("PORTOLAN_REST_NAMESPACES=portolan,shop").await;
        applied.apply(how, "").await.expect("the same again");
        let newer = "images:\n- {name: portolan, newName: registry.example.com/portolan, newTag: 9.9.9}\n";
        applied.apply(how, newer).await.expect("a newer one");
        assert_eq!(applied.value(NEW).await.as_deref(), Some("portolan,shop"), "{how:?}");
    }
}

#[tokio::test]
async fn what_set_env_changed_is_reverted_or_reported_as_a_conflict() {
    for (variable, changes) in [(DEFAULT, String::new()), (NEW, overlay(NEW, "a"))] {
        for how in [CLIENT, SERVER] {
            let applied = Applied::new(how).await;
            applied.apply(how, &changes).await.expect("the overlay");
            let wanted = applied.value(variable).await;
            applied.set(&format!("{variable}=other")).await;
            if how == SERVER {
                let said = applied.apply(how, &changes).await.expect_err("it is another's now");
                assert!(said.contains("conflict") && said.contains("\"kubectl-set\""), "{said}");
                applied.apply(FORCED, &changes).await.expect("forced");
            } else {
                applied.apply(how, &changes).await.expect("applied");
            }
            assert_eq!(applied.value(variable).await, wanted, "{variable} {how:?}");
        }
    }
}

#[tokio::test]
async fn an_overlay_sets_changes_and_unsets() {
    for how in [CLIENT, SERVER] {
        let applied = Applied::new(how).await;
        for value in ["portolan,shop", "portolan"] {
            applied.apply(how, &overlay(NEW, value)).await.expect("set");
            assert_eq!(applied.value(NEW).await.as_deref(), Some(value));
            applied.apply(how, &overlay(DEFAULT, value)).await.expect("set");
            assert_eq!(applied.value(DEFAULT).await.as_deref(), Some(value));
        }
        applied.apply(how, "").await.expect("unset");
        assert_eq!(applied.value(NEW).await, None, "{how:?}");
        assert_eq!(applied.value(DEFAULT).await.as_deref(), Some("$(POD_NAMESPACE)"), "{how:?}");
    }
}

#[tokio::test]
async fn the_documented_overlay_sets_what_it_says() {
    let applied = Applied::new(SERVER).await;
    applied.set("LOG_LEVEL=debug").await;
    applied.apply(FORCED, &documented()).await.expect("applied");
    assert_eq!(applied.value(NEW).await.as_deref(), Some("portolan,shop"));
    assert_eq!(applied.value("LOG_LEVEL").await.as_deref(), Some("info,portolan::access=off"));
    applied.apply(SERVER, &documented()).await.expect("its own now");
}

#[tokio::test]
async fn switching_between_client_and_server_side_apply_is_not_blocked() {
    for (first, then) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
        let applied = Applied::new(first).await;
        applied.apply(first, &overlay(NEW, "a")).await.expect("set");
        applied.apply(then, &overlay(NEW, "b")).await.expect("the other way");
        assert_eq!(applied.value(NEW).await.as_deref(), Some("b"), "{then:?}");
    }
}

/// The kind, name and resourceVersion of each object.
async fn versions(kubectl: &Kubectl, file: &str) -> String {
    let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    kubectl.run(&["get", "-f", file, "--no-headers", "-o", columns]).await.expect("found")
}

#[tokio::test]
async fn the_unchanged_file_changes_nothing() {
    let plane = ControlPlane::start().await.expect("a control plane");
    let kubectl = plane.kubectl();
    let file = repository().join("deploy/install.yaml");
    let file = file.to_str().expect("UTF-8");
    kubectl.run(&["apply", "-f", file]).await.expect("applied");
    let established = ["wait", "--for=condition=Established", "--timeout=30s", "crd/services.portolan.dev"];
    kubectl.run(&established).await.expect("established");

    let before = versions(&kubectl, file).await;
    let said = kubectl.run(&["apply", "-f", file]).await.expect("applied again");
    // For a budget, kubectl always sends the selector, since the API's types ask it to replace that.
    let budget = "poddisruptionbudget.policy/portolan configured";
    let changed: Vec<&str> = said.lines().filter(|line| !line.ends_with(" unchanged") && *line != budget).collect();
    assert!(changed.is_empty() && said.lines().count() > 10, "{said}");
    assert_eq!(versions(&kubectl, file).await, before, "nothing was written");
    kubectl.run(&["apply", "--server-side", "-f", file]).await.expect("applied by the server");
    let after = versions(&kubectl, file).await;
    assert_eq!(
        kubectl.run(&["apply", "--server-side", "-f", file]).await.expect("again").lines().count(),
        said.lines().count()
    );
    assert_eq!(versions(&kubectl, file).await, after);

    let samples = repository().join("deploy/samples");
    let apply = ["apply", "-f", samples.to_str().expect("UTF-8")];
    kubectl.run(&apply).await.expect("applied");
    let said = kubectl.run(&apply).await.expect("applied again");
    assert!(said.lines().count() > 5 && said.lines().all(|line| line.ends_with(" unchanged")), "{said}");
}
