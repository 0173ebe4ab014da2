//! The options of `warm`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::ProxyArgs;

/// The paths to fetch, and how.
#[derive(Debug, Args)]
pub struct WarmArgs {
    /// A file with one path or URL per line, `-` for stdin, or the URL or path of a sitemap
    pub source: String,

    /// Number of concurrent requests
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// A header to send with every request, such as 'Accept-Encoding: gzip'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,

    /// Another host name of the origin, such as its public one, whose URLs to accept; may be repeated
    #[arg(long = "site", value_name = "HOST[:PORT]")]
    pub sites: Vec<String>,

    /// Timeout of one request, from connecting to the last byte
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// File that records paths that could not be cached, so that a second run skips them; removed at the end
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,

    /// The proxy and the output format.
    #[command(flatten)]
    pub proxy: ProxyArgs,
}
