//! The `portolan` program. Everything is in the library, so that tests can use it.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Installs the process's TLS provider before anything else asks for one.
    let _installed = portolan::crypto::provider();
    portolan::cli::main()
}
