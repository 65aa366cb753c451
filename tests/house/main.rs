//! The house's own rules: what may use what, and that checked-in generated text is what the code generates.

mod alerts;
mod generated;
mod hosts;
mod images;
mod layers;
mod metrics;

fn root() -> std::path::PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}
