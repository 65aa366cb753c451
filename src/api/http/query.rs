//! A request's query, read strictly: an unknown parameter is refused, since ignoring a mistyped one would widen the selection.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::envelope::{ApiError, Code, Detail};
use crate::model::value_error::ValueError;

/// Most parameters of one request, beside the values of one that may come very often.
const MAX_PARAMETERS: usize = 80;

/// The parameters that are not yet taken, in their order.
#[derive(Debug)]
pub(in crate::api) struct Query<'a> {
    left: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// A refusal that names the parameter and what is wrong with it.
pub(in crate::api) fn bad_parameter(name: &str, wrong: impl Into<ValueError>) -> ApiError {
    ApiError::new(Code::InvalidParameter, "Invalid query parameter").detail(Detail::new(name, wrong))
}

impl<'a> Query<'a> {
    /// Decodes what follows the `?`.
    ///
    /// # Errors
    /// 400 `invalid_parameter` when a parameter is not UTF-8, comes twice, or there are too many.
    pub(in crate::api) fn read(raw: Option<&'a str>) -> Result<Self, ApiError> {
        Self::read_repeating(raw, "")
    }

    /// The same, where the parameter `name` may come several times, for [`Self::take_all`].
    ///
    /// # Errors
    /// 400 `invalid_parameter` as for [`Self::read`].
    pub(in crate::api) fn read_repeating(raw: Option<&'a str>, repeated: &str) -> Result<Self, ApiError> {
        Self::read_at_most(raw, repeated, MAX_PARAMETERS, 0)
    }

    /// At most `max` values of `repeated`, and [`MAX_PARAMETERS`] and `more` parameters in all.
    fn read_at_most(raw: Option<&'a str>, repeated: &str, max: usize, more: usize) -> Result<Self, ApiError> {
        let (mut given, most) = (0, MAX_PARAMETERS + more);
        let mut left: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name).ok_or_else(|| bad_parameter("", "a parameter's name is not UTF-8"))?;
            let value = decode(value).ok_or_else(|| bad_parameter(&name, "is not UTF-8"))?;
            given += usize::from(name == repeated);
            if name != repeated && left.iter().any(|(known, _)| *known == name) {
                return Err(bad_parameter(&name, "is given twice"));
            }
            if left.len() == most {
                return Err(bad_parameter(&name, format!("is one too many: a request has at most {most} parameters")));
            }
            if given > max {
                return Err(bad_parameter(&name, format!("is given more than {max} times")));
            }
            left.push((name, value));
        }
        Ok(Self { left })
    }

    /// The same, where one parameter `name` may be given many times: also returns its values, in order.
    ///
    /// # Errors
    /// 400 `invalid_parameter` as for [`Self::read`], and when there are more than `max` values.
    pub(in crate::api) fn read_many(
        raw: Option<&'a str>,
        name: &str,
        max: usize,
    ) -> Result<(Self, Vec<Cow<'a, str>>), ApiError> {
        let mut left = Self::read_at_most(raw, name, max, max)?;
        let values = left.take_all(name).collect();
        Ok((left, values))
    }

    /// The parameter's value, if it was given.
    pub(in crate::api) fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(at).1)
    }

    /// The values of a parameter that may come several times, in order.
    pub(in crate::api) fn take_all(&mut self, name: &str) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|(known, _)| known == name);
        self.left = left;
        let taken: Vec<(Cow<'a, str>, Cow<'a, str>)> = taken;
        taken.into_iter().map(|(_, value)| value)
    }

    /// The parameter's value, read by `FromStr`.
    ///
    /// # Errors
    /// 400 with `T`'s error.
    pub(in crate::api) fn parse<T>(&mut self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: std::str::FromStr<Err: Into<ValueError>>,
    {
        let value = self.take(name).map(|text| text.parse().map_err(|e: T::Err| bad_parameter(name, e)));
        value.transpose()
    }

    /// `true` or `false`; a bare name counts as true.
    ///
    /// # Errors
    /// 400 for any other value.
    pub(in crate::api) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        Ok(self.given_flag(name)?.unwrap_or(false))
    }

    /// [`Self::flag`]; none if it was not given.
    ///
    /// # Errors
    /// As for [`Self::flag`].
    pub(in crate::api) fn given_flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("false" | "0") => Ok(Some(false)),
            Some("" | "true" | "1") => Ok(Some(true)),
            Some(_) => Err(bad_parameter(name, ValueError::is_not("true or false"))),
        }
    }

    /// A whole number within `1..=max`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub(in crate::api) fn limit(&mut self, max: usize) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.take("limit") else { return Ok(None) };
        match text.parse() {
            Ok(n) if (1..=max).contains(&n) => Ok(Some(n)),
            _ => Err(bad_parameter("limit", ValueError::is_not(format!("a whole number from 1 to {max}")))),
        }
    }

    /// Every parameter whose name starts with `prefix`, without it.
    pub(in crate::api) fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        self.left.retain(|(name, value)| match name.strip_prefix(prefix) {
            Some(rest) => {
                taken.push((rest.to_owned(), value.clone().into_owned()));
                false
            }
            None => true,
        });
        taken
    }

    /// Refuses parameters that were not taken.
    ///
    /// # Errors
    /// 400 naming each unknown parameter, with the closest of `known`.
    pub(in crate::api) fn end(self, known: &[&str]) -> Result<(), ApiError> {
        if self.left.is_empty() {
            return Ok(());
        }
        let error = ApiError::new(Code::InvalidParameter, "Invalid query parameter");
        let unknown = |name: &str| Detail::new(name, ValueError::unknown(name, known));
        Err(self.left.iter().fold(error, |error, (name, _)| error.detail(unknown(name))))
    }
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Some(Cow::Borrowed(text));
    }
    // A form's query writes a space as `+`, as the legacy gateway read it.
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_taken_once() {
        let mut query = Query::read(Some("name=a%20b+c&meta.team=x&&flag&meta.zone=%C3%A9")).expect("reads");
        assert_eq!(query.take("name").as_deref(), Some("a b c"));
        assert_eq!(query.take("name"), None);
        assert!(query.flag("flag").expect("a flag"));
        let meta = query.take_prefixed("meta.");
        assert_eq!(meta, [("team".to_owned(), "x".to_owned()), ("zone".to_owned(), "é".to_owned())]);
        assert!(query.end(&[]).is_ok());
    }

    #[test]
    fn only_the_named_parameter_may_come_several_times() {
        let mut query = Query::read_repeating(Some("tag=a&x=1&tag=b&tag=a"), "tag").expect("reads");
        assert_eq!(query.take_all("tag").collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(query.take("x").as_deref(), Some("1"));
        assert!(query.end(&[]).is_ok());
        assert!(Query::read_repeating(Some("tag=a&x=1&x=2"), "tag").is_err());
        assert!(Query::read(Some("tag=a&tag=b")).is_err());
    }

    #[test]
    fn of_many_values_the_others_stay_few_and_single() {
        let many = |part: &str, times: usize| vec![part; times].join("&");
        let read = |raw: &str| Query::read_many(Some(raw), "id", 100).map(|(_, ids)| ids.len());
        let problem = |raw: &str| read(raw).expect_err("refused").details()[0].problem.clone();
        assert_eq!(read(&format!("limit=1&{}", many("id=a", 100))).expect("reads"), 100);
        assert_eq!(problem(&many("id=a", 101)), "is given more than 100 times");
        assert_eq!(problem(&format!("{}&limit=1&limit=2", many("id=a", 3))), "is given twice");
        let others: Vec<String> = (0..200).map(|n| format!("a{n}")).collect();
        assert!(problem(&others.join("&")).starts_with("is one too many"));
    }

    #[test]
    fn a_typo_is_refused_with_a_suggestion() {
        let query = Query::read(Some("naem=x")).expect("reads");
        let error = query.end(&["name", "namespace"]).expect_err("unknown");
        assert_eq!(error.details()[0].field, "naem");
        assert_eq!(error.details()[0].problem, "unknown; did you mean name?");
        assert!(Query::read(Some("a=1&a=2")).is_err());
        assert!(Query::read(Some("a=%ff")).is_err());
        assert!(Query::read(Some("limit=0")).expect("reads").limit(10).is_err());
        assert!(Query::read(Some("healthy=maybe")).expect("reads").flag("healthy").is_err());
    }
}
