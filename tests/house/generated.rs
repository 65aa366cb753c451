//! Text that the code generates and the repository keeps. `make generate` writes it anew; without that, a difference fails.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::root;

fn updating() -> bool {
    std::env::var_os("PORTOLAN_GENERATE").is_some_and(|value| !value.is_empty())
}

/// Holds `file` to `wanted`, or makes it so.
fn hold(file: &str, wanted: &str) {
    let path: PathBuf = root().join(file);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found == wanted {
        return;
    }
    assert!(updating(), "{file} is not what the code generates; run `make generate` and commit the result");
    std::fs::write(&path, wanted).expect("the file can be written");
}

/// `text` with what stands between the two markers of `name` replaced.
fn between(text: &str, name: &str, body: &str) -> String {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("no marker {begin:?}")) + begin.len();
    let stop = start + text[start..].find(&end).unwrap_or_else(|| panic!("no marker {end:?}"));
    format!("{}\n{}\n{}", &text[..start], body.trim_end(), &text[stop..])
}

#[test]
fn the_readme_shows_the_settings_as_the_code_has_them() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    hold("README.md", &between(&readme, "settings", &portolan::config::markdown_table()));
}

#[test]
fn the_readme_shows_the_keys_as_the_console_has_them() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    hold("README.md", &between(&readme, "keys", &portolan::console::keys::markdown_table()));
}

#[test]
fn the_checked_in_description_of_the_api_is_the_served_one() {
    hold("openapi.json", &portolan::api::openapi_json());
}

#[test]
fn the_checked_in_definition_of_the_custom_resource_is_the_printed_one() {
    hold("crds/service.yaml", &portolan::operator::crd::yaml().expect("a definition"));
}

#[test]
fn the_commands_are_documented_as_their_help_says() {
    // No terminal and no COLUMNS: the text is wrapped alike everywhere.
    let printed = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .arg("cli-reference")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("the program runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    hold("docs/cli.md", &String::from_utf8(printed.stdout).expect("UTF-8"));
}
