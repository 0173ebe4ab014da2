//! `purge`: removes responses from the cache of a running proxy, or marks them as stale.

use caching_proxy::{
    admin::{PurgeRequest, other_instances},
    cache::{FilterSpec, PurgeAction, Purged},
    cli::PurgeArgs,
    control,
};

use super::text::{plain, print_json, size};
use crate::{
    failure::Failure,
    terminal::{counted, print},
};

/// The most paths that are printed.
const SHOWN: usize = 20;

pub(super) fn run(purge: PurgeArgs) -> Result<(), Failure> {
    let how = match (purge.dry_run, purge.soft) {
        (true, _) => PurgeAction::DryRun,
        (false, true) => PurgeAction::Expire,
        (false, false) => PurgeAction::Remove,
    };
    let asked = subject(&purge);
    let ask = PurgeRequest {
        names: FilterSpec {
            paths: purge.paths,
            exact: purge.exact,
            tags: purge.tag,
        },
        how,
        wait_millis: u64::try_from(purge.wait.as_millis()).unwrap_or(u64::MAX),
    };
    let body = serde_json::to_vec(&ask).map_err(|error| Failure::Print(error.into()))?;
    let chosen = control::choose(purge.proxy.port)?;
    let purged: Purged = chosen.ask_for("POST", "/purge", &body, purge.wait)?;
    match purge.proxy.json {
        true => print_json(&purged)?,
        false => print(&told(&purged, how, purge.soft, &asked)),
    }
    match purged.unconfirmed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Unconfirmed(other_instances(&purged.unconfirmed))),
    }
}

/// The paths and tags of the command, for the case that nothing matches.
fn subject(purge: &PurgeArgs) -> String {
    let tags = purge.tag.iter().map(|tag| format!("tag {tag}"));
    let all: Vec<_> = purge.paths.iter().cloned().chain(tags).collect();
    plain(&all.join(", "))
}

fn told(purged: &Purged, how: PurgeAction, is_soft: bool, asked: &str) -> String {
    let responses = counted(purged.responses, "response", "responses");
    let done = match (how, is_soft) {
        (PurgeAction::Remove, _) => "purged",
        (PurgeAction::Expire, _) => "marked as stale",
        (PurgeAction::DryRun, false) => "would be purged",
        (PurgeAction::DryRun, true) => "would be marked as stale",
    };
    let mut text = match (purged.responses + purged.on_disk, purged.not_read_on_disk) {
        (0, 0) => format!(
            "{responses} {done}: no cached response matches {asked} (`caching-proxy ls` lists them)\n"
        ),
        (_, 0) if purged.on_disk == 0 => {
            format!("{responses} {done}, {}\n", size(purged.bytes))
        }
        (_, not_read) => format!(
            "{responses} {done} in memory, {}; on disk: {}{}\n",
            size(purged.bytes),
            purged.on_disk,
            uncounted(not_read)
        ),
    };
    for path in purged.paths.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", plain(path)));
    }
    let hidden = purged.paths.len().saturating_sub(SHOWN);
    if hidden > 0 {
        let more = if purged.more_paths { " and more" } else { "" };
        text.push_str(&format!("  ... and {hidden}{more} (--json lists them)\n"));
    }
    if purged.fetches > 0 {
        let fetches = counted(purged.fetches, "fetch", "fetches");
        text.push_str(&format!("{fetches} in progress will not be cached\n"));
    }
    text
}

/// What is said about responses on disk that were not looked at.
fn uncounted(not_read: u64) -> String {
    match not_read {
        0 => String::new(),
        _ => format!(" or more (not counted, because it took too long: {not_read})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_paths_are_counted_and_some_named() {
        let purged = Purged {
            responses: 30,
            bytes: 12_288,
            fetches: 1,
            paths: (0..30).map(|number| format!("/{number}")).collect(),
            more_paths: false,
            on_disk: 0,
            not_read_on_disk: 0,
            ..Purged::default()
        };
        let text = told(&purged, PurgeAction::Remove, false, "/*");
        assert!(
            text.starts_with("30 responses purged, 12.0 KiB\n  /0\n"),
            "{text}"
        );
        assert!(
            text.contains("... and 10 (--json lists them)\n1 fetch in progress"),
            "{text}"
        );
    }

    #[test]
    fn what_is_on_disk_is_counted_and_what_was_not_looked_at_is_said() {
        let mut purged = Purged {
            on_disk: 4,
            paths: vec!["/a".to_owned()],
            ..Purged::default()
        };
        assert_eq!(
            told(&purged, PurgeAction::Expire, true, "/*"),
            "0 responses marked as stale in memory, 0 B; on disk: 4\n  /a\n"
        );
        purged.on_disk = 0;
        purged.not_read_on_disk = 9;
        let text = told(&purged, PurgeAction::DryRun, false, "/*");
        assert!(text.contains("on disk: 0 or more (not counted"), "{text}");
    }
}
