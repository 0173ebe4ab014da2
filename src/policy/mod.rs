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

mod age;
mod audience;
mod globs;
mod lifetime;
mod origin_directives;
mod patterns;
mod selector;

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

pub use audience::Audience;
pub use body_key::BodyKey;
pub use conditions::{ResponseForm, not_modified_fields, response_form};
pub use decide::{Decision, Reuse, Sharing, decide, is_collapsible};
pub use fields::Fields;
pub use forward::{Forward, ForwardReason};
pub use globs::Globs;
pub use identity::{ForwardedCookie, Identity, IdentitySecret, forwarded_cookie, is_credential};
pub use interpretation::{Interpretation, SelectingField, interpret};
pub use invalidation::{TargetUri, invalidates};
pub use lifetime::LifetimeSource;
pub use mode::{ClientDirectives, Mode, Policy};
pub use partial::{Combination, MissingBytes, combine, rest_request_fields};
pub use patterns::Patterns;
pub use query::QueryOrder;
pub use range::{ByteRange, ContentRange};
pub use reason::Reason;
pub use request::{CLIENT_CONDITIONS, Request, RequestContent};
pub use rule::{Rule, RuleIndex, Rules, covers};
pub use stale::{OriginFailure, may_serve_stale};
pub use stored::StoredHead;
pub use storing::{BodyEnd, Response, admit, admit_post, is_event_stream};
pub use time::Time;
pub use validating::{
    HeadUpdate, freshen_by_head, merged_head, outdates_stored, revalidated, revalidation_matches,
    validators,
};

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
