//! What would become of a request now, and why.

use serde::{Deserialize, Serialize};

use super::{
    Field,
    show::selected_by,
    shown_value,
    words::{remedy, seconds, words},
};
use crate::{
    cache::Entry,
    error::ProxyError,
    mask::hidden,
    policy::{Answer, Decision, Forward, Missing, Reason, Share, Stored, Time, Use, Why},
    proxy::Considered,
};

/// What would become of a request, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// One sentence that says it.
    pub summary: String,
    /// `hit`, `stale-hit`, `validate`, `extend`, `forward`, `join` or `refuse`.
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
    pub forward: Option<Cause>,
    /// What keeps a stored response from being used, or the answer from being stored.
    pub reason: Option<Cause>,
    /// How many responses are stored that this request may see.
    pub stored: u64,
    /// The one that is meant.
    pub variant: Option<Variant>,
    /// Stored ones for other requests, and by which field.
    pub mismatches: Vec<Mismatch>,
    /// Why the last answer was not stored.
    pub last_refusal: Option<Refusal>,
    /// What is stored nearest to the path, where nothing is for it.
    pub nearest: Option<Nearest>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
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

/// A stored response that is for another request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The field that differs.
    pub field: String,
    /// What it was when the response was stored; none: it was not sent.
    pub stored: Option<String>,
    /// What it is now.
    pub asked: Option<String>,
}

/// An answer that was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub cause: Cause,
    /// How long ago it was asked for, in seconds.
    pub seconds_ago: u64,
}

/// The nearest that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Its path, secrets masked.
    pub path: String,
    /// The first byte that differs, counted from 1; none: it is the same path, for somebody else or another body.
    pub differs_at: Option<usize>,
    /// What is stored there; none: it ends.
    pub stored: Option<String>,
    /// What was asked there; none: it ends.
    pub asked: Option<String>,
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
pub fn why(considered: &Considered, nearest: Option<&str>, now: Time) -> Explanation {
    let rule = considered.rule();
    let told = tell(considered, now);
    let cause = |reason| cause(considered, reason);
    let refusal = considered.known.refused;
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
        forward: told.why.map(|why| forward_cause(why.forward)),
        reason: told.reason.map(cause),
        stored: considered.visible().count() as u64,
        variant: told.index.and_then(|index| variant(considered, index, now)),
        mismatches: mismatches(considered),
        last_refusal: refusal.map(|(reason, since)| Refusal {
            cause: cause(reason),
            seconds_ago: now.millis_since(since) / 1000,
        }),
        nearest: None,
        notes: told.notes,
    };
    if considered.visible().next().is_none() {
        explanation.nearest = nearest.and_then(|stored| compared(stored, considered.target()));
    }
    explanation
}

/// What a decision comes to.
#[derive(Default)]
struct Told {
    summary: String,
    outcome: &'static str,
    why: Option<Why>,
    reason: Option<Reason>,
    index: Option<usize>,
    notes: Vec<String>,
}

fn tell(considered: &Considered, now: Time) -> Told {
    let head = |index| considered.variant(index).map(|entry| &**entry.head());
    match considered.decision {
        Decision::Serve { index, use_ } => Told {
            summary: head(index).map_or_else(String::new, |head| serving(head, use_, now)),
            outcome: if use_ == Use::Fresh { "hit" } else { "stale-hit" },
            index: Some(index),
            notes: answer_note(considered, index).into_iter().collect(),
            ..Told::default()
        },
        Decision::Revalidate { index, why } => Told {
            summary: head(index).map_or_else(String::new, |head| validating(head, why, now)),
            outcome: "validate",
            why: Some(why),
            reason: why.reason,
            index: Some(index),
            ..Told::default()
        },
        Decision::Extend { index, missing } => Told {
            summary: match missing {
                Missing::From(first) => format!(
                    "Would be completed: a part is stored, and the origin is asked for the rest from byte {first} on."
                ),
                Missing::Asked => {
                    "Would be forwarded: a part is stored, and not the one that is asked for.".to_owned()
                }
            },
            outcome: "extend",
            why: Some(Forward::Partial.into()),
            index: Some(index),
            ..Told::default()
        },
        Decision::Fetch { why, share } => fetching(considered, why, share, now),
        Decision::Unsatisfiable => Told {
            summary: "Would be refused (504): the client says only-if-cached, and nothing stored can be used."
                .to_owned(),
            outcome: "refuse",
            notes: vec!["RFC 9111, 5.2.1.7".to_owned()],
            ..Told::default()
        },
    }
}

fn serving(head: &Stored, use_: Use, now: Time) -> String {
    let how = match (use_, head.ttl_seconds(now)) {
        (Use::Fresh, None) => "fresh until it is cleared".to_owned(),
        (Use::Fresh, Some(left)) => format!("fresh for another {}", seconds(left.unsigned_abs())),
        (Use::StaleWhileRevalidate, _) => format!(
            "stale {}, and validated in the background (stale-while-revalidate: RFC 5861, 3)",
            since(head, now)
        ),
        (Use::MaxStale, _) => format!(
            "stale {}, which the client's max-stale takes (RFC 9111, 5.2.1.2)",
            since(head, now)
        ),
    };
    format!("Would be answered from the cache (HIT): {how}.")
}

fn since(head: &Stored, now: Time) -> String {
    let ttl = head.ttl_seconds(now).unwrap_or_default();
    format!("since {}", seconds(ttl.unsigned_abs()))
}

fn validating(head: &Stored, why: Why, now: Time) -> String {
    let because = match why.reason {
        Some(reason) => words(reason).to_owned(),
        None => format!("it is stale {}", since(head, now)),
    };
    let how = match head.etag().or(head.last_modified()) {
        Some(_) => "Would be validated with the origin",
        None => "Would be fetched again, for it has no validator",
    };
    format!("{how}: {because}.")
}

fn fetching(considered: &Considered, why: Why, share: Share, now: Time) -> Told {
    let mut told = Told {
        outcome: "forward",
        why: Some(why),
        reason: why.reason,
        ..Told::default()
    };
    let because = match why.forward {
        Forward::UriMiss => "nothing is stored for it".to_owned(),
        Forward::VaryMiss => format!("it is stored, but for another {}", other_field(considered)),
        Forward::Method => format!("{} is not answered from the cache", considered.method()),
        Forward::Bypass => "it is not one that the cache answers".to_owned(),
        Forward::Partial => "only another part of it is stored".to_owned(),
        Forward::Stale => "what is stored is stale".to_owned(),
        Forward::Request | Forward::Miss => why
            .reason
            .map_or("nothing stored can be used", words)
            .to_owned(),
    };
    match share {
        Share::Pass(reason) if why.forward != Forward::Method => {
            told.notes
                .push(format!("its answer would not be stored: {}", words(reason)));
            told.reason = told.reason.or(Some(reason));
        }
        Share::Lead if considered.known.is_fetching => told.outcome = "join",
        Share::Lead
            if considered
                .known
                .alone_until
                .is_some_and(|until| now < until) =>
        {
            told.notes.push(
                "it would not wait for other requests: the last answer could not be shared"
                    .to_owned(),
            );
        }
        Share::Pass(_) | Share::Lead | Share::Alone => {}
    }
    if considered.is_stored_by_body() {
        told.notes.push(
            "answers to POSTs of this path are stored by what they ask with; the body is not looked at here".to_owned(),
        );
    }
    told.summary = match told.outcome {
        "join" => format!("Would wait for a fetch that is under way: {because}."),
        _ => format!("Would be forwarded: {because}."),
    };
    told
}

/// What a client gets that asks under conditions or for a part.
fn answer_note(considered: &Considered, index: usize) -> Option<String> {
    match considered.answer(considered.variant(index)?) {
        Answer::Full => None,
        Answer::NotModified => Some("it would be 304: the client has it already".to_owned()),
        Answer::Partial(_) | Answer::Several(_) => {
            Some("it would be 206: the part that is asked for".to_owned())
        }
        Answer::RangeNotSatisfiable => Some("it would be 416: it has no such range".to_owned()),
    }
}

fn other_field(considered: &Considered) -> String {
    let mismatches = mismatches(considered);
    let mut names: Vec<String> = mismatches
        .into_iter()
        .map(|one| title(&one.field))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// `accept-encoding` as people write it.
fn title(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        format!(
            "{}{}",
            first.map_or_else(String::new, String::from),
            letters.as_str()
        )
    });
    words.collect::<Vec<_>>().join("-")
}

fn mismatches(considered: &Considered) -> Vec<Mismatch> {
    let policy = considered.policy();
    let heads = considered.visible().map(Entry::head);
    heads
        .filter_map(|head| head.mismatch(policy.mode, considered.fields()))
        .map(|(name, stored)| {
            let asked: Vec<&[u8]> = considered
                .fields()
                .get_all(name)
                .map(|line| line.as_bytes())
                .collect();
            Mismatch {
                field: name.as_str().to_owned(),
                stored: stored.map(|value| shown_value(policy, name, value)),
                asked: (!asked.is_empty())
                    .then(|| shown_value(policy, name, &asked.join(&b", "[..]))),
            }
        })
        .collect()
}

fn variant(considered: &Considered, index: usize, now: Time) -> Option<Variant> {
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

fn cause(considered: &Considered, reason: Reason) -> Cause {
    let mode = considered.policy().mode;
    Cause {
        name: reason.as_str().to_owned(),
        words: words(reason).to_owned(),
        clause: reason.clause().map(str::to_owned),
        remedy: remedy(reason, mode, considered.rule().as_deref()),
    }
}

fn forward_cause(forward: Forward) -> Cause {
    let words = match forward {
        Forward::Bypass => "not to be handled by the cache",
        Forward::Method => "the method requires it",
        Forward::UriMiss => "nothing is stored for the target",
        Forward::VaryMiss => "something is, for other selecting fields",
        Forward::Miss => "nothing is that could be used",
        Forward::Request => "something fresh is; the request does not allow its use",
        Forward::Stale => "something is; it may not be used without validation",
        Forward::Partial => "a part is",
    };
    Cause {
        name: forward.as_str().to_owned(),
        words: words.to_owned(),
        clause: Some(forward.clause().to_owned()),
        remedy: None,
    }
}

/// Where two targets differ. Values that are masked are not compared.
fn compared(stored: &str, asked: &str) -> Option<Nearest> {
    let (stored, asked) = (hidden(stored), hidden(asked));
    let letters = stored.char_indices().zip(asked.chars());
    let same = letters.take_while(|((_, one), other)| one == other);
    let common = same
        .last()
        .map_or(0, |((at, letter), _)| at + letter.len_utf8());
    let letter = |text: &str| text[common..].chars().next().map(String::from);
    let (of_stored, of_asked) = (letter(&stored), letter(&asked));
    let differs_at = (of_stored.is_some() || of_asked.is_some()).then_some(common + 1);
    // That both begin with a slash says nothing.
    (common > 1 || stored.len() == common).then(|| Nearest {
        differs_at,
        stored: of_stored,
        asked: of_asked,
        path: stored.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_targets_are_compared_up_to_the_first_byte_that_differs() {
        let differ = |stored, asked| {
            let nearest = compared(stored, asked)?;
            Some((nearest.differs_at, nearest.stored, nearest.asked))
        };
        let letter = |letter: &str| Some(letter.to_owned());
        assert_eq!(
            differ("/products/1b", "/products/1B"),
            Some((Some(12), letter("b"), letter("B")))
        );
        assert_eq!(differ("/a", "/a?b"), Some((Some(3), None, letter("?"))));
        assert_eq!(differ("/a/", "/a"), Some((Some(3), letter("/"), None)));
        assert_eq!(differ("/a", "/b"), None);
        assert_eq!(differ("/a", "/a"), Some((None, None, None)));
        // Not even one letter of a secret is told.
        assert_eq!(
            differ("/a?token=abc", "/a?token=abd"),
            Some((None, None, None))
        );
    }

    #[test]
    fn names_are_written_as_people_write_them() {
        assert_eq!(title("accept-encoding"), "Accept-Encoding");
    }
}
