//! The Helm chart in `deploy/chart`: what can be proved of it without Helm. `make check-chart` proves the rest.

use std::path::PathBuf;

use serde_json::Value;

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

#[test]
fn every_object_is_written_once() {
    for folder in ["crds", "files"] {
        for entry in std::fs::read_dir(chart().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            assert!(
                path.is_symlink() && path.is_file(),
                "{} does not lead to a file of deploy/ or crds/",
                path.display()
            );
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
