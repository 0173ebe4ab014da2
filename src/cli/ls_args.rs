//! The options of `ls`.

use clap::{Args, ValueEnum};

use super::ProxyArgs;

/// The responses to list.
#[derive(Clone, Debug, Args)]
pub struct LsArgs {
    /// Path or pattern, such as '/products/*' [default: all]
    #[arg(value_name = "PATTERN")]
    pub path: Option<String>,

    /// Sort order
    #[arg(long, value_name = "BY", default_value = "path")]
    pub sort: Sort,

    /// Number of responses to list
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    pub limit: usize,

    /// Number of responses to skip first
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub offset: usize,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Sort {
    /// By path
    Path,
    /// Largest first
    Size,
    /// Newest first
    Age,
    /// Most hits first
    Hits,
    /// Soonest to become stale first
    Fresh,
}
