//! The options of the commands about cached responses: `ls`, `show` and `purge`.

use clap::{ArgGroup, Args, ValueEnum};

use super::ProxyArgs;

/// The responses to purge.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub struct PurgeArgs {
    /// Path with its query, or a URL (its host is ignored); `*` matches any characters: '/products/*'
    #[arg(value_name = "PATH", group = "what")]
    pub paths: Vec<String>,

    /// Purge responses with this tag in Surrogate-Key or Cache-Tag; may be repeated
    #[arg(long, value_name = "NAME", group = "what")]
    pub tag: Vec<String>,

    /// Treat `*` in a path as an ordinary character
    #[arg(long)]
    pub exact: bool,

    /// Mark responses as stale instead of removing them: they are validated at the next use, and still
    /// served if the origin fails
    #[arg(long)]
    pub soft: bool,

    /// Show what would be purged, and purge nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}

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

/// The path to show.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Path with its query, or a URL
    #[arg(value_name = "PATH")]
    pub path: String,

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
