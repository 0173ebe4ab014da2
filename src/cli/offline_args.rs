//! The options about working without the origin, and the arguments of `offline`, `export` and `import`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{CACHING, ProxyArgs};

/// The settings about working without the origin, as options.
#[derive(Debug, Args)]
pub struct OfflineSettingsArgs {
    /// Never contact an origin: serve what is cached whatever its age, and respond with 504 otherwise [default: false]
    ///
    /// What clients say about caching has no effect then. `caching-proxy offline on` and `off` switch a running proxy.
    #[arg(long, help_heading = CACHING, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub offline: Option<OsString>,

    /// Keep also what is not cached, such as private responses and errors, to be served offline alone [default: false]
    ///
    /// While the proxy is online nothing changes: such responses are neither cached nor served.
    #[arg(long, help_heading = CACHING, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub record: Option<OsString>,
}

impl OfflineSettingsArgs {
    /// The options by name. `None` for those that were not given.
    pub(super) fn options(self) -> [(&'static str, Option<OsString>); 2] {
        [("offline", self.offline), ("record", self.record)]
    }
}

/// Whether the proxy is disconnected from its origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// No request goes to an origin
    On,
    /// Requests go to the origins as usual
    Off,
}

/// Which proxy to disconnect or connect.
#[derive(Clone, Copy, Debug, Args)]
pub struct OfflineArgs {
    /// on: serve what is cached and nothing else; off: forward requests again
    #[arg(value_name = "on|off", hide_possible_values = true)]
    pub state: Switch,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}

/// What to export, and where to.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The HAR file to write; - for stdout
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Paths or patterns, such as '/products/*' [default: everything]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,

    /// Export credentials, cookies and secret query parameters too
    #[arg(long)]
    pub with_secrets: bool,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}

/// What to import.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The HAR file to read; - for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Serve the imported responses to everybody, whatever the credentials
    ///
    /// Without it, they are served to requests with the credentials that are in the file, or without any.
    #[arg(long)]
    pub shared: bool,

    /// Another host name of the origin, such as its public one, whose URLs to accept; may be repeated
    #[arg(long = "site", value_name = "HOST[:PORT]")]
    pub sites: Vec<String>,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}
