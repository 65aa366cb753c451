//! The house rules: layering, file sizes, generated text, and documents that are true.

mod alerts;
mod chart;
mod circles;
mod client_code;
mod compose;
mod file_index;
mod generated;
mod hosts;
mod images;
mod imports;
mod layers;
mod logs;
mod metrics;
mod paths;

fn root() -> std::path::PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}
