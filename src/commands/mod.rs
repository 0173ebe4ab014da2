//! The commands beside serving, one file each: what they ask of a running proxy, and how they show the answer.
//!
//! What was asked for goes to stdout, everything else to stderr. With `--json` the answer is one JSON document on
//! stdout, for programs.

mod shell;
mod stats;

use caching_proxy::cli::Command;

use crate::Failure;

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Completions { shell } => shell::completions(shell),
        Command::Stats { whom, watch } => stats::stats(whom, watch)?,
        Command::Man => shell::man().map_err(Failure::Print)?,
    }
    Ok(())
}
