//! Suggestions for unknown names.

use super::value_error::ValueError;

/// The error about `name`, which is none of `known`: it suggests the closest one, or lists all of them.
///
/// ```
/// use portolan::model::did_you_mean::unknown;
///
/// assert_eq!(unknown("baseUrl", &["name", "base_url"]).problem, "unknown; did you mean base_url?");
/// ```
pub fn unknown<S: AsRef<str>>(name: &str, known: &[S]) -> ValueError {
    let typed = fold(name);
    let near = known.iter().map(|k| (strsim::osa_distance(&typed, &fold(k.as_ref())), k.as_ref())).min();
    match near {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => {
            ValueError::new(format!("unknown; did you mean {near}?")).expecting(near)
        }
        Some(_) => {
            let all = known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            ValueError::new(format!("unknown; expected one of {all}")).expecting(format!("one of {all}"))
        }
        None => ValueError::new("unknown; nothing is expected here, leave it out"),
    }
}

/// Removes differences in spelling: `baseURL`, `base-url` and `base_url` become the same.
fn fold(name: &str) -> String {
    name.chars().take(64).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_name_suggest_it() {
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
            assert_eq!(unknown(typed, &known).problem, format!("unknown; did you mean {meant}?"));
        }
        assert!(unknown("ttl", &known).problem.starts_with("unknown; expected one of name, version"));
        assert_eq!(unknown::<&str>("x", &[]).problem, "unknown; nothing is expected here, leave it out");
    }
}
