//! `examples/compose`: what can be proved of a Dockerfile and a Compose file without Docker. `tests/cli` runs the entry point.

use std::path::Path;

use serde_json::Value;

use crate::root;

const FOLDER: &str = "examples/compose";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Value {
    serde_saphyr::from_str(&read(&root().join(FOLDER).join("compose.yaml"))).expect("YAML")
}

fn image() -> String {
    format!("portolan:{}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn the_images_are_those_that_make_image_builds() {
    let dockerfile = read(&root().join(FOLDER).join("Dockerfile"));
    assert!(dockerfile.contains(&format!("FROM {} AS portolan\n", image())), "{dockerfile}");
    let built = read(&root().join("deploy/Dockerfile"));
    let program = "/usr/local/bin/portolan";
    assert!(built.contains(&format!("ENTRYPOINT [\"{program}\"]")), "{built}");
    assert!(dockerfile.contains(&format!("COPY --from=portolan {program} {program}\n")), "{dockerfile}");
    assert_eq!(compose()["services"]["portolan"]["image"], image());
}

#[test]
fn every_file_that_is_copied_is_in_the_folder_that_is_sent() {
    for (name, service) in compose()["services"].as_object().expect("services") {
        let build = &service["build"];
        if build.is_null() {
            continue;
        }
        let context = root().join(FOLDER).join(build["context"].as_str().expect("a folder"));
        let dockerfile = read(&context.join(build["dockerfile"].as_str().expect("a file")));
        let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
        let copied = copied.filter(|rest| !rest.starts_with("--from=")).filter_map(|rest| rest.split(' ').next());
        let copied: Vec<&str> = copied.collect();
        assert!(!copied.is_empty(), "{name} copies nothing");
        for file in copied {
            assert!(context.join(file).is_file(), "{name}: {file}");
        }
    }
}

#[test]
fn a_registry_without_tokens_is_published_on_loopback_only() {
    let compose = compose();
    let registry = &compose["services"]["portolan"];
    assert_eq!(registry["environment"]["ENABLE_AUTH"], "false");
    let ports: Vec<&str> = registry["ports"].as_array().expect("ports").iter().filter_map(Value::as_str).collect();
    assert!(!ports.is_empty() && ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{ports:?}");
    let volume = registry["volumes"][0].as_str().and_then(|volume| volume.split_once(':')).expect("a volume");
    assert!(compose["volumes"].as_object().is_some_and(|volumes| volumes.contains_key(volume.0)), "{volume:?}");
    let folder = read(&root().join("deploy/Dockerfile"));
    assert!(folder.contains(&format!("WORKDIR {}\n", volume.1)), "the server's file is in the volume");
}
