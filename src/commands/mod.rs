//! The commands, one file each: what they request from a running proxy, and how they print the result.
//!
//! The result goes to stdout, everything else to stderr. With `--json` the result is one JSON document.

mod check_config;
mod command_line;
mod corrections;
mod demo;
mod export;
mod guide;
mod import;
mod ls;
mod misuse;
mod offline;
mod purge;
mod reload;
mod shell;
mod show;
mod stats;
mod text;
mod warm;
mod why;

use caching_proxy::cli::Command;

pub(crate) use self::{
    export::ExportError, guide::UnknownTopic, import::ImportError, misuse::tell as tell_misuse,
    warm::WarmError,
};
use crate::failure::Failure;

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Purge(purge) => purge::run(purge)?,
        Command::Ls(ls) => ls::run(ls)?,
        Command::Show(show) => show::run(show)?,
        Command::Why(why) => why::run(why)?,
        Command::Completions { shell } => shell::completions(shell),
        Command::Offline(asked) => offline::run(asked)?,
        Command::Export(asked) => export::run(&asked)?,
        Command::Import(asked) => import::run(&asked)?,
        Command::Reload(proxy) => reload::reload(proxy)?,
        Command::CheckConfig { settings, json } => check_config::check_config(*settings, json)?,
        Command::Warm(asked) => warm::run(&asked)?,
        Command::Stats { proxy, watch } => stats::stats(proxy, watch)?,
        Command::Demo { port } => demo::run(port)?,
        Command::Guide { topic } => guide::guide(topic)?,
        Command::Man => shell::man().map_err(Failure::Print)?,
    }
    Ok(())
}
