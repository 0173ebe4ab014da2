//! `purge`: removes responses from the cache of a running proxy, or marks them as stale.

use caching_proxy::{
    admin::PurgeRequest,
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
    };
    let body = serde_json::to_vec(&ask).map_err(|error| Failure::Print(error.into()))?;
    let purged: Purged = control::choose(purge.proxy.port)?.ask("POST", "/purge", &body)?;
    if purge.proxy.json {
        return print_json(&purged);
    }
    print(&told(&purged, how, purge.soft, &asked));
    Ok(())
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
    let on_disk = match purged.on_disk {
        0 if purged.is_stale_on_disk => "; what matches on disk is stale too".to_owned(),
        0 => String::new(),
        count => format!("; on disk: {count}"),
    };
    let mut text = match purged.responses + purged.on_disk {
        0 if purged.is_stale_on_disk => format!("{responses} {done} in memory{on_disk}\n"),
        0 => format!(
            "{responses} {done}: no cached response matches {asked} (`caching-proxy ls` lists them)\n"
        ),
        _ if purged.on_disk > 0 => {
            format!(
                "{responses} {done} in memory, {}{on_disk}\n",
                size(purged.bytes)
            )
        }
        _ => format!("{responses} {done}, {}{on_disk}\n", size(purged.bytes)),
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
            is_stale_on_disk: false,
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
}
