//! What is stored for one path, in detail.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::{
    shown_value,
    words::{lifetime_name, lifetime_words, words},
};
use crate::{
    cache::{Entry, KeyVariants},
    config::Config,
    mask::hidden,
    policy::{Audience, Identity, Interpretation, Policy, Reason, Time, interpret},
};

/// Responses that are shown at the most.
const MAX_SHOWN: usize = 200;

/// What is stored for one path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The responses, up to a bound.
    pub answers: Vec<ShownAnswer>,
    /// How many more there are.
    pub more: u64,
    /// How many identities have answers of their own here.
    #[serde(default)]
    pub identities: u64,
}

/// One stored response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownAnswer {
    /// Path and query, secrets masked.
    pub path: String,
    /// The Host, where clients choose it.
    pub host: Option<String>,
    /// The method that asks for it.
    pub method: String,
    /// The status.
    pub status: u16,
    /// Who is answered from it: `everybody`, `own` (one identity), or `no-credentials` (all who have none).
    pub audience: String,
    /// Whose own it is: identities are numbered in the order in which they are shown, from 1. The number says nothing
    /// about the credentials, and in another listing it may be another one's.
    #[serde(default)]
    pub identity: Option<u64>,
    /// The stored fields as received, secrets masked, without Age.
    pub fields: Vec<Field>,
    /// The fields that select it, as the request had them.
    pub selected_by: Vec<Field>,
    /// When its head was received or last validated, in the form of RFC 3339.
    pub stored_at: String,
    /// RFC 9111, 4.2.3, in seconds.
    pub age_seconds: u64,
    /// How long it is fresh in all, in seconds; none: until it is cleared.
    pub lifetime_seconds: Option<u64>,
    /// What that goes back to, a short name.
    pub lifetime_from: String,
    /// The same in words.
    pub lifetime_why: String,
    /// Seconds for which it is still fresh, negative when stale; none: until it is cleared.
    pub fresh_seconds: Option<i64>,
    /// Since when it is stale, in the form of RFC 3339.
    pub stale_since: Option<String>,
    /// The directives that count under the policy in force.
    pub directives: Vec<String>,
    /// Whether they stand in CDN-Cache-Control (RFC 9213).
    pub is_targeted: bool,
    /// What becomes of it when it is stale.
    pub when_stale: String,
    /// Which part of the whole it is, where it is one.
    pub part: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its body, in bytes.
    pub body_bytes: u64,
    /// What it holds in memory, in bytes, overhead included.
    pub memory_bytes: u64,
    /// Answers so far from all that is stored under the same key.
    pub hits: u64,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; none: it was not sent.
    pub value: Option<String>,
}

/// Shows what is stored in these rows.
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

/// Those who have answers of their own, each with its number.
#[derive(Default)]
struct Identities(HashMap<Identity, u64>);

impl Identities {
    /// The number of the one whose own this is.
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
    let rule = config.rules.index_for(target);
    let rule = rule.and_then(|index| config.rules.get(index));
    let policy = rule.map_or(&config.policy, |rule| &rule.policy);
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
        method: method(row).to_owned(),
        status: head.status().as_u16(),
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
        .map(|(name, value)| Field {
            name: name.as_str().to_owned(),
            value: Some(shown_value(policy, &name, value.as_bytes())),
        })
        .collect()
}

/// The fields that select a variant.
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
        Some(reason) => format!("never used without validation: {}", words(reason)),
        None => "validated before it is used; used if the origin fails".to_owned(),
    }
}

fn part(entry: &Entry) -> String {
    format!("{} bytes of it", entry.body().len_bytes())
}

fn rfc3339(time: Time) -> String {
    let millis = i64::try_from(time.unix_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}
