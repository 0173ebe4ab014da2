//! The known differences: where they may occur, and which side the RFC supports. "We" is this policy, "they" is the crate
//! http-cache-semantics.

use super::{
    Question::{self, *},
    exchanges::{ODD_DATES, YEAR_AGO},
    *,
};

/// A difference: its name, the questions that it affects, and the exchanges in which it may occur.
type Difference = (
    &'static str,
    &'static [Question],
    fn(&OracleExchange) -> bool,
);

/// Questions about lifetime and reuse, which most differences affect together.
const LASTING: &[Question] = &[Ttl, Reuse];

pub(super) const DIFFERENCES: &[Difference] = &[
    ("unknown_status", &[Storable], unknown_status),
    ("must_understand", &[Storable], must_understand),
    ("qualified_private", &[Storable], qualified_private),
    (
        "conflicting_duplicates",
        &[Storable, Reuse],
        conflicting_duplicates,
    ),
    ("of_no_use", &[Storable], of_no_use),
    ("vary_star", &[Storable], vary_star),
    ("text_inside_quotes", &[Storable], text_inside_quotes),
    ("upper_case", &[Storable, Ttl, Reuse], upper_case),
    ("no_cache", &[Ttl], no_cache),
    ("qualified_no_cache", LASTING, qualified_no_cache),
    ("proxy_revalidate", LASTING, proxy_revalidate),
    ("set_cookie", LASTING, set_cookie),
    ("response_pragma", LASTING, response_pragma),
    (
        "lifetime_without_argument",
        LASTING,
        lifetime_without_argument,
    ),
    ("sign_or_space", LASTING, sign_or_space),
    ("beyond_2_to_the_31", LASTING, beyond_2_to_the_31),
    ("repeated_expires", LASTING, repeated_expires),
    ("other_date_forms", &[Ttl, Age, Reuse], other_date_forms),
    ("heuristic_beyond_a_day", LASTING, heuristic_beyond_a_day),
    ("apparent_age", &[Ttl, Age, Reuse], apparent_age),
    ("age_list", &[Ttl, Age, Reuse], age_list),
    ("while_revalidating", &[Reuse], while_revalidating),
    (
        "pragma_beside_cache_control",
        &[Reuse],
        pragma_beside_cache_control,
    ),
    ("request_max_age_of_zero", &[Reuse], request_max_age_of_zero),
    (
        "malformed_request_argument",
        &[Reuse],
        malformed_request_argument,
    ),
    ("request_upper_case", &[Reuse], request_upper_case),
    ("max_stale_to_the_second", &[Reuse], max_stale_to_the_second),
    ("max_stale_forbidden", &[Reuse], max_stale_forbidden),
    (
        "conditions_of_the_origin",
        &[Reuse, Conditions],
        conditions_of_the_origin,
    ),
    ("vary_by_meaning", &[Reuse, Conditions], vary_by_meaning),
    (
        "conditions_of_the_client",
        &[Conditions],
        conditions_of_the_client,
    ),
    (
        "no_store_is_not_validated",
        &[Conditions],
        no_store_is_not_validated,
    ),
    ("only_if_cached", &[Conditions], only_if_cached),
    (
        "without_the_validator_held",
        &[NotModified],
        without_the_validator_held,
    ),
    (
        "a_304_nobody_asked_for",
        &[NotModified],
        a_304_nobody_asked_for,
    ),
    (
        "a_tag_beside_the_date_held",
        &[NotModified],
        a_tag_beside_the_date_held,
    ),
    ("new_fields_of_a_304", &[Freshened], new_fields_of_a_304),
    ("old_age_and_date", &[Freshened], old_age_and_date),
    ("several_lines", &[Freshened], several_lines),
];

/// RFC 9111, 3: a final status is enough, unless `must-understand` asks for more. They want to know it always.
fn unknown_status(exchange: &OracleExchange) -> bool {
    matches!(exchange.status, 299 | 400 | 403 | 500 | 503)
}

/// RFC 9111, 5.2.2.3: with it a cache that understands the status should ignore `no-store`. They do not know it.
fn must_understand(exchange: &OracleExchange) -> bool {
    exchange.response.says("must-understand") && exchange.response.says("no-store")
}

/// RFC 9111, 5.2.2.7: with names it concerns those fields only. They take it for the whole, as many caches do.
fn qualified_private(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .directives()
        .any(|it| matches!(it, ("private", Some(_))))
}

/// RFC 9111, 4.2.1: of two the first counts, or the answer is stale. They take the first, and pretend there was a
/// `must-revalidate`; so they share what was made for credentials (3.5), where we do not. To them what is quoted twice
/// is a conflict too.
fn conflicting_duplicates(exchange: &OracleExchange) -> bool {
    let directives: Vec<_> = exchange.response.directives().collect();
    let is_quoted = |value: &Option<&str>| value.is_some_and(|value| value.starts_with('"'));
    let conflicts = directives
        .iter()
        .enumerate()
        .any(|(position, (name, value))| {
            directives[..position]
                .iter()
                .any(|(other, earlier)| name == other && (value != earlier || is_quoted(value)))
        });
    conflicts && (exchange.request.has("authorization") || exchange.second.says("max-stale"))
}

/// RFC 9111, 3: nothing has to be stored. We leave what could neither be used nor validated; they let it be stored, and
/// never use it (unless they misread its lifetime).
fn of_no_use(exchange: &OracleExchange) -> bool {
    let is_unused = exchange
        .oracle()
        .time_to_live(system_time(exchange.at))
        .is_zero();
    let is_misread = lifetime_without_argument(exchange)
        || sign_or_space(exchange)
        || other_date_forms(exchange)
        || repeated_expires(exchange);
    let has_validator = exchange.response.has("etag") || exchange.response.has("last-modified");
    !has_validator && exchange.admit().is_err() && (is_unused || is_misread)
}

/// RFC 9111, 4.1: it never matches, so we do not store it; they do, and never use it.
fn vary_star(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .members("vary")
        .any(|member| member == "*")
}

/// RFC 9110, 5.6.1 and 5.6.4: a comma inside quotes parts nothing. They part there.
fn text_inside_quotes(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .members("cache-control")
        .any(|member| member.contains("\"a, "))
}

/// RFC 9111, 5.2: names of directives are case-insensitive. To them they are not.
fn upper_case(exchange: &OracleExchange) -> bool {
    let mut members = exchange
        .response
        .members("cache-control")
        .chain(exchange.request.members("cache-control"));
    members.any(|member| member.contains(|letter: char| letter.is_ascii_uppercase()))
}

/// RFC 9111, 5.2.2.4: not to be used without validation; both hold to it ([`Reuse`]), they by giving it no lifetime.
fn no_cache(exchange: &OracleExchange) -> bool {
    exchange.response.says("no-cache")
}

/// RFC 9111, 5.2.2.4: with names it concerns those fields only. They take it for the whole, as many caches do.
fn qualified_no_cache(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .directives()
        .any(|it| matches!(it, ("no-cache", Some(_))))
}

/// RFC 9111, 5.2.2.8: as `must-revalidate`, it counts once the answer is stale. They validate fresh ones too.
fn proxy_revalidate(exchange: &OracleExchange) -> bool {
    exchange.response.says("proxy-revalidate")
}

/// RFC 9111, 7.3: Set-Cookie does not inhibit caching. They think it unwise, unless it is `public`.
fn set_cookie(exchange: &OracleExchange) -> bool {
    exchange.response.has("set-cookie")
}

/// RFC 9111, 5.4: Pragma in responses means nothing. They read it where there is no Cache-Control.
fn response_pragma(exchange: &OracleExchange) -> bool {
    exchange.response.has("pragma") && !exchange.response.has("cache-control")
}

/// RFC 9111, 4.2.1: invalid freshness information is best taken for stale. They go on to the next lifetime.
fn lifetime_without_argument(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .directives()
        .any(|it| it == ("max-age", None))
}

/// RFC 9111, 1.2.2 and 5.2: delta-seconds have no sign, and no space stands before them. They read `+60` and ` 60`.
fn sign_or_space(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .directives()
        .any(|(_, value)| value.is_some_and(|it| it.starts_with(['+', ' '])))
}

/// RFC 9111, 1.2.2: a number beyond 2^31 counts as 2^31, or the greatest that can be represented. Theirs is 2^64.
fn beyond_2_to_the_31(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .directives()
        .any(|(_, value)| value.is_some_and(|it| it.len() > 10))
}

/// RFC 9111, 4.2.1: of two the first counts, or the answer is stale, which is what we make of it. They take the first.
fn repeated_expires(exchange: &OracleExchange) -> bool {
    exchange.response.lines("expires").count() > 1
}

/// RFC 9110, 5.6.7: all three forms have to be read; nothing else has. They read those of mails: only the first one,
/// but other zones and dates without a day of the week too.
fn other_date_forms(exchange: &OracleExchange) -> bool {
    let mut dates = ["expires", "date", "last-modified"]
        .into_iter()
        .flat_map(|name| exchange.response.members(name));
    dates.any(|date| ODD_DATES.contains(&date))
}

/// RFC 9111, 4.2.2: there is no bound; ours is a day.
fn heuristic_beyond_a_day(exchange: &OracleExchange) -> bool {
    let response = &exchange.response;
    let is_explicit =
        response.has("expires") || response.says("max-age") || response.says("s-maxage");
    !is_explicit
        && response
            .members("last-modified")
            .any(|date| date == YEAR_AGO)
}

/// RFC 9111, 4.2.3: an answer is at least as old as its Date. To them only Age counts.
fn apparent_age(exchange: &OracleExchange) -> bool {
    let age = exchange.response.members("age").next();
    let age: u64 = age.and_then(|age| age.parse().ok()).unwrap_or(0);
    let date = exchange.response.members("date").next();
    let date = date.and_then(|date| http_date(date.as_bytes(), exchange.at));
    date.is_some_and(|date| exchange.at.millis_since(date) > age * 1000)
}

/// RFC 9111, 5.1: of a list the first member counts. They ignore it whole.
fn age_list(exchange: &OracleExchange) -> bool {
    exchange
        .response
        .members("age")
        .any(|age| age.contains(','))
}

/// RFC 5861, 3: it may be used at once. They do not know it.
fn while_revalidating(exchange: &OracleExchange) -> bool {
    let decision = exchange.admit().map(|stored| exchange.decide(&stored));
    let reuse = crate::policy::Reuse::StaleWhileRevalidate;
    matches!(decision, Ok(Decision::Serve { reuse: found, .. }) if found == reuse)
}

/// RFC 9111, 5.4: Pragma counts where there is no Cache-Control. To them it always does.
fn pragma_beside_cache_control(exchange: &OracleExchange) -> bool {
    exchange.second.has("pragma") && exchange.second.has("cache-control")
}

/// RFC 9111, 5.2.1.1: an age of zero is not greater than zero, so they may use it. We take it for the wish to validate
/// that it is, which is always allowed.
fn request_max_age_of_zero(exchange: &OracleExchange) -> bool {
    let is_new = exchange
        .admit()
        .is_ok_and(|stored| stored.age_seconds(exchange.second_at()) == 0);
    is_new
        && exchange
            .second
            .directives()
            .any(|it| it == ("max-age", Some("0")))
}

/// RFC 9111, 5.2.1: says nothing about it. We take zero, the careful reading; they pass over `max-age`, and give
/// `max-stale` no bound.
fn malformed_request_argument(exchange: &OracleExchange) -> bool {
    let mut directives = exchange.second.directives();
    directives.any(|it| matches!(it, ("max-age" | "max-stale", Some("x"))))
}

/// RFC 9111, 5.2: as [`upper_case`].
fn request_upper_case(exchange: &OracleExchange) -> bool {
    let mut members = exchange.second.members("cache-control");
    members.any(|member| member.contains(|letter: char| letter.is_ascii_uppercase()))
}

/// RFC 9111, 5.2.1.2: stale by no more than so many seconds. They want it to be less.
fn max_stale_to_the_second(exchange: &OracleExchange) -> bool {
    let ttl = exchange
        .admit()
        .map(|stored| stored.ttl_seconds(exchange.second_at()));
    ttl == Ok(Some(-30)) && exchange.second.says("max-stale")
}

/// RFC 9111, 4.2.4, 5.2.2.4 and 5.2.2.10: `no-cache` and, in a shared cache, `s-maxage` forbid stale answers. They know
/// that of `must-revalidate` only.
fn max_stale_forbidden(exchange: &OracleExchange) -> bool {
    let response = &exchange.response;
    exchange.second.says("max-stale") && (response.says("no-cache") || response.says("s-maxage"))
}

/// RFC 9110, 13.2.1: If-Match is for the origin to evaluate. They do not look at it.
fn conditions_of_the_origin(exchange: &OracleExchange) -> bool {
    exchange.second.has("if-match")
}

/// RFC 9111, 4.1: white space that means nothing may be normalised. They compare bytes.
fn vary_by_meaning(exchange: &OracleExchange) -> bool {
    let value = |fields: &FieldLines| fields.members("accept-language").next();
    let (one, other) = (value(&exchange.request), value(&exchange.second));
    let is_selected = exchange
        .response
        .members("vary")
        .any(|name| name == "accept-language");
    is_selected
        && one.is_some()
        && other.is_some()
        && one != other
        && one != Some("fr")
        && other != Some("fr")
}

/// RFC 9111, 4.3.1: the client's conditions may go along with ours. They add ours to them; we send ours alone, and then
/// answer the client's from what is stored.
fn conditions_of_the_client(exchange: &OracleExchange) -> bool {
    exchange.second.has("if-none-match") || exchange.second.has("if-modified-since")
}

/// RFC 9111, 5.2.1.5: no part of the answer may be stored, so a validation would bring us nothing. They validate.
fn no_store_is_not_validated(exchange: &OracleExchange) -> bool {
    exchange.second.says("no-store")
}

/// RFC 9111, 5.2.1.7: 504. They do not know it.
fn only_if_cached(exchange: &OracleExchange) -> bool {
    exchange.second.says("only-if-cached")
}

/// RFC 9111, 4.3.4: to the letter a 304 has to repeat the validator (RFC 9110, 15.4.5 has the origin send its entity
/// tag), and they are right. We sent no other condition than those of the stored answer, so a 304 that names nothing
/// else can only mean it, and we do not fetch anew what is held.
fn without_the_validator_held(exchange: &OracleExchange) -> bool {
    let (held, update) = (&exchange.response, &exchange.update);
    let both_dated = held.has("last-modified") && update.has("last-modified");
    let is_validated = held.has("etag") || held.has("last-modified");
    !update.has("etag") && is_validated && !both_dated
}

/// RFC 9111, 4.3.4: to the letter it updates an answer without validator, too. But no condition was sent, so we trust
/// it with nothing and ask again.
fn a_304_nobody_asked_for(exchange: &OracleExchange) -> bool {
    let has_validator = |fields: &FieldLines| fields.has("etag") || fields.has("last-modified");
    !has_validator(&exchange.response) && !has_validator(&exchange.update)
}

/// RFC 9111, 4.3.4: a Last-Modified may be a strong validator itself (RFC 9110, 8.8.2.2), and then the same one is
/// enough. They want the entity tag; we do not ask how strong the date is, and go further than the RFC where it is weak.
fn a_tag_beside_the_date_held(exchange: &OracleExchange) -> bool {
    let (held, update) = (&exchange.response, &exchange.update);
    let date = |fields: &FieldLines| fields.members("last-modified").next();
    let has_tag = update.has("etag") && !held.has("etag");
    has_tag && date(held).is_some() && date(held) == date(update)
}

/// RFC 9111, 3.2: a 304 adds the fields that are not held. They take over only those that are.
fn new_fields_of_a_304(exchange: &OracleExchange) -> bool {
    exchange
        .update
        .0
        .iter()
        .any(|(name, _)| !exchange.response.has(name))
}

/// RFC 9111, 4.2.3: the age is that of the 304. Where it has none they go on with the Age and Date of the old answer.
fn old_age_and_date(exchange: &OracleExchange) -> bool {
    ["age", "date"]
        .iter()
        .any(|name| exchange.response.has(name) && !exchange.update.has(name))
}

/// RFC 9111, 3.2: all lines of a name go and come. They keep one of each.
fn several_lines(exchange: &OracleExchange) -> bool {
    let lines = exchange.response.0.iter().chain(&exchange.update.0);
    let mut names: Vec<&str> = lines.map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| {
        pair[0] == pair[1]
            && (exchange.response.lines(pair[0]).count() > 1
                || exchange.update.lines(pair[0]).count() > 1)
    })
}
