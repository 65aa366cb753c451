//! Metrics for scrapers that know only the
//! [text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).

/// Converts OpenMetrics text to text format 0.0.4: counters and infos are described by the name of their samples, and everything specific
/// to OpenMetrics is dropped.
pub fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.split_inclusive('\n') {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.trim_end().split_once(' '))
        {
            describe(&mut out, help.take().filter(|(of, _)| *of == name), name, kind);
        } else if !line.starts_with("# ") {
            out.push_str(line);
        }
    }
    out
}

fn describe(out: &mut String, help: Option<(&str, &str)>, name: &str, kind: &str) {
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        known => ("", known),
    };
    if let Some((_, help)) = help {
        out.extend(["# HELP ", name, suffix, " ", help]);
    }
    out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_descriptions_are_those_of_the_samples() {
        let open = "# HELP a_rejected Refused.\n# TYPE a_rejected counter\na_rejected_total{reason=\"x\"} 1\n\
                    # HELP a_build What runs.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n\
                    # HELP a_seconds Time.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_sum 0.5\n# EOF\n";
        let text = "# HELP a_rejected_total Refused.\n# TYPE a_rejected_total counter\na_rejected_total{reason=\"x\"} 1\n\
                    # HELP a_build_info What runs.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
                    # HELP a_seconds Time.\n# TYPE a_seconds histogram\na_seconds_sum 0.5\n";
        assert_eq!(from_open_metrics(open), text);
    }
}
