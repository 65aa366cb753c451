//! `checks`: further checks of an instance, each with a name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{CheckSpec, check_spec, read_check};
use super::rules;
use crate::model::check::NamedCheck;
use crate::model::name::{CheckName, MAX_LABEL};
use crate::model::text;
use crate::model::url::EndpointUrl;

/// A check beside the plain one.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::named_check()))]
pub struct NamedCheckSpec {
    /// Its name, unique in the list, in the form of an instance's name. The plain check is called default.
    #[schemars(length(min = 1, max = MAX_LABEL), regex(pattern = rules::LABEL))]
    pub name: String,
    /// Whether its failure is only a warning: the instance stays healthy, and the status shows what fails. Left out, false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<bool>,
    /// What it probes, if not the instance's healthUrl or baseUrl: an http, https, tcp, grpc or grpcs URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = rules::URL),
        extend("x-kubernetes-validations" = rules::check_url(), "allOf" = rules::check_url_patterns())
    )]
    pub url: Option<String>,
    /// How.
    #[serde(flatten)]
    pub check: CheckSpec,
}

/// Reads named checks, in order of name.
///
/// # Errors
/// A sentence that names the first check that is wrong, and its field.
pub fn read_checks(specs: &[NamedCheckSpec]) -> Result<Vec<NamedCheck>, String> {
    let mut checks = Vec::with_capacity(specs.len());
    for spec in specs {
        let shown = text::escape(&spec.name, MAX_LABEL);
        checks.push(read_named(spec).map_err(|error| format!("checks.{shown}.{error}"))?);
    }
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(checks)
}

fn read_named(spec: &NamedCheckSpec) -> Result<NamedCheck, String> {
    let name: CheckName = spec.name.parse().map_err(|error| format!("name: {error}"))?;
    let url = spec.url.as_deref().map(EndpointUrl::health).transpose().map_err(|error| format!("url: {error}"))?;
    Ok(NamedCheck { name, advisory: spec.advisory.unwrap_or(false), url, check: read_check(&spec.check)? })
}

/// Writes named checks. The inverse of [`read_checks`].
pub fn checks_spec(checks: &[NamedCheck]) -> Option<Vec<NamedCheckSpec>> {
    let spec = |named: &NamedCheck| NamedCheckSpec {
        name: named.name.to_string(),
        advisory: named.advisory.then_some(true),
        url: named.url.as_ref().map(|url| url.as_str().to_owned()),
        check: check_spec(&named.check).unwrap_or_default(),
    };
    (!checks.is_empty()).then(|| checks.iter().map(spec).collect())
}
