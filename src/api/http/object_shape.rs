//! Objects that must be written as objects: serde would also read an array as the fields of a struct, in their order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// JSON without arrays, except the one list that a check has.
#[derive(Debug)]
pub(in crate::api) struct NoArrays;

impl<'de> Deserialize<'de> for NoArrays {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Shape)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = NoArrays;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoArrays, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "expected_statuses" {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value::<NoArrays>()?;
            }
        }
        Ok(NoArrays)
    }

    fn visit_unit<E>(self) -> Result<NoArrays, E> {
        Ok(NoArrays)
    }

    fn visit_bool<E>(self, _: bool) -> Result<NoArrays, E> {
        Ok(NoArrays)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NoArrays, E> {
        Ok(NoArrays)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NoArrays, E> {
        Ok(NoArrays)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NoArrays, E> {
        Ok(NoArrays)
    }

    fn visit_str<E>(self, _: &str) -> Result<NoArrays, E> {
        Ok(NoArrays)
    }
}
