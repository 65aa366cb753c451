//! Which services and instances a reader asked for.
