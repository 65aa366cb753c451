//! The namespaces that a read asks for.

use super::principal::Principal;
use crate::api::http::envelope::ApiError;
use crate::api::http::query::{Query, bad_parameter};
use crate::model::name::{NameError, Namespace};

/// One namespace, or all that the caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum NamespaceFilter {
    /// `namespace=*`.
    All,
    One(Namespace),
}

impl NamespaceFilter {
    /// Takes `namespace` from the query.
    ///
    /// # Errors
    /// 400 when it is neither a name nor `*`.
    pub(in crate::api) fn take(query: &mut Query<'_>, default: &Namespace) -> Result<Self, ApiError> {
        Self::take_or(query, || Self::One(default.clone()))
    }

    /// Takes `namespace` where all are meant if it is absent.
    ///
    /// # Errors
    /// 400 when it is neither a name nor `*`.
    pub(in crate::api) fn take_or_all(query: &mut Query<'_>) -> Result<Self, ApiError> {
        Self::take_or(query, || Self::All)
    }

    fn take_or(query: &mut Query<'_>, absent: impl FnOnce() -> Self) -> Result<Self, ApiError> {
        match query.take("namespace") {
            None => Ok(absent()),
            Some(text) if text == "*" => Ok(Self::All),
            Some(text) => Ok(Self::One(parse(&text)?)),
        }
    }

    /// Takes `namespace` where it must be exactly one.
    ///
    /// # Errors
    /// 400 when it is not a name.
    pub(in crate::api) fn take_one(query: &mut Query<'_>, default: &Namespace) -> Result<Namespace, ApiError> {
        query.take("namespace").map_or_else(|| Ok(default.clone()), |text| parse(&text))
    }

    /// Whether it includes `namespace` and the caller may read it.
    pub(in crate::api) fn covers(&self, principal: &Principal, namespace: &str) -> bool {
        let included = match self {
            Self::All => true,
            Self::One(one) => one.as_str() == namespace,
        };
        included && principal.may_read(namespace)
    }
}

fn parse(text: &str) -> Result<Namespace, ApiError> {
    text.parse().map_err(|error: NameError| bad_parameter("namespace", error))
}
