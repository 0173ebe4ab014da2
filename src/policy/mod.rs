//! What HTTP allows a cache to do: RFC 9111, one file a section.
//!
//! Pure functions over values: no IO, no clock, no logging, no async; nothing here fails or panics.
//! What came from the network is parsed totally: what cannot be understood has a meaning too.
//!
//! | file | RFC | what it answers |
//! |---|---|---|
//! | `mode` | | every difference between the three policies |
//! | `decide`, `forward` | 9111, 4 | what becomes of a request: [`decide`], and why it goes forward |
//! | `storing` | 9111, 3 | may an answer be kept: [`admit`], [`admit_post`] |
//! | `partial` | 9111, 3.3 and 3.4 | parts: what they answer, and how they become one: [`combine`] |
//! | `freshness`, `age` | 9111, 4.2 | how long, and how old |
//! | `selecting` | 9111, 4.1 | which variant: Vary |
//! | `validating` | 9111, 4.3 | [`validators`], [`revalidated`], [`freshen_by_head`] |
//! | `stale` | 9111, 4.2.4; 5861 | [`may_serve_stale`] |
//! | `invalidation` | 9111, 4.4 | [`invalidates`], [`TargetUri`] |
//! | `cache_control` | 9111, 5.2 | directives of both sides |
//! | `targeted` | 9213 | `CDN-Cache-Control` |
//! | `conditions`, `range` | 9110, 13 and 14 | the client's conditions and ranges: [`response_form`] |
//! | `identity` | | partitions by credentials, cookies that do not count |
//! | `time`, `date` | 9110, 5.6.7 | [`Time`], HTTP dates |
//! | `list` | 9110, 5.6.1 | comma-separated lists |
//! | `body_key`, `json`, `graphql` | | the body of a POST that is a retrieval: [`BodyKey`] |
//! | `interpretation` | | how a stored head was understood: [`interpret()`] |
//! | `tags` | | by which answers are purged together |
//! | `rule`, `query` | | what else holds for some paths: [`Rules`] |
//! | `request`, `stored`, `reason` | | the values all of them speak about |

use std::{collections::HashMap, fmt, time::Duration};

mod age;

mod body_key;
mod cache_control;
mod conditions;
mod date;
mod decide;
mod fields;
mod forward;
mod freshness;
mod graphql;
mod identity;
mod interpretation;
mod invalidation;
mod json;
mod list;
mod mode;
mod partial;
mod query;
mod range;
mod reason;
mod request;
mod rule;
mod selecting;
mod stale;
mod stored;
mod storing;
mod tags;
mod targeted;
mod time;

mod validating;

#[cfg(test)]
mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod oracle;

pub use body_key::BodyKey;
pub use conditions::{ResponseForm, not_modified_fields, response_form};
pub use decide::{Decision, MissingBytes, Reuse, Sharing, decide, is_collapsible};
pub use fields::Fields;
pub use forward::{Forward, ForwardReason};
pub use freshness::LifetimeSource;
pub use identity::{ForwardedCookie, Identity, IdentitySecret, forwarded_cookie, is_credential};
pub use interpretation::{Interpretation, SelectingField, interpret};
pub use invalidation::{TargetUri, invalidates};
pub use mode::Mode;
pub use partial::{Combination, combine, rest_request_fields};
pub use query::QueryOrder;
pub use range::{ByteRange, ContentRange};
pub use reason::Reason;
pub use request::{Request, RequestContent};
pub use rule::{Globs, Rule, RuleIndex, Rules, covers};
pub use stale::{OriginFailure, may_serve_stale};
pub use stored::{Audience, StoredHead};
pub use storing::{BodyEnd, Response, admit, admit_post, is_event_stream};
pub use time::Time;
pub use validating::{
    CLIENT_CONDITIONS, HeadUpdate, freshen_by_head, merged_head, outdates_stored, revalidated,
    revalidation_matches, validators,
};

/// What decides about storing and reuse.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far the origin's word counts.
    pub mode: Mode,
    /// Bounds the lifetime of what the origin says nothing about (all in `Always`); none: until cleared.
    pub ttl: Option<Duration>,
    /// Whether the client's Cache-Control and Pragma count, where the mode lets them.
    pub client_directives: ClientDirectives,
    /// How long past its lifetime a response may answer while the origin cannot be reached.
    pub max_stale: Duration,
    /// Names (patterns) of the fields that carry credentials beside Authorization and Cookie.
    pub identity_headers: Patterns,
    /// Names (patterns) of the only cookies that may tell who somebody is.
    pub identity_cookies: Patterns,
    /// Names (patterns) of the cookies that say nothing about who somebody is, whatever else they match.
    pub ignored_cookies: Patterns,
}

/// Whether a client's Cache-Control and Pragma count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    /// As far as the mode obeys them.
    #[default]
    Obeyed,
    /// Not at all: a client can neither ask for a new answer nor keep one from being stored.
    Ignored,
}

/// Patterns of names: `*` stands for any run of characters; letters compare without case.
#[derive(Clone)]
pub struct Patterns {
    patterns: Vec<wildmatch::WildMatch>,
    /// What the patterns say about the names that nearly every request has, looked up once.
    common: HashMap<&'static str, bool>,
}

/// Fields that browsers, programs and this proxy send.
const COMMON_NAMES: [&str; 28] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dnt",
    "host",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "range",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
];

impl Patterns {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Self {
            patterns: patterns
                .into_iter()
                .map(wildmatch::WildMatch::new_case_insensitive)
                .collect(),
            common: HashMap::new(),
        };
        let common = COMMON_NAMES.map(|name| (name, patterns.matches(name)));
        patterns.common = common.into();
        patterns
    }

    /// The patterns, as they were written.
    pub fn written(&self) -> Vec<String> {
        let patterns = self.patterns.iter();
        patterns.map(wildmatch::WildMatch::pattern).collect()
    }

    /// True when one of the patterns matches, be the name spelt with hyphens or with underscores.
    pub fn matches(&self, name: &str) -> bool {
        if let Some(matches) = self.common.get(name) {
            return *matches;
        }
        let matches = |name: &str| self.patterns.iter().any(|pattern| pattern.matches(name));
        matches(name) || (name.contains('_') && matches(&name.replace('_', "-")))
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::{Method, StatusCode, header::HeaderMap};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{
        fixture::{NOW, headers, identity, later, policy},
        *,
    };

    const REPLY_NAMES: &[&str] = &[
        "cache-control",
        "cdn-cache-control",
        "expires",
        "date",
        "age",
        "etag",
        "last-modified",
        "vary",
        "set-cookie",
        "pragma",
        "content-language",
        "x-a",
    ];
    const REQUEST_NAMES: &[&str] = &[
        "cache-control",
        "pragma",
        "range",
        "if-range",
        "if-none-match",
        "if-modified-since",
        "accept-language",
        "cookie",
        "authorization",
        "x-a",
    ];
    const VALUES: &[&str] = &[
        "max-age=60",
        "max-age=99999999999",
        "max-age=x",
        "public",
        "private",
        "no-cache",
        "no-store",
        "must-revalidate",
        "s-maxage=9",
        "stale-if-error=9",
        "max-stale",
        "stale-while-revalidate=99",
        "only-if-cached",
        "x-a",
        "accept-language",
        "*",
        "\"a\"",
        "W/\"a\"",
        "bytes=0-9",
        "bytes=-5",
        "Mon, 23 Nov 2026 03:20:00 GMT",
        "Mon, 23 Nov 2026 03:40:00 GMT",
        "7",
        "de;q=0.5",
        "de",
        "_ga=1",
    ];

    fn heads(names: &'static [&'static str]) -> impl Strategy<Value = HeaderMap> {
        let value = prop_oneof![9 => select(VALUES).prop_map(str::to_owned), 1 => "[ -~]{0,12}"];
        vec((select(names), vec(value, 1..4)), 0..6).prop_map(|lines| {
            let lines: Vec<(&str, String)> = lines
                .into_iter()
                .map(|(name, members)| (name, members.join(", ")))
                .collect();
            let lines: Vec<(&str, &str)> = lines
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            headers(&lines)
        })
    }

    fn modes() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Standard), Just(Mode::Strict), Just(Mode::Always)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_exchange_is_judged_without_panic_and_answers_its_own_request_alone(
            mode in modes(),
            asked in heads(REQUEST_NAMES),
            replied in heads(REPLY_NAMES),
            update in heads(REPLY_NAMES),
            status in 100_u16..600,
            seconds in 0_u64..100_000,
        ) {
            let policy = policy(mode);
            let secret = IdentitySecret::new();
            let own = secret.identity(&policy, &asked);
            let request = Request::new(&policy, &Method::GET, &asked, RequestContent::None, own);
            let reply = Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers: &replied,
                request_time: NOW,
                response_time: later(1),
                body_end: BodyEnd::Delimited,
            };
            let Ok(stored) = admit(&policy, &request, &reply) else { return Ok(()) };
            let now = later(seconds);
            let _ = decide(&policy, &request, [&stored].into_iter(), now);
            let _ = response_form(&request, &stored, Some(seconds));
            let _ = may_serve_stale(&policy, &request, &stored, OriginFailure::Unreachable, now);
            let reply = Response { headers: &update, ..reply };
            let _ = revalidation_matches(&stored, &reply);
            let _ = revalidated(&policy, &request, &stored, &reply);
            prop_assert_eq!(stored.is_fresh(now), stored.ttl_seconds(now).is_none_or(|ttl| ttl > 0));

            // Whoever else asks, and however: only what is everybody's answers him.
            let other = Request::new(&policy, &Method::GET, &update, RequestContent::None, Some(identity(9)));
            let decision = decide(&policy, &other, [&stored].into_iter(), now);
            if stored.audience() == Audience::Partition {
                let is_served = matches!(decision, Decision::Serve { .. } | Decision::Revalidate { .. });
                prop_assert!(!is_served, "{:?}", decision);
            }
        }
    }
}
