//! The commands beside serving, one file each: what they ask of a running proxy, and how they show the answer.
//!
//! What was asked for goes to stdout, everything else to stderr. With `--json` the answer is one JSON document on
//! stdout, for programs.

mod ls;
mod purge;
mod shell;
mod stats;
mod text;

use caching_proxy::cli::Command;

use crate::Failure;

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Purge(purge) => purge::run(purge)?,
        Command::Ls(ls) => ls::run(ls)?,
        Command::Completions { shell } => shell::completions(shell),
        Command::Stats { whom, watch } => stats::stats(whom, watch)?,
        Command::Man => shell::man().map_err(Failure::Print)?,
    }
    Ok(())
}
