//! The control plane that the tests share, and Portolan's objects in it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use control_plane::{ControlPlane, Kubeconfig};
use tokio::sync::OnceCell;

/// Started at the first use; ends with this process.
pub(crate) async fn shared() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_init(async || ControlPlane::start().await.expect("a control plane")).await
}

pub(crate) fn repository() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// An overlay's objects in their own namespace.
pub(crate) struct Installed {
    pub(crate) namespace: String,
    /// A token of Portolan's ServiceAccount, with exactly the overlay's rights.
    pub(crate) account: Kubeconfig,
}

/// Applies the definitions of our kinds, and waits until they are served.
pub(crate) async fn define(plane: &ControlPlane) {
    for (file, kind) in [("service", "services"), ("namespace-policy", "namespacepolicies")] {
        let file = repository().join(format!("crds/{file}.yaml"));
        let apply = ["apply", "--server-side", "-f", file.to_str().expect("UTF-8")];
        plane.kubectl().run(&apply).await.expect("the definition is taken");
        plane.kubectl().until_established(&format!("{kind}.portolan.dev")).await.expect("established");
    }
}

/// Applies the definition and an overlay of `deploy/overlays`, this in a new namespace instead of `portolan`.
pub(crate) async fn install(plane: &ControlPlane, overlay: &str) -> Installed {
    install_with(plane, overlay, &[]).await
}

/// The same with some of `deploy/components`.
pub(crate) async fn install_with(plane: &ControlPlane, overlay: &str, components: &[&str]) -> Installed {
    define(plane).await;
    let namespace = plane.namespace("portolan").await.expect("a namespace");
    // The folder of `objects` is beside this one.
    let path = |name: &str| relative(&plane.folder().join("any"), &repository().join("deploy/components").join(name));
    let entries: Vec<String> = components.iter().map(|&name| format!("\n- {}", path(name))).collect();
    let changes = if entries.is_empty() { String::new() } else { format!("components:{}\n", entries.concat()) };
    let objects = objects(plane, overlay, &namespace, &changes).await;
    // It is there already, without the labels that the overlay gives it.
    plane.kubectl().run_with(&["apply", "--server-side", "-f", "-"], &objects).await.expect("the API server takes it");
    let account = plane.service_account(&namespace, "portolan").await.expect("a token");
    Installed { namespace, account }
}

/// What kustomize makes of an overlay of `deploy/overlays` in another namespace, with `changes`: further lines of a kustomization.
pub(crate) async fn objects(plane: &ControlPlane, overlay: &str, namespace: &str, changes: &str) -> String {
    let folder = tempfile::tempdir_in(plane.folder()).expect("a folder");
    let overlay = repository().join("deploy/overlays").join(overlay);
    let text = kustomization(folder.path(), &overlay, namespace) + changes;
    std::fs::write(folder.path().join("kustomization.yaml"), text).expect("written");
    let folder = folder.path().to_str().expect("UTF-8");
    plane.kubectl().run(&["kustomize", folder]).await.expect("kustomize builds it")
}

/// The overlay in another namespace, with its cluster-wide objects named after that and its admission policy in force there alone.
fn kustomization(folder: &Path, overlay: &Path, namespace: &str) -> String {
    let mut text = format!("namespace: {namespace}\nresources:\n- {}\n", relative(folder, overlay));
    text.push_str(
        "transformers:\n- |-\n  apiVersion: builtin\n  kind: PrefixSuffixTransformer\n  metadata: {name: apart}\n",
    );
    writeln!(text, "  suffix: -{namespace}\n  fieldSpecs:").expect("a string grows");
    for kind in ["ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        writeln!(text, "  - {{path: metadata/name, kind: {kind}}}").expect("a string grows");
    }
    text.push_str("- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: here}\n");
    text.push_str("  target: {kind: ValidatingAdmissionPolicyBinding}\n  patch: |-\n");
    let here = format!("{{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}");
    writeln!(text, "    - {{op: replace, path: /spec/matchResources/namespaceSelector, value: {here}}}")
        .expect("a string grows");
    text
}

/// kustomize takes no absolute paths.
pub(crate) fn relative(from: &Path, to: &Path) -> String {
    let up = "../".repeat(from.components().count() - 1);
    format!("{up}{}", to.strip_prefix("/").expect("an absolute path").display())
}
