//! What is stored for one path, in detail.

use std::collections::HashMap;

use actix_web::http::header::HeaderName;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::words::{lifetime_name, lifetime_words, words};
use crate::{
    cache::{Entry, KeyVariants},
    config::Config,
    mask::{hidden, shown_value},
    policy::{Audience, Identity, Interpretation, Policy, Reason, Time, interpret},
};

/// The most responses that are shown.
const MAX_SHOWN: usize = 200;

/// What is stored for one path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The responses, at most 200.
    pub answers: Vec<ShownAnswer>,
    /// How many more are stored.
    pub more: u64,
    /// How many identities have responses of their own for this path.
    #[serde(default)]
    pub identities: u64,
}

/// One stored response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownAnswer {
    /// Path and query, secrets masked.
    pub path: String,
    /// The Host; `None` unless the Host of the client is forwarded.
    pub host: Option<String>,
    /// The origin of its route; `None` if that is the first one.
    #[serde(default)]
    pub origin: Option<String>,
    /// The method of the requests it is served for.
    pub method: String,
    /// The status.
    pub status: u16,
    /// `recorded` if it is only served offline, `imported` if it came from a file; `None` if neither is the case.
    #[serde(default)]
    pub provenance: Option<String>,
    /// The requests it is served for: `everybody`, `own` (one identity), or `no-credentials` (all without credentials).
    pub audience: String,
    /// The identity it belongs to; `None` if it is not `own`. Identities are numbered from 1 in the order in which they are
    /// shown. The number says nothing about the credentials, and another listing may number them differently.
    #[serde(default)]
    pub identity: Option<u64>,
    /// The stored headers as received, secrets masked, without Age.
    pub fields: Vec<Field>,
    /// The request headers that select it (Vary), with their values.
    pub selected_by: Vec<Field>,
    /// When its headers were received or last validated (RFC 3339).
    pub stored_at: String,
    /// RFC 9111, 4.2.3, in seconds.
    pub age_seconds: u64,
    /// Its lifetime in seconds; `None` if it is fresh until it is cleared.
    pub lifetime_seconds: Option<u64>,
    /// The source of the lifetime, a short name.
    pub lifetime_from: String,
    /// The source of the lifetime, in words.
    pub lifetime_why: String,
    /// Seconds for which it is still fresh, negative if it is stale; `None` if it is fresh until it is cleared.
    pub fresh_seconds: Option<i64>,
    /// When it became stale (RFC 3339); `None` if it is fresh.
    pub stale_since: Option<String>,
    /// The directives that apply under the policy in force.
    pub directives: Vec<String>,
    /// True if the directives are those of CDN-Cache-Control (RFC 9213).
    pub is_targeted: bool,
    /// What happens to it once it is stale.
    pub when_stale: String,
    /// The stored part, for a partial response; `None` for a complete one.
    pub part: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The size of its body, in bytes.
    pub body_bytes: u64,
    /// The memory it takes, in bytes, overhead included.
    pub memory_bytes: u64,
    /// Hits so far of all responses stored under the same key.
    pub hits: u64,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; `None` if it was not sent.
    pub value: Option<String>,
}

/// Describes the responses stored in `rows`.
pub fn show(rows: &[KeyVariants], config: &Config, now: Time) -> Shown {
    let all = rows
        .iter()
        .flat_map(|row| row.variants.iter().map(move |entry| (row, entry)));
    let mut identities = Identities::default();
    let mut answers = Vec::new();
    let mut more = 0;
    for (row, entry) in all {
        let identity = identities.number(row, entry);
        match answers.len() < MAX_SHOWN {
            true => answers.push(answer(row, entry, identity, config, now)),
            false => more += 1,
        }
    }
    Shown {
        answers,
        more,
        identities: identities.0.len() as u64,
    }
}

/// The identities that have responses of their own, each with its number.
#[derive(Default)]
struct Identities(HashMap<Identity, u64>);

impl Identities {
    /// The number of the identity that `entry` belongs to; `None` if it belongs to none.
    fn number(&mut self, row: &KeyVariants, entry: &Entry) -> Option<u64> {
        let identity = row
            .key
            .identity
            .filter(|_| entry.head().audience() == Audience::Partition)?;
        let next = self.0.len() as u64 + 1;
        Some(*self.0.entry(identity).or_insert(next))
    }
}

fn answer(
    row: &KeyVariants,
    entry: &Entry,
    identity: Option<u64>,
    config: &Config,
    now: Time,
) -> ShownAnswer {
    let target = row.key.resource.target();
    let policy = config.policy_for_key(target, row.key.resource.scope());
    let head = entry.head();
    let interpret = interpret(policy, head);
    let stale_for = head.ttl_seconds(now).filter(|_| !head.is_fresh(now));
    let stale_since = stale_for.map(|ttl| {
        let millis = ttl.unsigned_abs().saturating_mul(1000);
        Time::from_unix_millis(now.unix_millis().saturating_sub(millis))
    });
    ShownAnswer {
        path: hidden(target).into_owned(),
        host: row.key.resource.host().map(str::to_owned),
        origin: row.key.resource.origin().map(str::to_owned),
        method: method(row).to_owned(),
        status: head.status().as_u16(),
        provenance: head.provenance().name().map(str::to_owned),
        audience: match (head.audience(), identity) {
            (Audience::Everyone, _) => "everybody",
            (Audience::Partition, Some(_)) => "own",
            (Audience::Partition, None) => "no-credentials",
        }
        .to_owned(),
        identity,
        fields: fields(policy, entry),
        selected_by: selected_by(policy, entry),
        stored_at: rfc3339(head.received()),
        age_seconds: head.age_seconds(now),
        lifetime_seconds: interpret.lifetime_seconds,
        lifetime_from: lifetime_name(interpret.lifetime_from).to_owned(),
        lifetime_why: lifetime_words(interpret.lifetime_from).to_owned(),
        fresh_seconds: head.ttl_seconds(now),
        stale_since: stale_since.map(rfc3339),
        when_stale: when_stale(&interpret),
        directives: interpret.directives,
        is_targeted: interpret.is_targeted,
        part: head.content_range().map(|_| part(entry)),
        tags: head
            .tags()
            .map(|tag| String::from_utf8_lossy(tag).into_owned())
            .collect(),
        body_bytes: entry.body().len_bytes(),
        memory_bytes: entry.weight_bytes(),
        hits: row.hits,
    }
}

fn method(row: &KeyVariants) -> &'static str {
    match row.key.content {
        Some(_) => "POST",
        None => "GET",
    }
}

fn fields(policy: &Policy, entry: &Entry) -> Vec<Field> {
    let fields = entry.head().fields().iter();
    fields
        .filter_map(|(written, value)| {
            let name = HeaderName::from_bytes(written).ok()?;
            Some(Field {
                name: String::from_utf8_lossy(written).into_owned(),
                value: Some(shown_value(policy, &name, value)),
            })
        })
        .collect()
}

/// The request headers that select a variant.
pub(super) fn selected_by(policy: &Policy, entry: &Entry) -> Vec<Field> {
    let selection = entry.head().selection();
    selection
        .map(|(name, value)| Field {
            name: name.as_str().to_owned(),
            value: value.map(|value| shown_value(policy, name, value)),
        })
        .collect()
}

fn when_stale(interpret: &Interpretation) -> String {
    match interpret.never_stale {
        Some(Reason::NoCache) => format!("validated before every use: {}", words(Reason::NoCache)),
        Some(reason) => format!("never served without validation: {}", words(reason)),
        None => "validated before use; served without validation if the origin fails".to_owned(),
    }
}

fn part(entry: &Entry) -> String {
    format!("{} bytes of the full response", entry.body().len_bytes())
}

fn rfc3339(time: Time) -> String {
    let millis = i64::try_from(time.unix_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}
