//! One line defines a metric: its handle, its name, its unit and its help text.

/// Defines a struct of metric handles, with `new()`, `register(&self, &mut Registry)` and the constant `NAMES`.
///
/// A line reads `field: Type, "name", "help";`, with `"name" in Seconds` for a unit, and with `= value` after the help text for a metric
/// whose `Default` does not do. Names are without the prefix, and without the suffix that the unit or a counter adds.
macro_rules! metrics {
    (
        $(#[$doc:meta])*
        pub struct $group:ident {
            $($field:ident: $kind:ty, $name:literal $(in $unit:ident)?, $help:literal $(= $value:expr)?;)*
        }
        $(with {
            $($(#[$other_doc:meta])* $access:vis $other:ident: $other_kind:ty,)*
        })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $group {
            $(#[doc = $help] pub $field: $kind,)*
            $($($(#[$other_doc])* $access $other: $other_kind,)*)?
        }

        impl $group {
            /// The names of the metrics, with their units as suffixes.
            pub const NAMES: &'static [&'static str] = &[$(metrics!(@name $name $($unit)?)),*];

            fn new() -> Self {
                Self {
                    $($field: metrics!(@value $($value)?),)*
                    $($($other: <$other_kind>::default(),)*)?
                }
            }

            pub(super) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
                $(metrics!(@register registry, $name $($unit)?, $help, self.$field.clone());)*
            }
        }
    };
    (@name $name:literal) => { $name };
    (@name $name:literal Seconds) => { concat!($name, "_seconds") };
    (@value) => { Default::default() };
    (@value $value:expr) => { $value };
    (@register $registry:ident, $name:literal, $help:literal, $metric:expr) => {
        $registry.register($name, $help, $metric);
    };
    (@register $registry:ident, $name:literal $unit:ident, $help:literal, $metric:expr) => {
        $registry.register_with_unit($name, $help, prometheus_client::registry::Unit::$unit, $metric);
    };
}

pub(super) use metrics;
