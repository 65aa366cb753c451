//! What somebody probably meant by a name that is not known.

/// What to write instead of `name`: the closest of `known`, or all of them.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let typed = fold(name);
    let near = known.iter().map(|k| (strsim::osa_distance(&typed, &fold(k)), k)).min();
    match near {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => format!("unknown; did you mean {near}?"),
        Some(_) => format!("unknown; expected one of {}", known.join(", ")),
        None => "unknown; none is expected here".to_owned(),
    }
}

/// A name without what only its spelling decides: `baseURL` and `base-url` are `base_url`.
fn fold(name: &str) -> String {
    name.chars().take(64).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_name_lead_to_it() {
        let known = ["name", "version", "base_url", "health_url", "instance"];
        for (typed, meant) in [
            ("Name", "name"),
            ("baseUrl", "base_url"),
            ("baseURL", "base_url"),
            ("healthUrl", "health_url"),
            ("health-url", "health_url"),
            ("verison", "version"),
            ("instances", "instance"),
        ] {
            assert_eq!(unknown(typed, &known), format!("unknown; did you mean {meant}?"));
        }
        assert!(unknown("ttl", &known).starts_with("unknown; expected one of name, version"));
        assert_eq!(unknown("x", &[]), "unknown; none is expected here");
    }
}
