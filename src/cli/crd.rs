//! `portolan crd`: the definition of the custom resource.

use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::operator;

/// Prints the definition as YAML.
pub(super) fn run(streams: &mut Streams) -> Result<Exit, Failure> {
    let yaml = operator::crd::yaml().map_err(|error| Failure::new(Exit::Unmet, error.to_string()))?;
    streams.text(&yaml)?;
    Ok(Exit::Ok)
}
