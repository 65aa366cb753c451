//! Further checks of an instance, beside its plain `check`.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::json::FIELDS;
use super::{Check, CheckSchema};
use crate::model::name::CheckName;
use crate::model::url::EndpointUrl;
use crate::model::value_error::{ValueError, json_sentence};

/// Most checks beside the plain one.
pub const MAX_NAMED_CHECKS: usize = 7;

/// The fields that a check beside the plain one has and the plain one has not.
const OWN_FIELDS: [&str; 3] = ["name", "url", "advisory"];

/// A check beside the plain one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "NamedCheckJson")]
pub struct NamedCheck {
    /// Its name, not `default`.
    pub name: CheckName,
    /// Whether its failure only sets a warning.
    pub advisory: bool,
    /// What it probes, if not the instance's health URL.
    pub url: Option<EndpointUrl>,
    /// How.
    pub check: Check,
}

/// Any check of an instance, the plain one included.
#[derive(Debug, Clone, Copy)]
pub struct AnyCheck<'a> {
    /// Its name; none for the plain one, which is called `default`.
    pub name: Option<&'a CheckName>,
    /// Whether its failure only sets a warning.
    pub advisory: bool,
    /// What it probes, if not the base URL.
    pub url: Option<&'a EndpointUrl>,
    /// How.
    pub check: &'a Check,
}

impl AnyCheck<'_> {
    /// Its name.
    pub fn name(&self) -> CheckName {
        self.name.cloned().unwrap_or_default()
    }
}

/// A check beside the plain one, with its name: `{"name":"disk","advisory":true,"http":{"path":"/disk"}}`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NamedCheck)]
pub struct NamedCheckJson {
    /// Its name, an RFC 1123 label; not `default`.
    #[schema(max_length = 63)]
    name: String,
    /// Whether its failure only sets a warning; false when absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, value_type = Option<bool>)]
    advisory: bool,
    /// What it probes, if not the instance's health URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    url: Option<String>,
    /// How.
    #[serde(flatten)]
    check: CheckSchema,
}

impl From<NamedCheck> for NamedCheckJson {
    fn from(named: NamedCheck) -> Self {
        let NamedCheck { name, advisory, url, check } = named;
        Self { name: name.to_string(), advisory, url: url.map(|url| url.as_str().to_owned()), check: check.into() }
    }
}

// Not derived: serde cannot refuse unknown fields beside flattened ones.
impl<'de> Deserialize<'de> for NamedCheck {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let mut fields = json.deserialize_map(OnceEach)?;
        let name = match fields.remove("name") {
            Some(Value::String(name)) => {
                name.parse::<CheckName>().map_err(|error| D::Error::custom(format!("name: {error}")))?
            }
            _ => return Err(D::Error::custom("name: give the check a name")),
        };
        let advisory = match fields.remove("advisory") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(advisory)) => advisory,
            Some(_) => return Err(D::Error::custom("advisory: is true or false")),
        };
        let url = match fields.remove("url") {
            None | Some(Value::Null) => None,
            Some(Value::String(url)) => {
                Some(EndpointUrl::health(&url).map_err(|error| D::Error::custom(format!("url: {error}")))?)
            }
            Some(_) => return Err(D::Error::custom("url: is a text")),
        };
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let known: Vec<&str> = OWN_FIELDS.into_iter().chain(FIELDS).collect();
            return Err(D::Error::custom(format!("{unknown}: {}", ValueError::unknown(unknown, &known).problem)));
        }
        let check =
            Check::deserialize(Value::Object(fields)).map_err(|error| D::Error::custom(json_sentence(&error)))?;
        Ok(Self { name, advisory, url, check })
    }
}

/// An object in which no field comes twice.
struct OnceEach;

impl<'de> Visitor<'de> for OnceEach {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format!("{name} is given twice")));
            }
            fields.insert(name, value);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::NamedCheck;

    #[test]
    fn a_named_check_survives_its_json() {
        for text in [
            r#"{"name":"disk","advisory":true,"url":"http://h:9000/disk","http":{},"interval_seconds":60}"#,
            r#"{"name":"db","tcp":{}}"#,
        ] {
            let named: NamedCheck = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&named).expect("serializes"), text);
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, word) in [
            (r#"{"tcp":{}}"#, "name: give"),
            (r#"{"name":"A B","tcp":{}}"#, "a-b"),
            (r#"{"name":"a","advisory":1}"#, "advisory"),
            (r#"{"name":"a","url":"nowhere"}"#, "url"),
            (r#"{"name":"a","htpp":{}}"#, "htpp: unknown; did you mean http?"),
            (r#"{"name":"a","colour":{}}"#, "colour: unknown; expected one of name, url, advisory, http, tcp"),
            (r#"{"name":"a","name":"b","tcp":{}}"#, "name is given twice"),
        ] {
            let error = serde_json::from_str::<NamedCheck>(text).expect_err(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
