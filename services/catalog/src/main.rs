//! Runs the catalog as its own process.

use std::process::ExitCode;

fn main() -> ExitCode {
    mms_server::main::<mms_catalog::Config, _, _>(env!("CARGO_PKG_VERSION"), mms_catalog::start)
}
