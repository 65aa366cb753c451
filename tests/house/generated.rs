//! Text that the code generates and the repository keeps. `make generate` updates it; otherwise a difference fails.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::root;

fn updating() -> bool {
    std::env::var_os("PORTOLAN_GENERATE").is_some_and(|value| !value.is_empty())
}

/// Compares `file` with the generated text, or updates it.
pub(crate) fn check_or_update(file: &str, generated: &str) {
    let path: PathBuf = root().join(file);
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    if current == generated {
        return;
    }
    assert!(updating(), "{file} is not what the code generates; run `make generate` and commit the result");
    std::fs::write(&path, generated).expect("the file can be written");
}

/// `text` with `body` between the two markers of `name`.
pub(crate) fn between(text: &str, name: &str, body: &str) -> String {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("no marker {begin:?}")) + begin.len();
    let stop = start + text[start..].find(&end).unwrap_or_else(|| panic!("no marker {end:?}"));
    format!("{}\n{}\n{}", &text[..start], body.trim_end(), &text[stop..])
}

/// One test for all tables of the file, since each would write the whole of it.
#[test]
fn the_readme_shows_settings_keys_and_log_targets_as_the_code_has_them() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let readme = between(&readme, "keys", &portolan::console::keys::markdown_table());
    let readme = between(&readme, "targets", &portolan::telemetry::log::targets::markdown_table());
    let readme = between(&readme, "settings", &portolan::config::markdown_table());
    check_or_update("README.md", &readme);
}

#[test]
fn the_checked_in_description_of_the_api_is_the_served_one() {
    check_or_update("openapi.json", &portolan::api::openapi_json());
}

#[test]
fn the_checked_in_definitions_of_the_custom_resources_are_the_printed_ones() {
    check_or_update("crds/service.yaml", &portolan::operator::crd::yaml().expect("a definition"));
    let policy = portolan::operator::crd::policy_yaml().expect("a definition");
    check_or_update("crds/namespace-policy.yaml", &policy);
}

#[test]
fn the_commands_are_documented_as_their_help_says() {
    // Without a terminal and without COLUMNS, the text is wrapped alike everywhere.
    let printed = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .arg("cli-reference")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("the program runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    check_or_update("docs/cli.md", &String::from_utf8(printed.stdout).expect("UTF-8"));
}
