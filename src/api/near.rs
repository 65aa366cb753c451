//! What somebody probably meant by a name that is not known.

/// What to write instead of `name`: the closest of `known`, or all of them.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (strsim::osa_distance(name, k), k)).min();
    match near {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => format!("unknown; did you mean {near}?"),
        Some(_) => format!("unknown; expected one of {}", known.join(", ")),
        None => "unknown; none is expected here".to_owned(),
    }
}
