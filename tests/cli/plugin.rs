//! The program as kubectl's plugin.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::common::{Server, ended, portolan, stderr, stdout};
use crate::programs::wait_for;

const KUBECONFIG: &str = "{apiVersion: v1, kind: Config, current-context: here, users: [{name: a, user: {}}],
    contexts: [{name: here, context: {cluster: a, user: a}}], clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}]}";

/// A folder with what kubectl looks for: the plugin, and the program that completes its words.
struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        symlink(env!("CARGO_BIN_EXE_portolan"), file("kubectl-portolan")).expect("a link");
        let script = portolan().args(["completions", "kubectl"]).output().expect("it runs");
        std::fs::write(file("kubectl_complete-portolan"), script.stdout).expect("written");
        let executable = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(file("kubectl_complete-portolan"), executable).expect("executable");
        std::fs::write(file("kubeconfig"), KUBECONFIG).expect("written");
        Self { folder }
    }

    /// The output of a program of the folder, whose kubeconfig has the current context `here`.
    fn run(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> std::process::Output {
        let folder = self.folder.path();
        let path = std::env::join_paths([folder, Path::new("/usr/bin"), Path::new("/bin")]).expect("paths");
        let mut command = Command::new(folder.join(program));
        command.args(args).env_clear().env("PATH", path).env("KUBECONFIG", folder.join("kubeconfig"));
        command.envs(env.iter().copied()).output().expect("it runs")
    }

    fn call(&self, args: &[&str]) -> std::process::Output {
        self.run("kubectl-portolan", args, &[])
    }
}

#[test]
fn help_shows_what_to_type() {
    let plugin = Plugin::new();
    let help = stdout(&plugin.call(&["--help"]));
    assert!(help.contains("Usage: kubectl portolan <COMMAND>") && help.contains("`kubectl portolan demo`"), "{help}");
    let help = stdout(&plugin.call(&["list", "--help"]));
    assert!(help.contains("Usage: kubectl portolan list") && help.contains("\n  kubectl portolan list"), "{help}");
    assert!(help.contains("[default: here]"), "{help}");
    let plain = stdout(&portolan().args(["list", "--help"]).output().expect("it runs"));
    assert!(!plain.contains("kubectl portolan") && !plain.contains("[default: here]"), "{plain}");
}

#[test]
fn the_current_context_is_asked_unless_something_else_is_named() {
    let plugin = Plugin::new();
    let registration = plugin.folder.path().join("registration.json");
    std::fs::write(&registration, r#"{"name":"a","base_url":"http://127.0.0.1:9"}"#).expect("written");
    for args in [&["list"][..], &["register", "-f", registration.to_str().expect("UTF-8")]] {
        let (code, said) = ended(&plugin.call(args));
        assert!(code == 3 && said.contains("here") && !said.contains("127.0.0.1:8080"), "{args:?}: {said}");
    }

    let server = Server::start(&[]);
    let db = server.folder.path().join("services.db");
    let file = plugin.call(&["console", "--once", "--size", "100x30", "--file", db.to_str().expect("UTF-8")]);
    assert_eq!(ended(&file).0, 0, "{}", stderr(&file));
    let flag = plugin.call(&["list", "--server", &server.url]);
    assert_eq!(ended(&flag).0, 0, "{}", stderr(&flag));
    let variable = plugin.run("kubectl-portolan", &["list"], &[("PORTOLAN_SERVER", &server.url)]);
    assert_eq!(ended(&variable).0, 0, "{}", stderr(&variable));
    let absent = plugin.call(&["get", "absent", "--server", &server.url]);
    let hint = "\n  kubectl portolan list -A shows what there is";
    assert!(ended(&absent).0 == 4 && stderr(&absent).contains(hint), "{}", stderr(&absent));
}

#[test]
fn kubectl_completes_commands_and_names() {
    let plugin = Plugin::new();
    let server = Server::start(&[]);
    let output = server.cli(&["register", "--name", "user-service", "--base-url", "http://127.0.0.1:9"]);
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
    let complete = |words: &[&str]| {
        let output = plugin.run("kubectl_complete-portolan", words, &[("PORTOLAN_SERVER", &server.url)]);
        assert_eq!(stderr(&output), "", "nothing disturbs the prompt");
        stdout(&output)
    };
    assert_eq!(complete(&["undr"]), "undrain\tBring drained instances back into selection\n:4\n");
    // Completion gives up after a second, which a busy machine may need for more than one attempt.
    wait_for("the name", || (complete(&["get", "us"]) == "user-service\tunknown\n:4\n").then_some(()));
}
