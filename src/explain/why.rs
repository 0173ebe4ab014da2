//! What would become of a request now, and why.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    Field,
    differs::{Mismatch, Nearest, compared, mismatches, other_field},
    show::selected_by,
    words::{seconds, words},
};
use crate::{
    cache::Entry,
    error::ProxyError,
    mask::hidden,
    policy::{
        Decision, Forward, ForwardReason, MissingBytes, Reason, ResponseForm, Reuse, Sharing,
        StoredHead, Time,
    },
    proxy::DryRun,
};

/// What would become of a request, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// One sentence that says it.
    pub summary: String,
    /// `hit`, `stale-hit`, `validate`, `extend`, `forward`, `join`, `refuse`, or `depends` on a body that is not known.
    pub outcome: String,
    /// The method.
    pub method: String,
    /// Path and query as they are looked for, secrets masked.
    pub path: String,
    /// The Host that is in the key.
    pub host: Option<String>,
    /// The policy in force.
    pub policy: String,
    /// The pattern of the rule in force.
    pub rule: Option<String>,
    /// Whose part of the cache is looked at beside everybody's: `own` or `no-credentials`.
    pub partition: String,
    /// The fields by which the request is somebody's.
    pub credentials: Vec<String>,
    /// Why it would be forwarded: the `fwd` of Cache-Status.
    pub forward: Option<ExplainedReason>,
    /// What keeps a stored response from being used, or the answer from being stored.
    pub reason: Option<ExplainedReason>,
    /// How many responses are stored that this request may see.
    pub stored: u64,
    /// The one that is meant.
    pub variant: Option<Variant>,
    /// Stored ones for other requests, and by which field.
    pub mismatches: Vec<Mismatch>,
    /// Why the last answer was not stored.
    pub last_refusal: Option<LastRefusal>,
    /// What would become of a validation that fails.
    pub if_origin_fails: Option<Fallback>,
    /// What is stored nearest to the path, where nothing is for it and nobody knows why.
    pub nearest: Option<Nearest>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedReason {
    /// The name, as in log and Cache-Status.
    pub name: String,
    /// In words.
    pub words: String,
    /// Where HTTP says so.
    pub clause: Option<String>,
    /// What would change it.
    pub remedy: Option<String>,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its status.
    pub status: u16,
    /// Its age, in seconds.
    pub age_seconds: u64,
    /// Seconds for which it is still fresh, negative when stale; none: until it is cleared.
    pub fresh_seconds: Option<i64>,
    /// Whether it is stale.
    pub is_stale: bool,
    /// The fields that select it.
    pub selected_by: Vec<Field>,
}

/// An answer that was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefusal {
    /// Why.
    pub cause: ExplainedReason,
    /// How long ago it was asked for, in seconds.
    pub seconds_ago: u64,
}

/// What its client would get if the origin did not answer, or with a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Whether that would be the stored response.
    pub is_served: bool,
    /// What forbids it.
    pub cause: Option<ExplainedReason>,
}

/// Explains a request that the proxy would refuse.
pub fn refused(method: &str, path: &str, error: &ProxyError) -> Explanation {
    Explanation {
        summary: format!("Would be refused ({}): {error}.", error.status().as_u16()),
        outcome: "refuse".to_owned(),
        method: method.to_owned(),
        path: hidden(path).into_owned(),
        ..Explanation::default()
    }
}

/// Explains what was decided. `nearest` is the nearest stored target.
pub fn why(considered: &DryRun, nearest: Option<&str>, now: Time) -> Explanation {
    let rule = considered.rule();
    let told = tell(considered, now);
    let cause = |reason| cause(considered, reason);
    // What the cache knows is for the same path without a body.
    let is_known = !considered.is_stored_by_body();
    let refusal = considered.known.refused.filter(|_| is_known);
    let mut explanation = Explanation {
        summary: told.summary,
        outcome: told.outcome.to_owned(),
        method: considered.method().to_string(),
        path: hidden(considered.target()).into_owned(),
        host: considered.host().map(str::to_owned),
        policy: considered.policy().mode.as_str().to_owned(),
        rule,
        partition: match considered.has_identity() {
            true => "own",
            false => "no-credentials",
        }
        .to_owned(),
        credentials: considered
            .credentials()
            .iter()
            .map(ToString::to_string)
            .collect(),
        forward: told.why.map(|why| forward_cause(why.reason)),
        reason: told.reason.map(cause),
        stored: if is_known {
            considered.visible().count() as u64
        } else {
            0
        },
        variant: told.index.and_then(|index| variant(considered, index, now)),
        mismatches: if is_known {
            mismatches(considered)
        } else {
            Vec::new()
        },
        last_refusal: refusal.map(|(reason, since)| LastRefusal {
            cause: cause(reason),
            seconds_ago: now.millis_since(since) / 1000,
        }),
        if_origin_fails: fallback(considered, now),
        nearest: None,
        notes: told.notes,
    };
    if considered.is_unknown() {
        explanation.nearest = nearest.and_then(|stored| compared(stored, considered.target()));
    }
    explanation
}

/// What a decision comes to.
#[derive(Default)]
struct Told {
    summary: String,
    outcome: &'static str,
    why: Option<Forward>,
    reason: Option<Reason>,
    index: Option<usize>,
    notes: Vec<String>,
}

fn tell(considered: &DryRun, now: Time) -> Told {
    if considered.is_stored_by_body() {
        return Told {
            summary: "Depends on its body: answers to POSTs of this path are stored by what they ask with.".to_owned(),
            outcome: "depends",
            notes: vec!["the body counts for the key, and is not considered here".to_owned()],
            ..Told::default()
        };
    }
    let head = |index| considered.variant(index).map(|entry| &**entry.head());
    match considered.decision {
        Decision::Serve { index, reuse } => Told {
            summary: head(index).map_or_else(String::new, |head| serving(head, reuse, now)),
            outcome: if reuse == Reuse::Fresh { "hit" } else { "stale-hit" },
            index: Some(index),
            notes: answer_note(considered, index).into_iter().collect(),
            ..Told::default()
        },
        Decision::Revalidate { index, why } => Told {
            summary: head(index).map_or_else(String::new, |head| validating(head, why, now)),
            outcome: "validate",
            why: Some(why),
            reason: why.detail,
            index: Some(index),
            ..Told::default()
        },
        Decision::Extend { index, missing } => Told {
            summary: match missing {
                MissingBytes::From(first) => format!(
                    "Would be completed: a part is stored, and the origin is asked for the rest from byte {first} on."
                ),
                MissingBytes::Requested => {
                    "Would be forwarded: a part is stored, and not the one that is asked for.".to_owned()
                }
            },
            outcome: "extend",
            why: Some(ForwardReason::Partial.into()),
            index: Some(index),
            ..Told::default()
        },
        Decision::Fetch { why, sharing } => fetching(considered, why, sharing, now),
        Decision::NotCached => Told {
            summary: "Would be refused (504): the client says only-if-cached, and nothing stored can be used."
                .to_owned(),
            outcome: "refuse",
            notes: vec!["RFC 9111, 5.2.1.7".to_owned()],
            ..Told::default()
        },
    }
}

fn fallback(considered: &DryRun, now: Time) -> Option<Fallback> {
    let Decision::Revalidate { index, .. } = considered.decision else {
        return None;
    };
    let forbidden = considered.if_origin_fails(index, now)?.err();
    Some(Fallback {
        is_served: forbidden.is_none(),
        cause: forbidden.map(|reason| cause(considered, reason)),
    })
}

fn serving(head: &StoredHead, reuse: Reuse, now: Time) -> String {
    let how = match (reuse, head.ttl_seconds(now)) {
        (Reuse::Fresh, None) => "fresh until it is cleared".to_owned(),
        (Reuse::Fresh, Some(left)) => format!("fresh for another {}", seconds(left.unsigned_abs())),
        (Reuse::StaleWhileRevalidate, _) => format!(
            "stale {}, and validated in the background (stale-while-revalidate: RFC 5861, 3)",
            since(head, now)
        ),
        (Reuse::MaxStale, _) => format!(
            "stale {}, which the client's max-stale takes (RFC 9111, 5.2.1.2)",
            since(head, now)
        ),
    };
    format!("Would be answered from the cache (HIT): {how}.")
}

fn since(head: &StoredHead, now: Time) -> String {
    let ttl = head.ttl_seconds(now).unwrap_or_default();
    format!("since {}", seconds(ttl.unsigned_abs()))
}

fn validating(head: &StoredHead, why: Forward, now: Time) -> String {
    let because = match why.detail {
        Some(reason) => words(reason).to_owned(),
        None => format!("it is stale {}", since(head, now)),
    };
    let how = match head.etag().or(head.last_modified()) {
        Some(_) => "Would be validated with the origin",
        None => "Would be fetched again, for it has no validator",
    };
    format!("{how}: {because}.")
}

fn fetching(considered: &DryRun, why: Forward, sharing: Sharing, now: Time) -> Told {
    let mut told = Told {
        outcome: "forward",
        why: Some(why),
        reason: why.detail,
        ..Told::default()
    };
    let because = match why.reason {
        ForwardReason::UriMiss => "nothing is stored for it".to_owned(),
        ForwardReason::VaryMiss => {
            format!("it is stored, but for another {}", other_field(considered))
        }
        ForwardReason::Method => format!("{} is not answered from the cache", considered.method()),
        ForwardReason::Bypass => "it is not one that the cache answers".to_owned(),
        ForwardReason::Partial => "only another part of it is stored".to_owned(),
        ForwardReason::Stale => "what is stored is stale".to_owned(),
        ForwardReason::Request | ForwardReason::Miss => why
            .detail
            .map_or("nothing stored can be used", words)
            .to_owned(),
    };
    match sharing {
        Sharing::PassThrough(reason) if why.reason != ForwardReason::Method => {
            told.notes
                .push(format!("its answer would not be stored: {}", words(reason)));
            told.reason = told.reason.or(Some(reason));
        }
        Sharing::Collapsible if considered.known.is_fetching => told.outcome = "join",
        Sharing::Collapsible
            if considered
                .known
                .hit_for_miss_until
                .is_some_and(|until| now < until) =>
        {
            told.notes.push(
                "it would not wait for other requests: the last answer could not be shared"
                    .to_owned(),
            );
        }
        Sharing::PassThrough(_) | Sharing::Collapsible | Sharing::StoreOnly => {}
    }
    told.summary = match told.outcome {
        "join" => format!("Would wait for a fetch that is under way: {because}."),
        _ => format!("Would be forwarded: {because}."),
    };
    told
}

/// What a client gets that asks under conditions or for a part.
fn answer_note(considered: &DryRun, index: usize) -> Option<String> {
    match considered.answer(considered.variant(index)?) {
        ResponseForm::Full => None,
        ResponseForm::NotModified => Some("it would be 304: the client has it already".to_owned()),
        ResponseForm::Partial(_) | ResponseForm::Multipart(_) => {
            Some("it would be 206: the part that is asked for".to_owned())
        }
        ResponseForm::RangeNotSatisfiable => {
            Some("it would be 416: it has no such range".to_owned())
        }
    }
}

fn variant(considered: &DryRun, index: usize, now: Time) -> Option<Variant> {
    let entry: &Entry = considered.variant(index)?;
    let head = entry.head();
    Some(Variant {
        status: head.status().as_u16(),
        age_seconds: head.age_seconds(now),
        fresh_seconds: head.ttl_seconds(now),
        is_stale: !head.is_fresh(now),
        selected_by: selected_by(considered.policy(), entry),
    })
}

fn cause(considered: &DryRun, reason: Reason) -> ExplainedReason {
    let mode = considered.policy().mode;
    ExplainedReason {
        name: reason.as_str().to_owned(),
        words: words(reason).to_owned(),
        clause: reason.clause().map(str::to_owned),
        remedy: reason
            .remedy_under(mode, considered.rule().as_deref())
            .map(Cow::into_owned),
    }
}

fn forward_cause(forward: ForwardReason) -> ExplainedReason {
    let words = match forward {
        ForwardReason::Bypass => "not to be handled by the cache",
        ForwardReason::Method => "the method requires it",
        ForwardReason::UriMiss => "nothing is stored for the target",
        ForwardReason::VaryMiss => "something is, for other selecting fields",
        ForwardReason::Miss => "nothing is that could be used",
        ForwardReason::Request => "something fresh is; the request does not allow its use",
        ForwardReason::Stale => "something is; it may not be used without validation",
        ForwardReason::Partial => "a part is",
    };
    ExplainedReason {
        name: forward.as_str().to_owned(),
        words: words.to_owned(),
        clause: Some(forward.clause().to_owned()),
        remedy: None,
    }
}
