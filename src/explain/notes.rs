//! Remarks about the origin and about the client, which no decision depends on.

use super::words::seconds;
use crate::proxy::DryRun;

/// Why the origin gets no request now; `None` if it does.
pub(super) fn about_pace(considered: &DryRun) -> Option<String> {
    let pace = considered.pace;
    let (left, why) = match pace.pause() {
        Some((left, status)) => {
            let status = status.as_u16();
            (
                left,
                format!("it has responded with {status} and Retry-After"),
            )
        }
        None => (
            pace.limit()?,
            "--max-rate allows no more requests".to_owned(),
        ),
    };
    let left = seconds(left.as_secs() + 1);
    Some(format!(
        "the origin gets no request for {left}: {why}; until then stale responses are served where that is allowed"
    ))
}

/// Whether the headers count that a proxy in front of this one sets; `None` if the request has none.
pub(super) fn about_peer(considered: &DryRun) -> Option<String> {
    let peer = considered.peer;
    let is_trusted = considered.trusts_peer?;
    Some(match is_trusted {
        true => format!(
            "X-Forwarded-* and Forwarded count: the request is taken as one from {peer}, which trusted_proxies names"
        ),
        false => format!(
            "X-Forwarded-* and Forwarded are ignored: the request is taken as one from {peer}, which trusted_proxies does not \
             name; --from sets another address"
        ),
    })
}
