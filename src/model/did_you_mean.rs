//! Suggestions for unknown names.

/// The one of `known` that `name` was probably meant to be, if any is close enough.
///
/// ```
/// use portolan::model::did_you_mean::closest;
///
/// assert_eq!(closest("baseUrl", &["name", "base_url"]), Some("base_url"));
/// assert_eq!(closest("ttl", &["name", "base_url"]), None);
/// ```
pub fn closest<'a, S: AsRef<str>>(name: &str, known: &'a [S]) -> Option<&'a str> {
    let typed = fold(name);
    let near = known.iter().map(|k| (strsim::osa_distance(&typed, &fold(k.as_ref())), k.as_ref())).min();
    near.and_then(|(distance, near)| (distance <= 1 + near.len() / 4).then_some(near))
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
            assert_eq!(closest(typed, &known), Some(meant));
        }
        assert_eq!(closest("ttl", &known), None);
        assert_eq!(closest::<&str>("x", &[]), None);
    }
}
