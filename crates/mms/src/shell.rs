//! `mms completions` and `mms man`: completion scripts and manual pages, generated from the command line's definition.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::command::Cli;
use crate::output;

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms completions bash > ~/.local/share/bash-completion/completions/mms
  mms completions zsh > ~/.zfunc/_mms
  mms completions fish > ~/.config/fish/completions/mms.fish")]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write a manual page for the command and each of its subcommands.
#[derive(Debug, Args)]
#[command(after_help = "Example: mms man ~/.local/share/man/man1 && man mms-job-create")]
pub struct Man {
    /// Folder for the pages, created if absent.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Completions {
    pub fn run(self) -> bool {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mms", &mut script);
        output::line(String::from_utf8_lossy(&script).trim_end());
        true
    }
}

impl Man {
    pub fn run(self) -> anyhow::Result<bool> {
        let dir = self.dir.display();
        std::fs::create_dir_all(&self.dir).with_context(|| format!("making {dir}"))?;
        clap_mangen::generate_to(Cli::command(), &self.dir).with_context(|| format!("writing pages to {dir}"))?;
        output::note(&format!("manual pages written to {dir}"));
        Ok(true)
    }
}
