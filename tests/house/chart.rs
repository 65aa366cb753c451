//! The Helm chart in `deploy/chart`: what can be proved of it without Helm. `make check-chart` proves the rest.

use std::path::PathBuf;

use serde_json::Value;

use crate::generated::check_or_update;
use crate::root;

fn chart() -> PathBuf {
    root().join("deploy/chart/portolan")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(chart().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = yaml("Chart.yaml");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// Helm reads nothing outside of a chart, so it has copies: a file of the chart, and the file that it repeats. The copies are no links,
/// which archives and some systems lose.
const COPIES: [(&str, &str); 17] = [
    ("crds/namespace-policy.yaml", "crds/namespace-policy.yaml"),
    ("crds/service.yaml", "crds/service.yaml"),
    ("files/adopt-namespaced.yaml", "deploy/components/adopt-namespaced/rbac.yaml"),
    ("files/adopt.yaml", "deploy/components/adopt/rbac.yaml"),
    ("files/cluster.yaml", "deploy/install.yaml"),
    ("files/dashboard.json", "deploy/monitoring/dashboard.json"),
    ("files/dns-endpoints.yaml", "deploy/components/dns-endpoints/rbac.yaml"),
    ("files/external-workloads.yaml", "deploy/components/external-workloads/rbac.yaml"),
    ("files/namespaced.yaml", "deploy/overlays/namespaced/role.yaml"),
    ("files/node-networks.yaml", "deploy/components/node-networks/rbac.yaml"),
    ("files/policy.yaml", "deploy/components/policy/rbac.yaml"),
    ("files/publish-admission.yaml", "deploy/components/publish/admission.yaml"),
    ("files/publish-rbac.yaml", "deploy/components/publish/rbac.yaml"),
    ("files/rest-namespace.yaml", "deploy/rest-namespace.yaml"),
    ("files/rules.yaml", "deploy/monitoring/rules.yaml"),
    ("files/service-monitor.yaml", "deploy/monitoring/service-monitor.yaml"),
    ("files/workload-entries.yaml", "deploy/components/workload-entries/rbac.yaml"),
];

#[test]
fn the_charts_copies_are_the_manifests() {
    for (copy, original) in COPIES {
        let text = std::fs::read_to_string(root().join(original)).unwrap_or_else(|error| panic!("{original}: {error}"));
        check_or_update(&format!("deploy/chart/portolan/{copy}"), &text);
    }
}

/// The alert names the namespace of its install; the template puts in that of the release by replacing these texts.
#[test]
fn the_template_finds_the_namespace_in_the_alert_about_leaders() {
    let (template, rules) = (read("templates/monitoring.yaml"), read("files/rules.yaml"));
    let (_, alert) = rules.split_once("- alert: PortolanNoLeader\n").expect("the alert");
    let (expression, _) = alert.split_once("for: ").expect("the end of its expression");
    let replaced = template.split("replace `").skip(1).filter_map(|rest| rest.split('`').next());
    let replaced: Vec<_> = replaced.collect();
    assert_eq!(replaced, [r#"namespace="portolan""#, r#""namespace", "portolan""#]);
    for text in replaced {
        assert_eq!(expression.matches(text).count(), 1, "{text} in {expression}");
    }
}

#[test]
fn every_file_of_the_chart_that_is_data_is_such_a_copy() {
    for folder in ["crds", "files"] {
        for entry in std::fs::read_dir(chart().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            let path = format!("{folder}/{}", name.to_string_lossy());
            assert!(COPIES.iter().any(|(copy, _)| *copy == path), "{path} repeats no file of deploy/ or crds/");
        }
    }
}

/// The names of values that `schema` does not describe, or describes without there being such a value.
fn undescribed(values: &Value, schema: &Value, definitions: &Value) -> Vec<String> {
    let schema =
        schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map_or(schema, |name| &definitions[name]);
    let (Some(values), Some(described)) = (values.as_object(), schema["properties"].as_object()) else {
        return Vec::new();
    };
    let known = values.iter().flat_map(|(name, value)| match described.get(name) {
        None => vec![name.clone()],
        Some(schema) => undescribed(value, schema, definitions),
    });
    // Helm itself adds `global`; `resources` shows none of its parts.
    let unused = described.keys().filter(|name| !values.is_empty() && !values.contains_key(*name) && *name != "global");
    known.chain(unused.cloned()).collect()
}

#[test]
fn the_schema_describes_every_value() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    assert_eq!(undescribed(&yaml("values.yaml"), &schema, &schema["definitions"]), Vec::<String>::new());
}
