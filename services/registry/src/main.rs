//! Runs the registry as its own process.

use std::process::ExitCode;

fn main() -> ExitCode {
    mms_server::main(env!("CARGO_PKG_VERSION"), mms_registry::start)
}
