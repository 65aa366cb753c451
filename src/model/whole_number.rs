//! Whole numbers in JSON, in every notation. In JSON and JSON Schema, `50`, `50.0` and `5e1` are the same number
//! ([JSON Schema §4.2.3](https://json-schema.org/draft/2020-12/json-schema-core#section-4.2.3)), and some libraries write all numbers as floats.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// Up to this number, every whole number has its own float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeNumber(pub u64);

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = WholeNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E>(self, n: u64) -> Result<WholeNumber, E> {
                Ok(WholeNumber(n))
            }

            fn visit_i64<E: Error>(self, n: i64) -> Result<WholeNumber, E> {
                u64::try_from(n).map(WholeNumber).map_err(|_| E::invalid_value(Unexpected::Signed(n), &self))
            }

            fn visit_f64<E: Error>(self, n: f64) -> Result<WholeNumber, E> {
                let whole = n.fract() == 0.0 && (0.0..=EXACT).contains(&n);
                let number = whole.then(|| format!("{n:.0}").trim_start_matches('-').parse().ok()).flatten();
                number.map(WholeNumber).ok_or_else(|| E::invalid_value(Unexpected::Float(n), &self))
            }
        }

        json.deserialize_any(Number)
    }
}

fn narrow<T: TryFrom<u64>, E: Error>(WholeNumber(n): WholeNumber) -> Result<T, E> {
    T::try_from(n).map_err(|_| E::custom(format!("{n} is far too large")))
}

/// Deserializes an optional whole number into a narrower type.
///
/// # Errors
/// If it is not a whole number, or does not fit.
pub fn option<'de, T: TryFrom<u64>, D: Deserializer<'de>>(json: D) -> Result<Option<T>, D::Error> {
    Option::<WholeNumber>::deserialize(json)?.map(narrow).transpose()
}

/// Deserializes a whole number into a narrower type.
///
/// # Errors
/// If it is not a whole number, or does not fit.
pub fn required<'de, T: TryFrom<u64>, D: Deserializer<'de>>(json: D) -> Result<T, D::Error> {
    WholeNumber::deserialize(json).and_then(narrow)
}

/// Deserializes a list of whole numbers.
///
/// # Errors
/// Those of [`option`].
pub fn list<'de, T: TryFrom<u64>, D: Deserializer<'de>>(json: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);

    impl<'de, T: TryFrom<u64>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of whole numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(number) = list.next_element()? {
                all.push(narrow(number)?);
            }
            Ok(all)
        }
    }

    json.deserialize_seq(List(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (text, read) in
            [("50", 50), ("50.0", 50), ("5e1", 50), ("0.0", 0), ("-0.0", 0), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(serde_json::from_str::<WholeNumber>(text).ok(), Some(WholeNumber(read)), "{text}");
        }
        for text in ["50.5", "-1", "-1.0", "1e20", "18446744073709551616", "1e400", "\"50\"", "true", "[50]"] {
            let error = serde_json::from_str::<WholeNumber>(text).expect_err(text).to_string();
            assert!(error.contains("a whole number") || error.contains("number out of range"), "{text}: {error}");
        }
    }
}
