//! What somebody probably meant by a name that is not known.

use super::value_error::ValueError;

/// What is wrong with `name`, which none of `known` is: the closest of them is suggested, or all are listed.
pub fn unknown<S: AsRef<str>>(name: &str, known: &[S]) -> ValueError {
    let typed = fold(name);
    let near = known.iter().map(|k| (strsim::osa_distance(&typed, &fold(k.as_ref())), k.as_ref())).min();
    match near {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => {
            ValueError::new(format!("unknown; did you mean {near}?")).expecting(near)
        }
        Some(_) => {
            let all = known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            ValueError::new(format!("unknown; known are {all}")).expecting(format!("one of {all}"))
        }
        None => ValueError::new("unknown; nothing is read here, leave it out"),
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
            assert_eq!(unknown(typed, &known).problem, format!("unknown; did you mean {meant}?"));
        }
        assert!(unknown("ttl", &known).problem.starts_with("unknown; known are name, version"));
        assert_eq!(unknown::<&str>("x", &[]).problem, "unknown; nothing is read here, leave it out");
    }
}
