//! What the proxy would do with a request while it is offline.

use super::why::{Explanation, answer_note, cause, variant, why};
use crate::{
    policy::{OfflineDecision, Reason, Time},
    proxy::DryRun,
};

/// Explains what a request would get while the proxy is offline. `missing` says that nothing stored matches it, and what is
/// nearest.
pub fn offline(considered: &DryRun, missing: Vec<String>, now: Time) -> Explanation {
    let online = why(considered, None, now);
    if considered.is_stored_by_body() {
        // What is stored for its body is not known here.
        return online;
    }
    let (outcome, summary, index) = match considered.offline {
        Some(OfflineDecision::Serve { index }) => {
            let is_fresh = considered
                .variant(index)
                .is_some_and(|entry| entry.head().is_fresh(now));
            let outcome = if is_fresh { "hit" } else { "stale-hit" };
            let summary = "Would be served from the cache (HIT): the proxy is offline, so its age does not matter.";
            (outcome, summary, Some(index))
        }
        Some(OfflineDecision::PreconditionFailed) => (
            "refuse",
            "Would be refused (412): the cached response does not meet the condition of the request.",
            None,
        ),
        Some(OfflineDecision::NotStored) | None => (
            "refuse",
            "Would be refused (504): the proxy is offline, and no cached response matches.",
            None,
        ),
    };
    Explanation {
        summary: summary.to_owned(),
        outcome: outcome.to_owned(),
        forward: None,
        reason: Some(cause(considered, Reason::Offline)),
        variant: index.and_then(|index| variant(considered, index, now)),
        last_refusal: None,
        if_origin_fails: None,
        notes: match index {
            Some(index) => answer_note(considered, index).into_iter().collect(),
            // The first sentence is the summary.
            None => missing.into_iter().skip(1).collect(),
        },
        ..online
    }
}
