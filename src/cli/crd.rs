//! `portolan crd`: the definitions of the custom resources.

use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::operator;

/// Prints the definitions as YAML.
pub(super) fn run(streams: &mut Streams) -> Result<Exit, Failure> {
    for (position, yaml) in [operator::crd::yaml(), operator::crd::policy_yaml()].into_iter().enumerate() {
        let yaml = yaml.map_err(|error| Failure::new(Exit::Unmet, error.to_string()))?;
        streams.text(if position == 0 { "" } else { "---\n" })?;
        streams.text(&yaml)?;
    }
    Ok(Exit::Ok)
}
