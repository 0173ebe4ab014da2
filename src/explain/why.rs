//! What the proxy would do with a request now, and why.

use serde::{Deserialize, Serialize};

use super::{
    Field,
    differs::{Mismatch, Nearest, compared, mismatches, other_field},
    notes,
    route::ExplainedRoute,
    show::selected_by,
    words::{forward_words, seconds, words},
};
use crate::{
    cache::Entry,
    error::ProxyError,
    mask::hidden,
    policy::{
        Decision, Forward, ForwardReason, IdentityParts, MissingBytes, Reason, ResponseForm, Reuse,
        Sharing, StoredHead, Time,
    },
    proxy::DryRun,
};

/// What the proxy would do with a request, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The result in one sentence.
    pub summary: String,
    /// `hit`, `stale-hit`, `validate`, `extend`, `forward`, `tunnel`, `join`, `refuse`, or `depends` on a body that is not
    /// known.
    pub outcome: String,
    /// The method.
    pub method: String,
    /// Path and query as they are looked up, secrets masked.
    pub path: String,
    /// The Host in the key; `None` if the key has no Host.
    pub host: Option<String>,
    /// The origin it would be sent to; `None` if there is one origin only.
    pub origin: Option<String>,
    /// The route that it takes; `None` if there are no routes.
    pub route: Option<ExplainedRoute>,
    /// The policy that applies.
    pub policy: String,
    /// The patterns of the rule that applies; `None` without a rule.
    pub rule: Option<String>,
    /// The partition that is searched beside the shared one: `own` or `no-credentials`.
    pub partition: String,
    /// The headers that identify the user of the request; a cookie as `cookie NAME`.
    pub credentials: Vec<String>,
    /// Why it would be forwarded: the `fwd` of Cache-Status. `None` if it would not be forwarded.
    pub forward: Option<ExplainedReason>,
    /// Why no stored response can be used, or why the response would not be stored; `None` if neither is the case.
    pub reason: Option<ExplainedReason>,
    /// How many stored responses are visible to this request.
    pub stored: u64,
    /// The stored response that would be used or validated; `None` if there is none.
    pub variant: Option<Variant>,
    /// The stored responses that a request header rules out, with that header.
    pub mismatches: Vec<Mismatch>,
    /// Why the last response was not stored; `None` if it was, or is not remembered.
    pub last_refusal: Option<LastRefusal>,
    /// What the client would get if the validation failed; `None` if nothing would be validated.
    pub if_origin_fails: Option<Fallback>,
    /// The stored path that is most similar; `None` if something is stored or known for the path itself.
    pub nearest: Option<Nearest>,
    /// What Redis has for it: `hit`, `stale`, `miss`, or `no-answer`; `None` if it would not be asked.
    pub in_redis: Option<String>,
    /// Further remarks.
    pub notes: Vec<String>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedReason {
    /// The name, as in log and Cache-Status.
    pub name: String,
    /// The meaning, in words.
    pub words: String,
    /// The section of the RFC; `None` for limits of this proxy.
    pub clause: Option<String>,
    /// What would change it; `None` if nothing would.
    pub remedy: Option<String>,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its status.
    pub status: u16,
    /// Its age, in seconds.
    pub age_seconds: u64,
    /// Seconds for which it is still fresh, negative if it is stale; `None` if it is fresh until it is cleared.
    pub fresh_seconds: Option<i64>,
    /// Whether it is stale.
    pub is_stale: bool,
    /// The request headers that select it (Vary).
    pub selected_by: Vec<Field>,
}

/// A response that was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefusal {
    /// Why.
    pub cause: ExplainedReason,
    /// How long ago it was requested, in seconds.
    pub seconds_ago: u64,
}

/// What the client would get if the origin did not respond, or responded with a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// True if it would be the stored response.
    pub is_served: bool,
    /// What forbids the stored response; `None` if nothing does.
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

/// Explains the decision about a request. `nearest` is the most similar stored target.
pub fn why(considered: &DryRun, nearest: Option<&str>, now: Time) -> Explanation {
    let rule = considered.rule();
    let told = match considered.is_handshake() {
        true => handshake(),
        false => tell(considered, now),
    };
    let cause = |reason| cause(considered, reason);
    // The lookup was made without the body, so its result does not apply to a key that contains the body.
    let is_known = !considered.is_stored_by_body();
    let refusal = considered.known.refused.filter(|_| is_known);
    let mut explanation = Explanation {
        summary: told.summary,
        outcome: told.outcome.to_owned(),
        method: considered.method().to_string(),
        path: hidden(considered.target()).into_owned(),
        host: considered.host().map(str::to_owned),
        origin: considered.origin(),
        route: ExplainedRoute::of(considered),
        policy: considered.policy().mode.as_str().to_owned(),
        rule,
        partition: match considered.has_identity() {
            true => "own",
            false => "no-credentials",
        }
        .to_owned(),
        credentials: credentials(considered.identity_parts()),
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
        in_redis: None,
        notes: told.notes,
    };
    let needs_origin = !matches!(told.outcome, "hit" | "stale-hit" | "refuse");
    explanation
        .notes
        .extend(notes::about_pace(considered).filter(|_| needs_origin));
    explanation.notes.extend(notes::about_peer(considered));
    if considered.is_unknown() {
        explanation.nearest = nearest.and_then(|stored| compared(stored, considered.target()));
    }
    explanation
}

fn credentials(parts: IdentityParts) -> Vec<String> {
    let cookies = parts.cookies.iter().map(|name| format!("cookie {name}"));
    parts.headers.iter().cloned().chain(cookies).collect()
}

/// A decision in words.
#[derive(Default)]
struct Told {
    summary: String,
    outcome: &'static str,
    why: Option<Forward>,
    reason: Option<Reason>,
    index: Option<usize>,
    notes: Vec<String>,
}

fn handshake() -> Told {
    Told {
        summary:
            "Would be forwarded as a WebSocket handshake, and tunnelled if the origin accepts it."
                .to_owned(),
        outcome: "tunnel",
        why: Some(ForwardReason::Bypass.into()),
        ..Told::default()
    }
}

fn tell(considered: &DryRun, now: Time) -> Told {
    if considered.is_stored_by_body() {
        return Told {
            summary: "Depends on the request body: responses to POST requests for this path are cached by body.".to_owned(),
            outcome: "depends",
            notes: vec![
                "the request body is part of the cache key, and it is not known here".to_owned(),
                "bodies that may change something, that cannot be read, or that are too large are forwarded: the detail of \
                 Cache-Status and the log say why"
                    .to_owned(),
            ],
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
                    "Would be completed from the origin: the cache has a part, and the bytes from {first} on are missing."
                ),
                MissingBytes::Requested => {
                    "Would be forwarded (MISS): the cache has a part, but not the requested one.".to_owned()
                }
            },
            outcome: "extend",
            why: Some(ForwardReason::Partial.into()),
            index: Some(index),
            ..Told::default()
        },
        Decision::Fetch { why, sharing } => fetching(considered, why, sharing, now),
        Decision::NotCached => Told {
            summary: "Would be refused (504): the client says only-if-cached, and no cached response can be used."
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
        (Reuse::Fresh, None) => "fresh until cleared".to_owned(),
        (Reuse::Fresh, Some(left)) => format!("fresh for another {}", seconds(left.unsigned_abs())),
        (Reuse::StaleWhileRevalidate, _) => format!(
            "stale {}, and validated in the background (stale-while-revalidate, RFC 5861, 3)",
            stale_for(head, now)
        ),
        (Reuse::MaxStale, _) => format!(
            "stale {}, which the client's max-stale allows (RFC 9111, 5.2.1.2)",
            stale_for(head, now)
        ),
    };
    format!("Would be served from the cache (HIT): {how}.")
}

fn stale_for(head: &StoredHead, now: Time) -> String {
    let ttl = head.ttl_seconds(now).unwrap_or_default();
    format!("for {}", seconds(ttl.unsigned_abs()))
}

fn validating(head: &StoredHead, why: Forward, now: Time) -> String {
    let because = match why.detail {
        Some(reason) => words(reason).to_owned(),
        None => format!("it has been stale {}", stale_for(head, now)),
    };
    let how = match head.etag().or(head.last_modified()) {
        Some(_) => "Would be validated with the origin",
        None => "Would be fetched again (it has no validator)",
    };
    format!("{how}: {because}.")
}

fn fetching(considered: &DryRun, why: Forward, sharing: Sharing, now: Time) -> Told {
    let mut told = Told {
        outcome: "forward",
        why: Some(why),
        reason: why.detail.or(considered.unkeyed()),
        ..Told::default()
    };
    let because = match why.reason {
        ForwardReason::UriMiss => "nothing is cached for this request".to_owned(),
        ForwardReason::VaryMiss => {
            format!(
                "a response is cached, but for another {}",
                other_field(considered)
            )
        }
        ForwardReason::Method => format!("{} is not served from the cache", considered.method()),
        ForwardReason::Bypass => "the cache does not handle this kind of request".to_owned(),
        ForwardReason::Partial => "only another part is cached".to_owned(),
        ForwardReason::Stale => "the cached response is stale".to_owned(),
        ForwardReason::Request | ForwardReason::Miss => why
            .detail
            .map_or("no cached response can be used", words)
            .to_owned(),
    };
    if considered.invalidates() {
        told.notes.push(
            "a successful response removes what is cached for the path, and makes responses of related paths stale \
             whose lifetime is a guess, unless a rule says invalidates = false"
                .to_owned(),
        );
    }
    match sharing {
        Sharing::PassThrough(reason) if why.reason != ForwardReason::Method => {
            told.notes.push(format!(
                "the response would not be cached: {}",
                words(reason)
            ));
            told.reason = told.reason.or(Some(reason));
        }
        Sharing::PassThrough(_) | Sharing::StoreOnly => {}
        Sharing::Collapsible | Sharing::CollapsibleWhole => {
            shared_fetch(considered, now, &mut told)
        }
    }
    told.summary = match told.outcome {
        "join" => format!("Would wait for a fetch in progress: {because}."),
        _ => format!("Would be forwarded (MISS): {because}."),
    };
    told
}

/// What is known about a fetch that other requests may share.
fn shared_fetch(considered: &DryRun, now: Time, told: &mut Told) {
    let hit_for_miss_until = considered.known.hit_for_miss_until;
    if considered.known.is_fetching {
        told.outcome = "join";
    } else if hit_for_miss_until.is_some_and(|until| now < until) {
        told.notes.push(
            "it would not wait for another request's fetch: the last response could not be shared"
                .to_owned(),
        );
    }
}

/// The response to a conditional or range request that is a hit; `None` for the full response.
pub(super) fn answer_note(considered: &DryRun, index: usize) -> Option<String> {
    match considered.answer(considered.variant(index)?) {
        ResponseForm::Full => None,
        ResponseForm::NotModified => {
            Some("the response would be 304: the client already has it".to_owned())
        }
        ResponseForm::Partial(_) | ResponseForm::Multipart(_) => {
            Some("the response would be 206: only the requested part".to_owned())
        }
        ResponseForm::RangeNotSatisfiable => {
            Some("the response would be 416: the requested range does not exist".to_owned())
        }
    }
}

pub(super) fn variant(considered: &DryRun, index: usize, now: Time) -> Option<Variant> {
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

pub(super) fn cause(considered: &DryRun, reason: Reason) -> ExplainedReason {
    let mode = considered.policy().mode;
    ExplainedReason {
        name: reason.as_str().to_owned(),
        words: words(reason).to_owned(),
        clause: reason.clause().map(str::to_owned),
        remedy: match reason {
            Reason::OwnPartition => Some(considered.identity_parts().remedy()),
            reason => reason.remedy(mode).map(|remedy| {
                let target = considered.target();
                let path = target.split('?').next().unwrap_or_default();
                let text = remedy.text(path, considered.rule().as_deref());
                text.into_owned()
            }),
        },
    }
}

fn forward_cause(forward: ForwardReason) -> ExplainedReason {
    ExplainedReason {
        name: forward.as_str().to_owned(),
        words: forward_words(forward).to_owned(),
        clause: Some(forward.clause().to_owned()),
        remedy: None,
    }
}
