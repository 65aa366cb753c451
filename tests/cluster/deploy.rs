//! What `deploy/` holds is taken by a real API server, and gives Portolan what it needs and nothing else.

use std::path::Path;

use control_plane::{Assets, ControlPlane, Kubectl, Options, Refused};
use serde_json::{Value, json};

use crate::common::{Installed, install, install_with, objects, relative, repository, shared};
use crate::sync::replica::until;

const SERVICES: &str = "services.portolan.dev";
const SLICES: &str = "endpointslices.discovery.k8s.io";

async fn get(kubectl: &Kubectl, args: &[&str]) -> Value {
    let text = kubectl.run(&[&["get", "-o", "json"], args].concat()).await.expect("found");
    serde_json::from_str(&text).expect("JSON")
}

async fn deployment(plane: &ControlPlane, namespace: &str) -> Value {
    get(&plane.kubectl(), &["deployment", "portolan", "-n", namespace]).await
}

/// Whether admission would take a pod with this `spec`; nothing is created.
async fn admitted(plane: &ControlPlane, namespace: &str, spec: &Value) -> Result<(), String> {
    let pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": namespace }, "spec": spec });
    let tried = plane.kubectl().run_with(&["create", "--dry-run=server", "-f", "-"], &pod.to_string()).await;
    tried.map(drop).map_err(|error| error.downcast::<Refused>().expect("kubectl's own end").stderr)
}

/// Everything in `questions` that does not answer as `expected`.
async fn differing(kubectl: &Kubectl, expected: bool, questions: &[(&str, &str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (verb, resource, namespace) in questions {
        let place = if namespace.is_empty() { vec!["--all-namespaces"] } else { vec!["-n", namespace] };
        // `TYPE/NAME` names an object; kubectl asks for a subresource apart.
        let mut question = [&[*verb, resource.trim_end_matches("/status")], place.as_slice()].concat();
        if resource.ends_with("/status") {
            question.push("--subresource=status");
        }
        if kubectl.can_i(&question).await.expect("an answer") != expected {
            wrong.push(question.join(" "));
        }
    }
    wrong
}

#[tokio::test]
async fn pods_of_every_overlay_are_restricted_ones() {
    let plane = shared().await;
    for overlay in ["cluster", "namespaced", "standalone"] {
        let Installed { namespace, .. } = install(plane, overlay).await;
        if overlay == "namespaced" {
            // It leaves the namespace to its creator.
            let label = ["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"];
            plane.kubectl().run(&label).await.expect("labelled");
        }
        let spec = &deployment(plane, &namespace).await["spec"]["template"]["spec"];
        admitted(plane, &namespace, spec).await.expect(overlay);

        let mut loose = spec.clone();
        loose["containers"][0]["securityContext"] = json!({ "allowPrivilegeEscalation": true });
        let refused = admitted(plane, &namespace, &loose).await.expect_err("the namespace takes restricted pods alone");
        assert!(refused.contains("violates PodSecurity \"restricted:latest\""), "{refused}");
    }
}

/// In a cluster whose pods have IPv6 addresses, the kubelet probes those.
#[tokio::test]
async fn pods_of_every_overlay_listen_on_the_addresses_of_both_families() {
    let plane = shared().await;
    for overlay in ["cluster", "namespaced", "standalone"] {
        let Installed { namespace, .. } = install(plane, overlay).await;
        let container = &deployment(plane, &namespace).await["spec"]["template"]["spec"]["containers"][0];
        let env = container["env"].as_array().expect("a list").iter();
        let addresses: Vec<_> = env.filter(|entry| entry["name"] == "PORTOLAN_BIND_ADDRESS").collect();
        assert_eq!(addresses, [&json!({ "name": "PORTOLAN_BIND_ADDRESS", "value": "::" })], "{overlay}");
    }
}

#[tokio::test]
async fn the_component_tls_mounts_a_certificate_and_has_the_kubelet_probe_over_https() {
    let plane = shared().await;
    let Installed { namespace, .. } = install_with(plane, "cluster", &["tls"]).await;
    let spec = &deployment(plane, &namespace).await["spec"]["template"]["spec"];
    admitted(plane, &namespace, spec).await.expect("a restricted pod");
    let container = &spec["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS", "{probe}");
    }
    let env = container["env"].as_array().expect("a list").iter();
    let named = env.filter(|entry| entry["name"].as_str().is_some_and(|name| name.starts_with("PORTOLAN_TLS_")));
    let files: Vec<_> = named.filter_map(|entry| entry["value"].as_str()?.strip_prefix("/etc/portolan/tls/")).collect();
    assert_eq!(files, ["tls.crt", "tls.key", "ca.crt"]);
    let volumes = spec["volumes"].as_array().expect("a list");
    let secret = volumes.iter().find(|volume| volume["name"] == "tls").map(|volume| &volume["secret"]["secretName"]);
    assert_eq!(secret, Some(&json!("portolan-tls")));
    let service = get(&plane.kubectl(), &["service", "portolan", "-n", &namespace]).await;
    assert_eq!(
        (&service["spec"]["ports"][0]["port"], &service["spec"]["ports"][0]["name"]),
        (&json!(443), &json!("https"))
    );
}

#[tokio::test]
async fn the_operator_may_what_it_needs_and_nothing_else() {
    let plane = shared().await;
    let Installed { namespace: own, account } = install(plane, "cluster").await;
    let other = plane.namespace("shop").await.expect("a namespace");
    let (own, other, kubectl) = (own.as_str(), other.as_str(), plane.kubectl_as(&account));
    let needed = [
        ("list", SERVICES, ""),
        ("watch", SERVICES, ""),
        ("patch", "services.portolan.dev/status", other),
        ("create", "events.events.k8s.io", other),
        ("get", "customresourcedefinitions/services.portolan.dev", ""),
        ("create", "leases", own),
        ("update", "leases/portolan", own),
        ("get", "leases/portolan", other),
        ("list", SLICES, own),
        ("watch", SLICES, own),
        ("create", SERVICES, own),
        ("update", SERVICES, own),
        ("delete", SERVICES, own),
        ("create", "tokenreviews.authentication.k8s.io", ""),
        ("create", "subjectaccessreviews.authorization.k8s.io", ""),
        ("get", "/openid/v1/jwks", ""),
        ("get", "/.well-known/openid-configuration", ""),
    ];
    assert_eq!(differing(&kubectl, true, &needed).await, Vec::<String>::new(), "refused");
    let refused = [
        ("create", SERVICES, other),
        ("update", SERVICES, other),
        ("patch", SERVICES, own),
        ("delete", SERVICES, other),
        ("deletecollection", SERVICES, own),
        ("update", "services.portolan.dev/status", other),
        ("patch", "events.events.k8s.io", own),
        ("get", "secrets", own),
        ("list", "secrets", ""),
        ("get", "configmaps", own),
        ("list", "pods", ""),
        ("list", "services", ""),
        ("list", SLICES, other),
        ("create", SLICES, own),
        ("update", "leases/other", own),
        ("update", "leases/portolan", other),
        ("get", "leases/other", other),
        ("list", "leases", other),
        ("create", "leases", other),
        ("get", "customresourcedefinitions", ""),
        ("update", "customresourcedefinitions/services.portolan.dev", ""),
        ("create", "serviceaccounts/token", own),
        ("get", "serviceaccounts", own),
        ("list", "tokenreviews.authentication.k8s.io", ""),
        ("create", "localsubjectaccessreviews.authorization.k8s.io", other),
        ("get", "/metrics", ""),
        ("impersonate", "users", ""),
        ("escalate", "clusterroles", ""),
    ];
    assert_eq!(differing(&kubectl, false, &refused).await, Vec::<String>::new(), "allowed");
}

#[tokio::test]
async fn with_a_role_alone_nothing_outside_the_namespace_is_seen() {
    let plane = shared().await;
    let Installed { namespace: own, account } = install(plane, "namespaced").await;
    let other = plane.namespace("shop").await.expect("a namespace");
    let (own, other, kubectl) = (own.as_str(), other.as_str(), plane.kubectl_as(&account));
    let needed = [
        ("list", SERVICES, own),
        ("watch", SERVICES, own),
        ("patch", "services.portolan.dev/status", own),
        ("create", "events.events.k8s.io", own),
        ("update", "leases/portolan", own),
        ("watch", SLICES, own),
        ("create", SERVICES, own),
    ];
    assert_eq!(differing(&kubectl, true, &needed).await, Vec::<String>::new(), "refused");
    let refused = [
        ("list", SERVICES, ""),
        ("list", SERVICES, other),
        ("create", "events.events.k8s.io", other),
        ("patch", "events.events.k8s.io", own),
        ("get", "leases/portolan", other),
    ];
    assert_eq!(differing(&kubectl, false, &refused).await, Vec::<String>::new(), "allowed");
    let env = &deployment(plane, own).await["spec"]["template"]["spec"]["containers"][0]["env"];
    let watched = env.as_array().expect("a list").iter().any(|entry| entry["name"] == "PORTOLAN_WATCH_NAMESPACES");
    assert!(watched, "{env}");
}

#[tokio::test]
async fn the_port_of_the_metrics_is_open_to_labelled_namespaces_alone() {
    let plane = shared().await;
    let Installed { namespace, .. } = install_with(plane, "cluster", &["metrics-port"]).await;
    let kubectl = plane.kubectl();
    let container = &deployment(plane, &namespace).await["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array().expect("a list");
    let address = env.iter().find(|entry| entry["name"] == "PORTOLAN_METRICS_ADDRESS").expect("set")["value"].clone();
    assert_eq!(container["ports"][1]["name"], "metrics");
    assert_eq!(address, format!("[::]:{}", container["ports"][1]["containerPort"]));
    let service = get(&kubectl, &["service", "portolan", "-n", &namespace]).await;
    assert_eq!(service["spec"]["ports"][1]["targetPort"], "metrics");
    let policy = get(&kubectl, &["networkpolicy", "portolan", "-n", &namespace]).await;
    let rule = &policy["spec"]["ingress"][1];
    let labels = &rule["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!((&rule["ports"][0]["port"], labels), (&json!("metrics"), &json!({"portolan.dev/scrapes": "allowed"})));
}

/// Who may do what with `resource` in `namespace`, by verb.
async fn may(kubectl: &Kubectl, user: &str, resource: &str, namespace: &str) -> Vec<&'static str> {
    let who = format!("--as={user}");
    let mut allowed = Vec::new();
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] {
        if kubectl.can_i(&[verb, resource, "-n", namespace, &who]).await.expect("an answer") {
            allowed.push(verb);
        }
    }
    allowed
}

#[tokio::test]
async fn reading_comes_with_view_and_a_namespaces_administrator_installs_the_rest() {
    let mut plane = ControlPlane::start_with(Options::default().without_audit()).await.expect("a control plane");
    plane.run_controllers(&["clusterrole-aggregation-controller"]).await.expect("controllers");
    let kubectl = plane.kubectl();
    let crds = repository().join("crds");
    kubectl.run(&["apply", "--server-side", "-k", crds.to_str().expect("UTF-8")]).await.expect("applied");
    kubectl.until_established("services.portolan.dev").await.expect("established");
    kubectl.run(&["create", "namespace", "shop"]).await.expect("created");
    let bind = async |role: &str, user: &str| {
        let args = [format!("--clusterrole={role}"), format!("--user={user}")];
        let name = format!("{role}-{user}");
        kubectl.run(&["create", "rolebinding", &name, "-n", "shop", &args[0], &args[1]]).await.expect("bound");
    };
    for role in ["view", "edit", "admin", "portolan-writer"] {
        bind(role, role).await;
    }
    let reads = ["get", "list", "watch"];
    for role in ["view", "edit", "admin"] {
        until("the roles are aggregated", async || !may(&kubectl, role, SERVICES, "shop").await.is_empty()).await;
        assert_eq!(may(&kubectl, role, SERVICES, "shop").await, reads, "{role}");
    }
    let writes = ["get", "list", "watch", "create", "update", "patch", "delete"];
    assert_eq!(may(&kubectl, "portolan-writer", SERVICES, "shop").await, writes);
    assert_eq!(may(&kubectl, "portolan-writer", SERVICES, "default").await, [""; 0]);
    let status = ["patch", SERVICES, "--subresource=status", "-n", "shop", "--as=portolan-writer"];
    assert!(!kubectl.can_i(&status).await.expect("an answer"), "what is proved is Portolan's to say");

    let folder = plane.folder().join("shop");
    std::fs::create_dir(&folder).expect("a folder");
    let overlay = relative(&folder, &repository().join("deploy/overlays/namespaced"));
    let text = format!("namespace: shop\nresources:\n- {overlay}\n");
    std::fs::write(folder.join("kustomization.yaml"), text).expect("written");
    let apply = ["apply", "--server-side", "-k", folder.to_str().expect("UTF-8"), "--as=admin"];
    let refused = kubectl.run(&apply).await.expect_err("nobody gives out rights that they lack").to_string();
    assert!(refused.contains("attempting to grant RBAC permissions not currently held"), "{refused}");
    bind("portolan-installer", "admin").await;
    kubectl.run(&apply).await.expect("installed");
}

/// What kustomize builds from a folder.
fn kustomize(folder: &Path) -> String {
    let kubectl = Assets::find_or_build().expect("kubectl").kubectl();
    let built = std::process::Command::new(kubectl).arg("kustomize").arg(folder).output().expect("kubectl runs");
    String::from_utf8(built.stdout).expect("UTF-8")
}

#[test]
fn monitoring_and_its_alert_about_leaders_follow_the_namespace_in_the_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["labels", "monitoring"] {
        std::fs::create_dir(folder.path().join(part)).expect("a folder");
        for file in std::fs::read_dir(repository().join("deploy").join(part)).expect("a folder") {
            let file = file.expect("an entry");
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).expect("copied");
        }
    }
    let settings = folder.path().join("monitoring/settings.yaml");
    let text = std::fs::read_to_string(&settings).expect("the settings");
    let (own, other) = ("\n  namespace: portolan\n", "\n  namespace: registry\n");
    assert!(text.contains(own), "{text}");
    std::fs::write(&settings, text.replace(own, other)).expect("written");
    let built = kustomize(&folder.path().join("monitoring"));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&built).expect("objects");
    let namespaces: Vec<_> = objects.iter().map(|object| object["metadata"]["namespace"].as_str()).collect();
    assert_eq!(namespaces, [Some("registry"); 3]);
    let rules = objects.iter().find(|object| object["kind"] == "PrometheusRule").expect("the alerts");
    let rules = rules["spec"]["groups"][0]["rules"].as_array().expect("a list");
    let alert = rules.iter().find(|rule| rule["alert"] == "PortolanNoLeader").expect("the alert");
    let expression = alert["expr"].as_str().expect("an expression");
    let scoped =
        r#"label_replace(absent(up{job=~".*portolan.*", namespace="registry"} == 1), "namespace", "registry", "", "")"#;
    assert!(expression.contains(scoped) && expression.contains(r#"{name="portolan"}"#), "{expression}");
}

#[test]
fn the_policy_follows_the_service_account_into_any_namespace_and_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let overlay = relative(folder.path(), &repository().join("deploy/overlays/cluster"));
    let text = format!("namespace: registry\nnamePrefix: eu-\nnameSuffix: -b\nresources:\n- {overlay}\n");
    std::fs::write(folder.path().join("kustomization.yaml"), text).expect("written");
    let built = kustomize(folder.path());
    let of = |kind: &str| {
        let line = format!("\nkind: {kind}\n");
        built.split("---\n").find(|object| object.contains(&line)).expect("there")
    };
    let service = of("Service");
    assert!(service.contains("  name: eu-portolan-b\n"), "{service}");
    assert!(service.contains("    app.kubernetes.io/name: portolan\n"), "how replicas find each other: {service}");
    let (account, binding) = (of("ServiceAccount"), of("ValidatingAdmissionPolicyBinding"));
    assert!(account.contains("  name: eu-portolan-b\n  namespace: registry\n"), "{account}");
    assert!(binding.contains("  paramRef:\n    name: eu-portolan-b\n    namespace: registry\n"), "{binding}");
    assert!(binding.contains("  policyName: eu-portolan-rest-b\n"), "{binding}");
    assert!(of("ValidatingAdmissionPolicy").contains("  name: eu-portolan-rest-b\n"), "{built}");
}

#[tokio::test]
async fn one_file_opens_a_namespace_to_registrations() {
    let plane = shared().await;
    let shop = plane.namespace("shop").await.expect("a namespace");
    let file = std::fs::read_to_string(repository().join("deploy/rest-namespace.yaml")).expect("a file");
    let Installed { namespace: own, account } = install(plane, "cluster").await;
    // Its subject is the ServiceAccount of the namespace that Portolan is usually in.
    let file = file.replace("namespace: portolan", &format!("namespace: {own}"));
    plane.kubectl().run_with(&["apply", "-n", &shop, "-f", "-"], &file).await.expect("applied");
    let kubectl = plane.kubectl_as(&account);
    for verb in ["create", "update", "delete"] {
        assert!(kubectl.can_i(&[verb, SERVICES, "-n", &shop]).await.expect("an answer"), "{verb}");
    }
}

#[tokio::test]
async fn standalone_needs_no_kubernetes_api_and_keeps_its_file_on_a_volume() {
    let plane = shared().await;
    let Installed { namespace, account } = install(plane, "standalone").await;
    assert!(!plane.kubectl_as(&account).can_i(&["list", SERVICES, "-n", &namespace]).await.expect("an answer"));
    let spec = &deployment(plane, &namespace).await["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    assert_eq!(spec["template"]["spec"]["automountServiceAccountToken"], false);
    assert_eq!(spec["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "portolan");
    let budgets = get(&plane.kubectl(), &["poddisruptionbudgets", "-n", &namespace]).await;
    assert_eq!(budgets["items"], json!([]));
}

#[tokio::test]
async fn everything_has_the_recommended_labels_and_names_this_version() {
    let plane = shared().await;
    let version = env!("CARGO_PKG_VERSION");
    for overlay in ["cluster", "namespaced", "standalone"] {
        let text = objects(plane, overlay, "portolan", "").await;
        let all: Vec<Value> = serde_saphyr::from_multiple(&text).expect("objects");
        assert!(all.len() > 5, "{text}");
        for object in &all {
            let labels = &object["metadata"]["labels"];
            let wanted = ["name", "instance", "version", "component", "part-of", "managed-by"];
            let lacking: Vec<_> =
                wanted.iter().filter(|word| !labels[format!("app.kubernetes.io/{word}")].is_string()).collect();
            assert!(lacking.is_empty(), "{overlay}: {} {} lacks {lacking:?}", object["kind"], object["metadata"]);
            assert_eq!(labels["app.kubernetes.io/version"], version);
        }
        let deployment = all.iter().find(|object| object["kind"] == "Deployment").expect("a Deployment");
        let pod = &deployment["spec"]["template"];
        assert_eq!(pod["spec"]["containers"][0]["image"], format!("portolan:{version}"));
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/version"], version);
        // It cannot be changed later, as the version will be.
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({ "app.kubernetes.io/name": "portolan" }));
    }
}

#[tokio::test]
async fn every_sample_is_a_valid_service() {
    let plane = shared().await;
    install(plane, "cluster").await;
    let namespace = plane.namespace("samples").await.expect("a namespace");
    let folder = repository().join("deploy/samples");
    let args = ["apply", "--dry-run=server", "-n", &namespace, "-f", folder.to_str().expect("UTF-8")];
    let said = plane.kubectl().run(&args).await.expect("the API server takes them");
    let files = std::fs::read_dir(&folder).expect("samples").count();
    assert_eq!(said.lines().count(), files, "{said}");
}
