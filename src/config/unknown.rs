//! Variables that look like settings but are not: most likely misspelt.

use std::collections::BTreeSet;

use super::settings::{CLIENT, SECRETS, SETTINGS};

/// The names among `variables` that start with `PORTOLAN_` and that nothing reads, for a warning at the start.
/// What Kubernetes sets for a core Service named `portolan…` is left out.
pub fn unknown_variables(variables: impl Iterator<Item = String>) -> Vec<String> {
    let known = |name: &str| SETTINGS.iter().chain(SECRETS).chain(CLIENT).any(|setting| setting.env == name);
    let ours: BTreeSet<String> = variables.filter(|name| name.starts_with("PORTOLAN_")).collect();
    ours.iter().filter(|name| !known(name) && !is_service_link(name, &ours)).cloned().collect()
}

/// `…_SERVICE_HOST`, `…_PORT_80_TCP_ADDR` and so on
/// ([reference](https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)).
fn is_service_link(name: &str, all: &BTreeSet<String>) -> bool {
    // `…_PORT` alone looks like a setting, but Kubernetes never sets it alone.
    let is_port_of_a_host =
        || name.strip_suffix("_PORT").is_some_and(|service| all.contains(&format!("{service}_SERVICE_HOST")));
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part)) || is_port_of_a_host()
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
            "PORTOLAN_SERVER_PORT",
            "PORTOLAN_METRICS_PORT",
            "PATH",
        ];
        let unknown = unknown_variables(names.iter().map(ToString::to_string));
        assert_eq!(unknown, ["PORTOLAN_METRICS_PORT", "PORTOLAN_RATE_LIMIT", "PORTOLAN_SERVER_PORT"]);
    }
}
