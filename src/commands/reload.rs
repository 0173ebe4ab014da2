//! `reload`: tells a running proxy to reload its configuration.

use caching_proxy::{cli::ProxyArgs, control, reload::Reloaded};

use super::text::{json_line, plain};
use crate::{
    failure::Failure,
    terminal::{print, say},
};

/// Reloads, and prints the settings that changed.
pub(super) fn reload(proxy: ProxyArgs) -> Result<(), Failure> {
    let reloaded: Reloaded = control::choose(proxy.port)?.ask("POST", "/reload", &[])?;
    if proxy.json {
        print(&json_line(&reloaded)?);
        return Ok(());
    }
    let Reloaded {
        changed,
        needs_restart,
        cache_cleared,
        certificates,
    } = reloaded;
    match changed.as_slice() {
        [] if !certificates.is_empty() => {}
        [] if needs_restart.is_empty() => say("no changes"),
        [] => say("nothing applied"),
        changed => say(&format!("changed: {}", changed.join(", "))),
    }
    for name in certificates {
        say(&format!("new certificate: {}", plain(&name)));
    }
    if cache_cleared {
        say("cache cleared, because the settings that decide who shares stored responses changed");
    }
    if !needs_restart.is_empty() {
        say(&format!(
            "warning: restart the proxy to apply: {}",
            needs_restart.join(", ")
        ));
    }
    print("Configuration reloaded\n");
    Ok(())
}
