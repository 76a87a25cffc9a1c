//! `mms`: runs the suite or the sandbox in one process, migrates a source in one line, and is a client of a running suite
//! for people. It decides nothing about a migration: that is the services' business, behind their contracts.

mod client;
mod command;
mod demo;
mod ends;
mod job;
mod line;
mod migrate;
mod output;
mod private;
mod progress;
mod result;
mod sandbox;
mod scan;
mod source;
mod spec;
mod suite;
mod table;
mod task;
mod timer;
mod up;
mod watch;

use std::process::ExitCode;

use clap::Parser;

/// Something failed; what, stands on stderr.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let command = match command::Cli::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let asked = !error.use_stderr();
            drop(error.print());
            return if asked { ExitCode::SUCCESS } else { mms_server::EXIT_USAGE.into() };
        }
    };
    // Reads and writes of stores and files block; the calls between services must go on meanwhile.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("mms: no runtime: {error}"));
            return EXIT_FAILED.into();
        }
    };
    match runtime.block_on(command.run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => EXIT_FAILED.into(),
        Err(error) => {
            output::note(&format!("mms: {}", output::explain(&error)));
            EXIT_FAILED.into()
        }
    }
}
