//! The `portolan` program: everything is in the library, so that tests reach it.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One provider of TLS for the whole process, from the first.
    let _installed = portolan::crypto::provider();
    portolan::cli::main()
}
