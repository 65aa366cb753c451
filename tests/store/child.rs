//! Tests that need another environment than the test runner's run again in a child process.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Set in the child: the folder to work in.
const FOLDER: &str = "PORTOLAN_TEST_FOLDER";

/// In the child, the folder prepared for it. Elsewhere the test `name` is run in a child and `None` is returned: `unshare` is
/// given `arguments`, and `script` prepares the folder `$1`. Where the system allows no such thing, this says so.
fn prepared(name: &str, arguments: &[&str], script: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("{{ {script}; }} || exit 77; exec \"$2\" --exact \"$3\" --nocapture");
    let run = Command::new("unshare")
        .args(arguments)
        .args(["sh", "-c", &script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this binary"))
        .arg(name)
        .env(FOLDER, folder.path())
        .output();
    let (code, text) = match run {
        Ok(run) => (run.status.code(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned()),
        Err(error) => (None, error.to_string()),
    };
    match code {
        Some(0) => assert!(text.contains("1 passed"), "{text}"),
        Some(101) => panic!("{name} failed in its child: {text}"),
        _ => writeln!(std::io::stderr(), "{name} proves nothing here: {text}").expect("prints"),
    }
    None
}

/// A file system of 1 MiB.
pub(crate) fn on_a_small_disk(name: &str) -> Option<PathBuf> {
    on_a_disk(name, 1)
}

/// A file system of so many MiB.
pub(crate) fn on_a_disk(name: &str, size: u32) -> Option<PathBuf> {
    let mount = format!("mount -t tmpfs -o size={size}m tmpfs \"$1\"");
    prepared(name, &["--user", "--map-root-user", "--mount"], &mount)
}

/// A process that permissions bind: in a user namespace that maps nobody even root's are checked.
pub(crate) fn bound_by_permissions(name: &str) -> Option<PathBuf> {
    prepared(name, &["--user"], "true")
}
