//! The targets of log lines are the promised ones.

use portolan::telemetry::log::targets::TARGETS;

use crate::imports::rust_files;
use crate::root;

const MACROS: &[&str] = &["error!(", "warn!(", "info!(", "debug!(", "trace!(", "event!("];

#[test]
fn only_modules_with_a_promised_target_log_events() {
    let src = root().join("src");
    let mut logging = 0;
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let code = std::fs::read_to_string(&file).expect("a readable file");
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        if !MACROS.iter().any(|name| code.contains(&format!("tracing::{name}"))) {
            continue;
        }
        logging += 1;
        let path = file.strip_prefix(&src).expect("below src");
        let module = path.iter().next().expect("a module").to_string_lossy();
        let target = format!("portolan::{}", module.trim_end_matches(".rs"));
        let has_own_target = ["ACCESS", "AUDIT"].iter().any(|own| code.contains(&format!("target: {own}_TARGET")));
        // Tests of the log itself log whatever they like.
        let is_test = path.ends_with("tests.rs");
        if !has_own_target && !is_test && !TARGETS.iter().any(|(promised, _)| *promised == target) {
            wrong.push(format!("{}: add {target} to src/telemetry/log/targets.rs", path.display()));
        }
    }
    assert!(logging > 20, "the events were not found: {logging}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
