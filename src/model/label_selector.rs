//! Label selectors, as Kubernetes defines them: which objects are meant, by their labels.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Longest key, in characters: a prefix of 253, a slash and a name.
const MAX_KEY: usize = 317;
/// Longest name of a key, and longest value, in characters.
const MAX_NAME: usize = 63;
/// Most labels, and most expressions, of a selector.
pub const MAX_REQUIREMENTS: usize = 32;
/// Most requirements of a selector: its labels and its expressions.
const MAX_BOTH: usize = 2 * MAX_REQUIREMENTS;
/// Most values of a requirement.
pub const MAX_VALUES: usize = 64;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Requirements that all have to be met; without any, every object is selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

/// What one label has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// It has one of these values.
    In(String, Vec<String>),
    /// It has none of these values, or is absent.
    NotIn(String, Vec<String>),
    /// It is there.
    Exists(String),
    /// It is absent.
    DoesNotExist(String),
}

impl Requirement {
    fn is_met(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::In(key, _) | Self::NotIn(key, _) | Self::Exists(key) | Self::DoesNotExist(key) => key,
        }
    }

    fn values(&self) -> &[String] {
        match self {
            Self::In(_, values) | Self::NotIn(_, values) => values,
            Self::Exists(_) | Self::DoesNotExist(_) => &[],
        }
    }

    fn accept(&self) -> Result<(), String> {
        let key = self.key();
        if !is_key(key) {
            return Err(format!("{key:?} is not a label's key, such as tenant or example.com/tenant"));
        }
        if let Self::In(_, values) | Self::NotIn(_, values) = self
            && !(1..=MAX_VALUES).contains(&values.len())
        {
            return Err(format!("{key} needs 1 to {MAX_VALUES} values; there are {}", values.len()));
        }
        match self.values().iter().find(|value| !value.is_empty() && !is_name(value)) {
            Some(value) => {
                Err(format!("{value:?} is not a label's value: letters, digits, '-', '_' and '.', at most 63"))
            }
            None => Ok(()),
        }
    }
}

impl LabelSelector {
    /// A selector of these requirements.
    ///
    /// # Errors
    /// A sentence that names the first requirement that is wrong.
    pub fn new(requirements: Vec<Requirement>) -> Result<Self, String> {
        if requirements.len() > MAX_BOTH {
            return Err(format!("at most {MAX_BOTH} requirements; there are {}", requirements.len()));
        }
        requirements.iter().try_for_each(Requirement::accept)?;
        Ok(Self(requirements))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    /// Reads the form that `kubectl --selector` takes: `tenant,stage!=dev,tier in (gold,silver),!legacy`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = parts(text)?;
        Self::new(parts.into_iter().map(requirement).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) => write!(f, "{key} in ({})", values.join(","))?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::DoesNotExist(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

/// Splits at the commas outside of parentheses.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match (c, inside) {
            ('(', false) => inside = true,
            (')', true) => inside = false,
            ('(', true) | (')', false) => return Err(format!("the parentheses in {text:?} do not match")),
            (',', false) => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(format!("the parentheses in {text:?} do not match"));
    }
    parts.extend(text.get(start..));
    Ok(parts)
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let text = text.trim();
    let own = |text: &str| text.trim().to_owned();
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Requirement::DoesNotExist(own(key)));
    }
    if let Some((head, rest)) = text.split_once('(') {
        let rest = rest.strip_suffix(')').ok_or_else(|| format!("{text:?} does not end with its parenthesis"))?;
        let values = rest.split(',').map(own).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => Ok(Requirement::In(key.to_owned(), values)),
            (Some(key), Some("notin"), None) => Ok(Requirement::NotIn(key.to_owned(), values)),
            _ => Err(format!("{text:?} is not like tier in (gold,silver) or tier notin (bronze)")),
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(own(key), vec![own(value)]));
    }
    match text.split_once('=') {
        Some((key, value)) => Ok(Requirement::In(own(key), vec![own(value.strip_prefix('=').unwrap_or(value))])),
        None => Ok(Requirement::Exists(text.to_owned())),
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => {
            let part = |part: &str| {
                !part.is_empty() && is_made_of(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-")
            };
            key.len() <= MAX_KEY && prefix.split('.').all(part) && is_name(name)
        }
    }
}

/// Letters and digits at both ends, and between them also '-', '_' and '.'.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && is_made_of(name, |c| c.is_ascii_alphanumeric(), "-_.")
}

fn is_made_of(text: &str, at_ends: impl Fn(char) -> bool, between: &str) -> bool {
    text.starts_with(&at_ends) && text.ends_with(&at_ends) && text.chars().all(|c| at_ends(c) || between.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_selector_means_what_kubectl_means_by_it() {
        let gold = labels(&[("tenant", "a"), ("tier", "gold")]);
        let bare = labels(&[]);
        for (text, of_gold, of_bare) in [
            ("tenant", true, false),
            ("!tenant", false, true),
            ("tenant=a", true, false),
            ("tenant==a, tier = gold", true, false),
            ("tenant!=a", false, true),
            ("tier in (silver, gold)", true, false),
            ("tier notin (gold)", false, true),
            ("tenant,tier in (silver)", false, false),
            ("example.com/tenant", false, false),
        ] {
            let selector: LabelSelector = text.parse().expect(text);
            assert_eq!((selector.matches(&gold), selector.matches(&bare)), (of_gold, of_bare), "{text}");
            let again: LabelSelector = selector.to_string().parse().expect("its own form");
            assert_eq!(again, selector, "{text}");
        }
        assert!(LabelSelector::default().matches(&bare));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "",
            "a,",
            "tier in gold",
            "tier in (gold",
            "tier (gold)",
            "a)",
            "-a",
            "a=b c",
            "x/y/z",
            "A.b/c",
            "tier in ()(",
        ] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text:?}");
        }
        let empty = LabelSelector::new(vec![Requirement::In("tier".to_owned(), Vec::new())]);
        assert!(empty.expect_err("no value").contains("needs 1 to"));
    }
}
