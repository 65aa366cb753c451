//! Variables that look like settings but are not: most likely misspelt.

use super::settings::{CLIENT, SECRETS, SETTINGS};

/// The names among `variables` that start with `PORTOLAN_` and that nothing reads, for a warning at the start.
/// What Kubernetes sets for a core Service named `portolan…` is left out.
pub fn unknown_variables(variables: impl Iterator<Item = String>) -> Vec<String> {
    let known = |name: &str| SETTINGS.iter().chain(SECRETS).chain(CLIENT).any(|setting| setting.env == name);
    let mut names: Vec<String> =
        variables.filter(|name| name.starts_with("PORTOLAN_") && !known(name) && !is_service_link(name)).collect();
    names.sort();
    names
}

/// `…_SERVICE_HOST`, `…_PORT_80_TCP_ADDR` and so on
/// ([reference](https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)).
fn is_service_link(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part)) || name.ends_with("_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_named_and_others_are_left_alone() {
        let names = [
            "PORTOLAN_RATE_LIMIT",
            "PORTOLAN_BIND_ADDRESS",
            "PORTOLAN_TOKEN",
            "PORTOLAN_SERVICE_HOST",
            "PORTOLAN_API_PORT_80_TCP_ADDR",
            "PORTOLAN_PORT",
            "PATH",
        ];
        assert_eq!(unknown_variables(names.iter().map(ToString::to_string)), ["PORTOLAN_RATE_LIMIT"]);
    }
}
