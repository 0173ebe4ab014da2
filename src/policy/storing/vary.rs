//! RFC 9111, 4.1: Vary, and which stored responses match a request.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use actix_web::http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_ORIGIN,
    CONTENT_ENCODING, CONTENT_LANGUAGE, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};

use crate::policy::{
    Mode, Reason, ResponseHeaders, StoredHead,
    mode::{Codings, Languages},
    storing::selector::Selector,
    syntax::list::{members, trim},
};

/// The selecting fields of a response with their values in the request, ordered by name.
///
/// `request_id` is a field that has another value in each request. Fails with [`Reason::VaryStar`] if no request can match.
pub(in crate::policy) fn selectors(
    mode: Mode,
    (request, request_id): (&HeaderMap, Option<&HeaderName>),
    response: &ResponseHeaders,
) -> Result<Box<[Selector]>, Reason> {
    let mut names = Vec::new();
    for member in response.get_all(&VARY).flat_map(members) {
        match HeaderName::from_bytes(member) {
            Ok(name) if name.as_str() != "*" && Some(&name) != request_id => {
                names.push(name);
            }
            // RFC 9111, 4.1: `*` never matches. Neither does a member that is not a field name, nor a field that has another
            // value in each request.
            _ if mode.obeys_vary_star() => return Err(Reason::VaryStar),
            _ => {}
        }
    }
    if mode.codings() == Codings::Select && is_coded(response) {
        names.push(ACCEPT_ENCODING);
    }
    if is_for_site_of(request, response) {
        names.push(ORIGIN);
    }
    if names.is_empty() {
        return Ok(Box::default());
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Ok(names
        .into_iter()
        .map(|name| Selector {
            value: request
                .contains_key(&name)
                .then(|| normal_value(&name, request)),
            name,
        })
        .collect())
}

/// True if the response has a content coding (RFC 9110, 8.4).
fn is_coded(response: &ResponseHeaders) -> bool {
    response
        .get_all(&CONTENT_ENCODING)
        .flat_map(members)
        .any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// True if the response names the site of the request as the one whose pages may read it (the Fetch standard, 3.2.3). Pages
/// of other sites may not read it then, so it is for that site even if Vary does not say so.
fn is_for_site_of(request: &HeaderMap, response: &ResponseHeaders) -> bool {
    let site = request.get(ORIGIN).map(HeaderValue::as_bytes);
    site.is_some() && response.get(&ACCESS_CONTROL_ALLOW_ORIGIN) == site
}

/// True if both name the same fields.
pub(in crate::policy) fn same_names(one: &[Selector], other: &[Selector]) -> bool {
    one.iter()
        .map(|selector| &selector.name)
        .eq(other.iter().map(|selector| &selector.name))
}

/// RFC 9111, 4.1: true if all fields that Vary names are equal to those of the original request, or equivalent.
pub(in crate::policy) fn matches(mode: Mode, stored: &StoredHead, request: &HeaderMap) -> bool {
    let mut selectors = stored.selectors.iter();
    selectors.all(|selector| selects(mode, stored, selector, request))
}

/// Which variant of `stored` the request asks for: a number that is equal for requests whose fields that Vary names are
/// equal. `None` if there is no such field.
pub fn variant(stored: &StoredHead, request: &HeaderMap) -> Option<u64> {
    if stored.selectors.is_empty() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    for Selector { name, .. } in &stored.selectors {
        let is_sent = request.contains_key(name);
        let value = is_sent.then(|| normal_value(name, request));
        (name.as_str(), value).hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// The first selecting field in which the request differs, with the value that is stored. `None` if all match.
pub(in crate::policy) fn mismatch<'s>(
    mode: Mode,
    stored: &'s StoredHead,
    request: &HeaderMap,
) -> Option<(&'s HeaderName, Option<&'s [u8]>)> {
    let mut selectors = stored.selectors.iter();
    let selector = selectors.find(|selector| !selects(mode, stored, selector, request))?;
    Some((&selector.name, selector.value.as_deref()))
}

fn selects(mode: Mode, stored: &StoredHead, selector: &Selector, request: &HeaderMap) -> bool {
    let lines = request.get_all(&selector.name);
    let is_sent = lines.clone().next().is_some();
    match &selector.value {
        None => !is_sent,
        Some(_) if !is_sent => false,
        Some(value) => {
            is_normal_form(&selector.name, value, lines.clone())
                || selector.name == ACCEPT_LANGUAGE
                    && mode.languages() == Languages::Negotiated
                    && (is_permutation(value, lines.clone())
                        || is_best_language(stored.fields.get(&CONTENT_LANGUAGE), lines))
        }
    }
}

/// How a value is normalized.
#[derive(Clone, Copy, PartialEq)]
enum NormalForm {
    /// White space around commas and empty members are removed.
    List,
    /// All white space is removed, and letters become lower case.
    Negotiation,
}

fn form(name: &HeaderName) -> NormalForm {
    match *name {
        ACCEPT | ACCEPT_CHARSET | ACCEPT_ENCODING | ACCEPT_LANGUAGE => NormalForm::Negotiation,
        _ => NormalForm::List,
    }
}

fn normal_value(name: &HeaderName, headers: &HeaderMap) -> Box<[u8]> {
    normal_bytes(form(name), headers.get_all(name)).collect()
}

/// Compares without building the normal form, so that a fresh hit does not allocate.
fn is_normal_form<'h>(
    name: &HeaderName,
    normal: &[u8],
    lines: impl Iterator<Item = &'h HeaderValue>,
) -> bool {
    let form = form(name);
    let mut rest = normal;
    let mut is_first = true;
    for member in lines.flat_map(|line| members(line.as_bytes())) {
        let begun = match is_first {
            true => Some(rest),
            false => rest.strip_prefix(b","),
        };
        match begun.and_then(|begun| rest_after_member(form, begun, member)) {
            Some(behind) => rest = behind,
            None => return false,
        }
        is_first = false;
    }
    rest.is_empty()
}

/// The rest of `normal` after `member`. `None` if it does not begin with it.
fn rest_after_member<'n>(form: NormalForm, normal: &'n [u8], member: &[u8]) -> Option<&'n [u8]> {
    if form == NormalForm::List {
        return normal.strip_prefix(member);
    }
    normal_member(form, member).try_fold(normal, |rest, byte| rest.strip_prefix(&[byte]))
}

/// All members of all lines, separated by commas.
fn normal_bytes<'h>(
    form: NormalForm,
    lines: impl Iterator<Item = &'h HeaderValue>,
) -> impl Iterator<Item = u8> {
    lines
        .flat_map(|line| members(line.as_bytes()))
        .enumerate()
        .flat_map(move |(index, member)| {
            let comma = (index > 0).then_some(b',');
            comma.into_iter().chain(normal_member(form, member))
        })
}

fn normal_member(form: NormalForm, member: &[u8]) -> impl Iterator<Item = u8> {
    member
        .iter()
        .filter(move |byte| form == NormalForm::List || !matches!(byte, b' ' | b'\t'))
        .map(move |byte| match form {
            NormalForm::List => *byte,
            NormalForm::Negotiation => byte.to_ascii_lowercase(),
        })
}

/// True for the same members in another order: the weight counts, not the position.
fn is_permutation<'h>(normal: &[u8], lines: impl Iterator<Item = &'h HeaderValue> + Clone) -> bool {
    let asked = || lines.clone().flat_map(|line| members(line.as_bytes()));
    let same = |stored: &[u8], asked: &[u8]| {
        normal_member(NormalForm::Negotiation, asked).eq(stored.iter().copied())
    };
    members(normal).count() == asked().count()
        && members(normal).all(|stored| asked().any(|member| same(stored, member)))
        && asked().all(|member| members(normal).any(|stored| same(stored, member)))
}

/// RFC 9110, 12.5.4: true if the stored language is the one that the new request prefers.
fn is_best_language<'h>(
    content_language: Option<&[u8]>,
    lines: impl Iterator<Item = &'h HeaderValue>,
) -> bool {
    let Some(stored) = content_language else {
        return false;
    };
    let mut best: Option<(&[u8], u16)> = None;
    for member in lines.flat_map(|line| members(line.as_bytes())) {
        let (range, weight) = language_range(member);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((range, weight));
        }
    }
    best.is_some_and(|(range, _)| trim(stored).eq_ignore_ascii_case(range))
}

/// A language range and its weight in thousandths. 0 if the weight is invalid.
fn language_range(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|&byte| byte == b';').map(trim);
    let range = parts.next().unwrap_or_default();
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => weight_thousandths(parameter).unwrap_or(0),
    };
    (range, weight)
}

/// RFC 9110, 12.4.2: the weight in `q=0.5`. `None` if it is invalid.
fn weight_thousandths(parameter: &[u8]) -> Option<u16> {
    let value = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole, b'.', fraction @ ..] => (whole, fraction),
        [whole] => (whole, &[][..]),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(0, |sum, position| {
        sum * 10
            + fraction
                .get(position)
                .map_or(0, |digit| u16::from(digit - b'0'))
    });
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_1_requests_for_the_same_variant_have_the_same_number() {
        const VARY: Lines<'_> = &[("vary", "accept-language, x-a")];
        let held = Exchange::new(Mode::Standard, VARY).admit().unwrap();
        let number = |request| variant(&held, &headers(request)).unwrap();
        let german = number(&[("accept-language", "de, en"), ("x-b", "1")]);
        assert_eq!(german, number(&[("accept-language", "de,en")]));
        for other in [
            &[][..] as Lines<'_>,
            &[("accept-language", "")],
            &[("accept-language", "en, de")],
            &[("accept-language", "de, en"), ("x-a", "1")],
        ] {
            assert_ne!(german, number(other), "{other:?}");
        }
        let plain = Exchange::new(Mode::Standard, &[]).admit().unwrap();
        assert_eq!(variant(&plain, &headers(&[("x-a", "1")])), None);
    }
    use crate::policy::fixture::{Exchange, Lines, headers};
    use proptest::prelude::*;

    fn fits(mode: Mode, response: Lines<'_>, first: Lines<'_>, second: Lines<'_>) -> bool {
        let held = Exchange::new(mode, response)
            .request(first)
            .admit()
            .unwrap();
        matches(mode, &held, &headers(second))
    }

    #[test]
    fn s4_1_selecting_fields_of_all_lines_and_members_match() {
        const VARY: Lines<'_> = &[
            ("vary", "x-a, X-B"),
            ("vary", "x-c"),
            ("cache-control", "max-age=9"),
        ];
        const ALL: Lines<'_> = &[("x-a", "1"), ("x-b", "2"), ("x-c", "3")];
        for (first, second, expected) in [
            (ALL, ALL, true),
            (ALL, &[("x-a", "1"), ("x-b", "2"), ("x-c", "4")][..], false),
            (ALL, &[("x-a", "1"), ("x-b", "2")], false),
            (&[], &[], true),
            (&[], &[("x-c", "")], false),
            (&[("x-a", "")], &[], false),
            (&[("x-d", "1")], &[("x-d", "2")], true),
        ] {
            for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
                assert_eq!(
                    fits(mode, VARY, first, second),
                    expected,
                    "{first:?} {second:?}"
                );
            }
        }
    }

    #[test]
    fn s4_1_a_response_for_one_site_varies_by_origin() {
        const FRESH: (&str, &str) = ("cache-control", "max-age=9");
        const NAMED: Lines<'_> = &[FRESH, ("access-control-allow-origin", "http://a.test")];
        const A: Lines<'_> = &[("origin", "http://a.test")];
        const B: Lines<'_> = &[("origin", "http://b.test")];
        for (response, first, second, expected) in [
            (NAMED, A, A, true),
            (NAMED, A, B, false),
            (NAMED, A, &[][..], false),
            // The origin names this site in whichever response.
            (NAMED, B, A, true),
            (NAMED, &[], B, true),
            (&[FRESH, ("access-control-allow-origin", "*")], A, B, true),
            (&[FRESH], A, B, true),
        ] {
            for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
                let found = fits(mode, response, first, second);
                assert_eq!(found, expected, "{response:?} {first:?} {second:?}");
            }
        }
    }

    #[test]
    fn s4_1_only_always_stores_with_vary_star() {
        for vary in [
            &[("vary", "*")][..] as Lines<'_>,
            &[("vary", "x-a, *")],
            &[("vary", "x-a"), ("vary", "*")],
            &[("vary", "no name")],
        ] {
            for mode in [Mode::Standard, Mode::Strict] {
                let exchange = Exchange::new(mode, vary);
                let selected = selectors(mode, (&headers(&[]), None), &headers(exchange.response));
                assert_eq!(selected.err(), Some(Reason::VaryStar), "{vary:?}");
            }
            assert!(
                Exchange::new(Mode::Always, vary).admit().is_ok(),
                "{vary:?}"
            );
        }
        let id = HeaderName::from_static("x-request-id");
        let varied = headers(&[("vary", "x-a, X-Request-Id")]);
        let request = headers(&[("x-request-id", "1")]);
        let names = |mode| {
            let selected = selectors(mode, (&request, Some(&id)), &varied)?;
            Ok(selected
                .iter()
                .map(|it| it.name.to_string())
                .collect::<Vec<_>>())
        };
        assert_eq!(names(Mode::Standard), Err(Reason::VaryStar));
        assert_eq!(names(Mode::Always), Ok(vec!["x-a".to_owned()]));
        assert!(!fits(
            Mode::Always,
            &[("vary", "*, x-a")],
            &[],
            &[("x-a", "1")]
        ));
    }

    #[test]
    fn s4_1_normalisation() {
        for (name, one, other, expected) in [
            ("x-a", "a,b", " a ,\tb,", true),
            ("x-a", "a,b", "b,a", false),
            ("x-a", "a", "A", false),
            ("x-a", "\"a, b\"", "\"a,b\"", false),
            ("accept-encoding", "gzip, BR", "GZip,br", true),
            ("accept-encoding", "gzip;q=0.5", "gzip; q=0.5", true),
            ("accept-encoding", "gzip", "gzip, br", false),
            ("accept-language", "en, de", "de, en", false),
        ] {
            let vary = [("vary", name)];
            let (one, other) = ([(name, one)], [(name, other)]);
            assert_eq!(
                fits(Mode::Standard, &vary, &one, &other),
                expected,
                "{one:?} {other:?}"
            );
        }
        let lines: Lines<'_> = &[("x-a", "a"), ("x-a", "b")];
        assert!(fits(
            Mode::Standard,
            &[("vary", "x-a")],
            lines,
            &[("x-a", "a, b")]
        ));
    }

    #[test]
    fn s4_1_strict_negotiates_accept_language() {
        const RESPONSE: Lines<'_> = &[
            ("vary", "accept-language"),
            ("cache-control", "max-age=9"),
            ("content-language", "de"),
        ];
        for (other, expected) in [
            ("de, en;q=0.5", true),
            ("en;q=0.5, DE", true),
            ("en;q=0.5,de,fr;q=0.1", true),
            ("fr;q=0.9, de;q=0.95", true),
            ("fr, de;q=0.95", false),
            ("de;q=x, fr;q=0.1", false),
            ("de;q=0", false),
            ("de;q=1.001, en;q=0.2", false),
            ("*", false),
            ("", false),
        ] {
            let second = [("accept-language", other)];
            let fits = |mode| {
                fits(
                    mode,
                    RESPONSE,
                    &[("accept-language", "de, en;q=0.5")],
                    &second,
                )
            };
            assert_eq!(fits(Mode::Strict), expected, "{other}");
            assert_eq!(fits(Mode::Standard), other == "de, en;q=0.5", "{other}");
        }
    }

    #[test]
    fn s4_1_variants_are_the_same_when_names_values_and_partition_are() {
        let held = |vary, value, identity| {
            let response = [("vary", vary)];
            let request = [("x-a", value)];
            let mut exchange = Exchange::new(Mode::Standard, &response).request(&request);
            exchange.identity = identity;
            exchange.admit().unwrap()
        };
        let one = held("x-a", "1", None);
        assert!(one.same_variant(&held("X-A, x-a", "1", None)));
        assert!(!one.same_variant(&held("x-a", "2", None)));
        assert!(!one.same_variant(&held("x-a, x-b", "1", None)));
        let own = Some(crate::policy::fixture::identity(1));
        assert!(!one.same_variant(&held("x-a", "1", own)));
    }

    proptest! {
        #[test]
        fn any_value_matches_itself(name in "(x-a|accept|accept-language)", bytes: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                let mut lines = HeaderMap::new();
                lines.append(name.clone(), value);
                let normal = normal_value(&name, &lines);
                prop_assert!(is_normal_form(&name, &normal, lines.get_all(&name)));
                for other in [&normal[..normal.len() / 2], &[&normal[..], b","].concat()] {
                    let is_same = other == &normal[..];
                    prop_assert_eq!(is_normal_form(&name, other, lines.get_all(&name)), is_same);
                }
                let _ = is_permutation(&normal, lines.get_all(&name));
                let _ = is_best_language(lines.get(&name).map(HeaderValue::as_bytes), lines.get_all(&name));
            }
        }

        #[test]
        fn any_weight_is_at_most_one(text in "[qQ]=[0-9.]{0,6}") {
            prop_assert!(weight_thousandths(text.as_bytes()).is_none_or(|weight| weight <= 1000));
        }
    }
}
