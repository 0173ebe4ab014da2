//! The administrative actions on a running proxy, each one typed function: request in, result or [`AdminError`] out.
//!
//! | file | action |
//! |---|---|
//! | `list.rs` | [`list`]: the stored keys, sorted, a page at a time |
//! | `purge.rs` | [`purge`]: removes stored responses, or makes them stale, by path, pattern or tag |
//! | `clear.rs` | [`clear`]: removes everything |
//! | `show.rs` | [`show`]: what is stored for one path, in detail |
//! | `why.rs` | [`why`]: what the proxy would do with a request, and why |
//! | `stats.rs` | [`stats`]: the counters of the proxy and of its cache |
//! | `export.rs` | [`export`]: what is stored, as a HAR file |
//! | `import.rs` | [`import`]: stores a response from a file |
//! | `error.rs` | [`AdminError`]: why an action is refused, in words |
//!
//! The control socket ([`crate::control`]) and the dashboard ([`crate::dashboard`]) only carry them over HTTP. Limits and
//! messages are here, so that they are the same for both. What `show` and `why` say is worded by [`crate::explain`].
//!
//! To add an action: a file here, a route in `control/routes.rs`, and a subcommand in `commands/`.

mod clear;
mod error;
mod export;
mod import;
mod list;
mod purge;
mod show;
mod stats;
mod why;

#[cfg(any(test, fuzzing))]
pub(crate) use self::why::parse as parse_why;
pub use self::{
    clear::clear,
    error::AdminError,
    export::{Export, ExportFrame, ExportRequest, ExportSummary, export},
    import::{ImportOutcome, ImportRequest, import},
    list::{ListRequest, list},
    purge::{PurgeRequest, purge},
    show::{ShowRequest, show},
    stats::stats,
    why::{WhyRequest, why},
};

use crate::{
    cache::{EntryFilter, FilterError, FilterSpec},
    proxy::Shared,
};

/// Where an action was called from, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A command, through the control socket.
    Command,
    /// The page of the dashboard.
    Dashboard,
}

impl Caller {
    /// The words a log line has between the action and its figures.
    fn log_suffix(self) -> &'static str {
        match self {
            Self::Command => "",
            Self::Dashboard => " from the dashboard",
        }
    }
}

/// The stored responses that `names` match under the configuration in force.
fn filter(names: &FilterSpec, shared: &Shared) -> Result<EntryFilter, FilterError> {
    let config = shared.config();
    EntryFilter::new(names, (&config.routes, &config.rules), config.is_hosted())
}
