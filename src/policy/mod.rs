//! What HTTP allows a cache to do: RFC 9111, one file a section.
//!
//! Pure functions over values: no IO, no clock, no logging, no async. The current time is an argument. Nothing here
//! fails or panics on input from the network: input that cannot be parsed has a defined meaning too.
//!
//! A request goes through [`decide`]. A response from the origin goes through [`admit`], or, after a validation,
//! through [`revalidated`]. A response that is served from the cache takes the form that [`response_form`] says.
//!
//! | file or folder | RFC | contents |
//! |---|---|---|
//! | `mode` | | [`Policy`], and every difference between the three modes |
//! | `request` | | [`Request`]: what the policy needs to know of a request |
//! | `decide` | 9111, 4 | [`decide`]: serve, revalidate or fetch |
//! | `offline` | | [`decide_offline`]: the same while the origin is not contacted |
//! | `forward`, `reason` | 9211 | why a request goes to the origin; why a response is not stored or not reused |
//! | `remedy` | | what would change that |
//! | `validating` | 9111, 4.3 | [`validators`], [`revalidated`], [`freshen_by_head`] |
//! | `identity` | | partitions by credentials; cookies that are ignored |
//! | `interpretation` | | how a stored head was understood, for the commands that explain it |
//! | `storing/` | 9111, 3, 4.1, 4.4 | [`admit`], [`admit_post`], [`StoredHead`], also as bytes; Vary; invalidation; tags |
//! | `freshness/` | 9111, 4.2; 5861 | age, lifetime, [`may_serve_stale`] |
//! | `ranges/` | 9110, 13 and 14; 9111, 3.3 and 3.4 | [`response_form`], byte ranges, [`combine`] |
//! | `directives/` | 9111, 5.2; 9213 | Cache-Control, `CDN-Cache-Control` |
//! | `rules/` | | [`Routes`] to origins, [`Rules`] for some paths, [`Patterns`] of names |
//! | `post/` | | [`BodyKey`] of a POST that only reads |
//! | `syntax/` | 9110, 5 | [`Time`], HTTP dates, lists, [`ResponseHeaders`], [`Fields`] |

mod decide;
mod directives;
mod forward;
mod freshness;
mod identity;
mod interpretation;
mod mode;
mod offline;
mod post;
mod ranges;
mod reason;
mod remedy;
mod request;
mod rules;
mod storing;
mod syntax;
mod validating;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod oracle;

pub use decide::{Decision, Reuse, Sharing, decide, is_collapsible, is_fetched_by_get};
pub use forward::{Forward, ForwardReason};
pub use freshness::{
    lifetime::LifetimeSource,
    stale::{OriginFailure, may_serve_stale},
};
pub use identity::{
    CredentialNames, ForwardedCookie, Identity, IdentityParts, IdentitySecret, forwarded_cookie,
    identifying_set_cookies,
};
pub use interpretation::{Interpretation, SelectingField, interpret};
pub use mode::{ClientDirectives, Mode, Policy};
pub use offline::{OfflineDecision, decide_offline};
pub use post::{body_key::BodyKey, errors::ErrorsScan, graphql::PersistedQueries};
pub use ranges::{
    byte_range::{ByteRange, ContentRange},
    conditions::{
        ResponseForm, make_not_modified, not_modified_fields, passed_form, response_form,
    },
    partial::{Combination, MissingBytes, combine, rest_request_fields},
};
pub use reason::Reason;
pub use remedy::Remedy;
pub use request::{CLIENT_CONDITIONS, Request, RequestContent, RequestFields, is_method_override};
pub use rules::{
    globs::Globs,
    patterns::Patterns,
    query::QueryOrder,
    route::{OriginIndex, PerOrigin, PerRoute, Route, RouteIndex, Routes},
    rule::{Rule, RuleIndex, Rules, covers},
};
pub use storing::{
    admit::{Response, admit, admit_post},
    audience::Audience,
    invalidation::{TargetUri, invalidates},
    live_stream::is_live_stream,
    provenance::Provenance,
    record::{import, record},
    stored_head::StoredHead,
    vary::variant,
};
pub use syntax::{
    date::imf_fixdate,
    fields::Fields,
    host::is_valid_host,
    response_headers::{ResponseHeaders, is_name, title_case},
    retry_after::retry_after,
    target::encoded_target,
    time::Time,
};
pub use validating::{
    HeadUpdate, MergedHead, freshen_by_head, outdates_stored, revalidated, revalidation_matches,
    validators,
};

#[cfg(test)]
mod tests {
    use actix_web::http::{Method, StatusCode};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{
        fixture::{NOW, headers, identity, later, policy},
        *,
    };

    const RESPONSE_NAMES: &[&str] = &[
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

    fn heads<T: fixture::OfLines + std::fmt::Debug>(
        names: &'static [&'static str],
    ) -> impl Strategy<Value = T> {
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
        fn no_exchange_panics_and_partitions_are_separate(
            mode in modes(),
            asked in heads(REQUEST_NAMES),
            response_headers in heads(RESPONSE_NAMES),
            update in heads(RESPONSE_NAMES),
            other in heads(RESPONSE_NAMES),
            status in 100_u16..600,
            seconds in 0_u64..100_000,
        ) {
            let policy = policy(mode);
            let secret = IdentitySecret::new();
            let own = secret.identity(&policy, &asked, &policy);
            let request = Request::new(&policy, &Method::GET, &asked, RequestContent::None, own);
            let response = Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers: &response_headers,
                connection_fields: None,
                request_time: NOW,
                response_time: later(1),
            };
            let Ok(stored) = admit(&policy, &request, &response) else { return Ok(()) };
            let now = later(seconds);
            let _ = decide(&policy, &request, [&stored].into_iter(), now);
            let _ = response_form(&request, &stored, Some(seconds));
            let _ = may_serve_stale(&policy, &request, &stored, OriginFailure::Unreachable, now);
            let response = Response { headers: &update, ..response };
            let _ = revalidation_matches(&stored, &response);
            let _ = revalidated(&policy, &request, &stored, &response);
            prop_assert_eq!(stored.is_fresh(now), stored.ttl_seconds(now).is_none_or(|ttl| ttl > 0));

            // A request of another identity only gets responses for everyone.
            let other = Request::new(&policy, &Method::GET, &other, RequestContent::None, Some(identity(9)));
            let decision = decide(&policy, &other, [&stored].into_iter(), now);
            if stored.audience() == Audience::Partition {
                let is_served = matches!(decision, Decision::Serve { .. } | Decision::Revalidate { .. });
                prop_assert!(!is_served, "{:?}", decision);
            }
        }
    }
}
