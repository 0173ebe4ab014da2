//! `offline`: disconnects a running proxy from its origins, or connects it again.

use caching_proxy::{
    cli::{OfflineArgs, Switch},
    control::{self, OfflineRequest},
    reload::OfflineChange,
};

use super::text::json_line;
use crate::{
    failure::Failure,
    terminal::{print, say},
};

/// Switches the proxy, and prints its state.
pub(super) fn run(asked: OfflineArgs) -> Result<(), Failure> {
    let request = OfflineRequest {
        offline: asked.state == Switch::On,
    };
    let body = serde_json::to_vec(&request).map_err(|error| Failure::Print(error.into()))?;
    let change: OfflineChange =
        control::choose(asked.proxy.port)?.ask("POST", "/offline", &body)?;
    if asked.proxy.json {
        print(&json_line(&change)?);
        return Ok(());
    }
    if !change.has_changed {
        say("no change");
    }
    if change.is_offline && change.open_tunnels > 0 {
        say(&format!(
            "WebSockets that are open and stay open: {}",
            change.open_tunnels
        ));
    }
    print(match change.is_offline {
        true => "Offline: cached responses are served, no request goes to an origin\n",
        false => "Online: requests go to the origin\n",
    });
    Ok(())
}
