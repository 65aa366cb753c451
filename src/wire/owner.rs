//! Who registered an instance.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::service;

/// The holder of the token that registered an instance. Only the same holder may change it, or an admin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    /// The token's issuer; absent when it names none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    pub issuer: Box<str>,
    /// The token's subject.
    #[serde(default)]
    #[schema(required = true, example = "ci")]
    pub subject: Box<str>,
}

impl Owner {
    /// A known owner; none for [`Anonymous`](service::Owner::Anonymous).
    pub fn of(known: &service::Owner) -> Option<Self> {
        match known {
            service::Owner::Anonymous => None,
            service::Owner::Token { issuer, subject } => {
                Some(Self { issuer: (**issuer).into(), subject: (**subject).into() })
            }
        }
    }
}

/// `ci`, or `ci (https://issuer.example)`. Foreign text.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.issuer {
            "" => f.write_str(&self.subject),
            issuer => write!(f, "{} ({issuer})", self.subject),
        }
    }
}
