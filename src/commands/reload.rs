//! `reload`: a running proxy reads its configuration again.

use caching_proxy::{cli::Whom, control, reload::Reloaded};

use super::text::json_line;
use crate::{Failure, print, say};

/// Has it read, and says what has changed.
pub(super) fn reload(whom: Whom) -> Result<(), Failure> {
    let reloaded: Reloaded = control::choose(whom.port)?.ask("POST", "/reload", &[])?;
    if whom.json {
        print(&json_line(&reloaded)?);
        return Ok(());
    }
    let Reloaded {
        changed,
        needs_restart,
        cache_cleared,
    } = reloaded;
    match changed.as_slice() {
        [] => say("nothing that is in force has changed"),
        changed => say(&format!("changed: {}", changed.join(", "))),
    }
    if cache_cleared {
        say("the cache is empty, for what was in it was divided among users by other settings");
    }
    if !needs_restart.is_empty() {
        say(&format!(
            "warning: changed, but needs a restart: {}",
            needs_restart.join(", ")
        ));
    }
    print("Configuration reloaded\n");
    Ok(())
}
