//! The options about proxies that run already.

use std::time::Duration;

use clap::Args;

use super::{BASICS, entry_args};

/// What to do with running proxies.
#[derive(Debug, Args)]
pub struct RunningArgs {
    /// Empty the cache of all running proxies of this user (with --port: of one), and exit
    #[arg(long, help_heading = BASICS, display_order = 3)]
    pub clear_cache: bool,

    /// Take over the port from the proxy of yours that listens there: it finishes its requests and ends, and no connection is refused
    ///
    /// With --store, the new process has all that the old one has stored. If no proxy listens there, this one starts as usual.
    #[arg(
        long,
        help_heading = BASICS,
        hide_short_help = true,
        conflicts_with = "clear_cache"
    )]
    pub take_over: bool,

    /// With --clear-cache: timeout waiting for the other proxies that share the cache (--redis) [default: 2s]
    #[arg(
        long,
        help_heading = BASICS,
        hide_short_help = true,
        value_name = "DURATION",
        requires = "clear_cache",
        value_parser = entry_args::wait
    )]
    pub wait: Option<Duration>,
}
