//! The binary: an allocator, and the command line.

use std::process::ExitCode;

// A request allocates some twenty small objects; measured faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    overspill::cli::main()
}
