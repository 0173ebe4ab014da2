//! The options of the commands about cached responses: `ls`, `show` and `purge`.

use std::time::Duration;

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

    /// Timeout waiting for the other proxies that share the cache (--redis)
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = wait)]
    pub wait: Duration,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}

/// The longest time that a command waits for other proxies.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// How long to wait for other proxies: a duration with a unit.
pub(super) fn wait(text: &str) -> Result<Duration, &'static str> {
    let wait = humantime::parse_duration(text).ok();
    wait.filter(|wait| *wait <= MAX_WAIT)
        .ok_or("it is a duration up to 1h with a unit, such as \"5s\" or \"500ms\"")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_of_up_to_an_hour() {
        assert_eq!(wait("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        for text in ["5", "", "-1s", "61m", "99999999999999999999s"] {
            assert!(wait(text).is_err(), "{text}");
        }
    }
}
