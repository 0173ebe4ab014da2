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
    clear::{ClearRequest, ClearedEverywhere, clear},
    error::AdminError,
    export::{Export, ExportFrame, ExportRequest, ExportSummary, export},
    import::{ImportOutcome, ImportRequest, import},
    list::{ListRequest, list},
    purge::{PurgeRequest, purge},
    show::{ShowRequest, show},
    stats::stats,
    why::{WhyRequest, why},
};

use std::time::Duration;

use crate::{
    cache::{EntryFilter, FilterError, FilterSpec, OtherInstances, Unconfirmed},
    proxy::Shared,
};

/// How long an action waits for other instances that share a cache with this one, in milliseconds, unless it is told.
pub const OTHERS_WAIT: u64 = 2000;

/// The longest such wait.
const MOST_OTHERS_WAIT: Duration = Duration::from_secs(60 * 60);

/// So many milliseconds to wait for other instances, at most an hour.
fn others_wait(millis: u64) -> Duration {
    Duration::from_millis(millis).min(MOST_OTHERS_WAIT)
}

/// Sentences about the instances where an action may not hold, the last one without its full stop. Empty if there are none.
pub fn other_instances(unconfirmed: &Unconfirmed) -> String {
    let names = unconfirmed.instances.join(", ");
    let names = (!names.is_empty()).then(|| format!("Not confirmed by: {names}"));
    let others = unconfirmed.others.map(|others| match others {
        OtherInstances::NotTold => {
            "The other proxies could not be told, because Redis cannot be reached; they will be told when it can"
        }
        OtherInstances::NotKnown => {
            "Redis may not know all proxies that share the cache, because it was started, lost its data or did not \
             respond less than --redis-lease ago: repeat the command after that"
        }
    });
    let sentences = names.into_iter().chain(others.map(str::to_owned));
    sentences.collect::<Vec<_>>().join(". ")
}

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
    EntryFilter::new(
        names,
        (&config.routes, &config.rules),
        config.keys_describe_clients(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_where_an_action_may_not_hold_are_told_in_sentences() {
        let told = |instances: &[&str], others| {
            let instances = instances.iter().map(|it| (*it).to_owned()).collect();
            other_instances(&Unconfirmed { instances, others })
        };
        assert_eq!(told(&[], None), "");
        assert_eq!(told(&["a:1", "b:2"], None), "Not confirmed by: a:1, b:2");
        let both = told(&["a:1"], Some(OtherInstances::NotKnown));
        let beginning = "Not confirmed by: a:1. Redis may not know all proxies";
        assert!(both.starts_with(beginning), "{both}");
    }
}
