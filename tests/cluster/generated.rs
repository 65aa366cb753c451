//! `deploy/install.yaml` is what kustomize makes of the cluster overlay. `make generate` updates it.

use control_plane::Assets;

use crate::common::repository;

#[test]
fn generated_install_yaml_is_the_cluster_overlay() {
    let kubectl = Assets::find_or_build().expect("kubectl").kubectl();
    let overlay = repository().join("deploy/overlays/cluster");
    let built = std::process::Command::new(kubectl).arg("kustomize").arg(overlay).output().expect("kubectl runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let head = "# Made from deploy/overlays/cluster by `make generate`.\n";
    let wanted = format!("{head}{}", String::from_utf8(built.stdout).expect("UTF-8"));
    let file = repository().join("deploy/install.yaml");
    if std::fs::read_to_string(&file).is_ok_and(|found| found == wanted) {
        return;
    }
    let updating = std::env::var_os("PORTOLAN_GENERATE").is_some_and(|value| !value.is_empty());
    assert!(updating, "deploy/install.yaml is not what deploy/ makes; run `make generate` and commit the result");
    std::fs::write(&file, wanted).expect("the file can be written");
}
