//! Version ranges, as Cargo and npm write them.
