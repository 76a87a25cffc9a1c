//! `mms`: runs the suite or the sandbox in one process, migrates a source with one command, and is a client of a
//! running suite for people. It decides nothing about a migration: the services do, and this calls them through their
//! contracts.

mod advice;
mod apply;
mod asked;
mod client;
mod command;
mod demo;
mod docs;
mod ends;
mod health;
mod interrupt;
mod job;
mod job_update;
mod line;
mod migrate;
mod names;
mod open;
mod outcome;
mod output;
mod plan;
mod private;
mod progress;
mod report;
mod result;
mod sandbox;
mod scan;
mod schema;
mod scope;
mod screen;
mod shell;
mod source;
mod spec;
mod suite;
mod table;
mod task;
mod timer;
mod up;
mod watch;
mod worker;
mod yaml;

use std::process::ExitCode;

use clap::Parser;

/// Something failed, and stderr says what.
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
    // Reads and writes of stores and files block a thread, and the calls between services must continue meanwhile.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::failure(&format!("mms: no runtime: {error}"));
            return EXIT_FAILED.into();
        }
    };
    let remote = command.remote();
    match runtime.block_on(command.run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => EXIT_FAILED.into(),
        Err(error) => {
            output::failure(&format!("mms: {}", output::explain(&error, &remote)));
            if error.is::<interrupt::Interrupted>() { interrupt::EXIT_INTERRUPTED.into() } else { EXIT_FAILED.into() }
        }
    }
}
