//! `--clear-cache`: clears the caches of running proxies.

use std::time::Duration;

use bytesize::ByteSize;
use caching_proxy::{
    admin::{ClearRequest, other_instances},
    config::{self, Flags},
    control::{self, ClearReport, Instance, UnreachedInstance},
    error::Chain,
};

use crate::{
    failure::Failure,
    terminal::{counted, print, say, say_error},
};

/// Clears the cache of the running proxies: of all, or of the one on --port. Waits so long for proxies that share it with
/// them; `None` for the default.
///
/// Reads neither the configuration file nor the environment: a mistake there must not prevent clearing.
pub(crate) fn clear_caches(flags: &Flags, wait: Option<Duration>) -> Result<(), Failure> {
    let port = config::port_flag(flags)?;
    let request = wait.map_or_else(ClearRequest::default, ClearRequest::waiting);
    let report = control::clear(port, request);
    if !report.cleared.is_empty() {
        say(&totals(&report));
    }
    for UnreachedInstance {
        port,
        instance,
        error,
    } in &report.failed
    {
        let whom = match instance {
            Some(Instance { origin, pid, .. }) => format!(" for {origin} (process {pid})"),
            None => String::new(),
        };
        let why = Chain(error);
        say(&format!(
            "error: the cache of the caching-proxy on port {port}{whom} could not be cleared: {why}"
        ));
    }
    for error in &report.refused {
        say_error(error);
    }
    let mut is_unconfirmed = false;
    for instance in &report.cleared {
        if !instance.unconfirmed.is_empty() {
            is_unconfirmed = true;
            say(&format!(
                "error: the caching-proxy on port {} has cleared its cache. {}",
                instance.instance.port,
                other_instances(&instance.unconfirmed)
            ));
        }
    }
    if is_unconfirmed || !report.failed.is_empty() || !report.refused.is_empty() {
        return Err(Failure::Unreached);
    }
    if report.cleared.is_empty() {
        if port.is_some() {
            // Says that there is none, and which others there are.
            control::choose(port)?;
        }
        say("no running caching-proxy found");
    }
    print("Cache cleared\n");
    Ok(())
}

fn totals(ClearReport { cleared, .. }: &ClearReport) -> String {
    let entries = cleared.iter().map(|instance| instance.entries).sum();
    let bytes = ByteSize(cleared.iter().map(|instance| instance.bytes).sum());
    let entries = counted(entries, "entry", "entries");
    let proxies = counted(cleared.len() as u64, "proxy", "proxies");
    let on_disk = match cleared.iter().map(|instance| instance.on_disk).sum() {
        0_u64 => String::new(),
        count => format!(", {count} on disk"),
    };
    format!("{entries}, {bytes}{on_disk}, {proxies}")
}
