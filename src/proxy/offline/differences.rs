//! How a stored key differs from that of a request, for people.

use actix_web::http::Method;

use crate::{
    cache::{Entry, Key},
    mask::{cut, hidden, shown_value},
    policy::{Audience, IdentityParts, RequestContent, StoredHead},
    proxy::request::forwarded::ForwardedRequest,
};

/// The most differences of parameters that are named.
const MAX_PARAMETERS: usize = 5;
/// A value is shown up to this length, in characters.
const MAX_VALUE_CHARS: usize = 80;

/// A key, and what is stored for it.
pub(super) struct NearestKey<'a> {
    pub(super) key: &'a Key,
    pub(super) variants: &'a [&'a Entry],
}

/// The differences between `stored` and the key of `asked`, each in a few words.
pub(super) fn differences(asked: &ForwardedRequest, stored: &NearestKey<'_>) -> Vec<String> {
    let mut found = Vec::new();
    method_or_body(asked, stored.key, &mut found);
    let (one, other) = (&stored.key.resource, &asked.key.resource);
    if one.host() != other.host() {
        found.push(format!(
            "Host (stored {}, requested {})",
            quoted(one.host()),
            quoted(other.host())
        ));
    }
    if one.scope() != other.scope() {
        found.push("the route, and so the origin".to_owned());
    }
    targets(one.target(), other.target(), &mut found);
    credentials(asked, stored, &mut found);
    if found.is_empty() {
        variants(asked, stored, &mut found);
    }
    found
}

fn method_or_body(asked: &ForwardedRequest, stored: &Key, found: &mut Vec<String>) {
    let is_read = matches!(asked.method, Method::GET | Method::HEAD);
    match (asked.content, stored.content) {
        (RequestContent::Keyed, Some(content)) if asked.key.content != Some(content) => {
            found.push("the body of the POST".to_owned());
        }
        (RequestContent::Keyed, Some(_)) => {}
        (RequestContent::Keyed, None) => {
            found.push("method (stored GET, requested POST)".to_owned())
        }
        (_, Some(_)) if is_read => {
            found.push(format!("method (stored POST, requested {})", asked.method))
        }
        _ => {}
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(
        || "none".to_owned(),
        |text| format!("{:?}", cut(text, MAX_VALUE_CHARS)),
    )
}

/// Path and query parameters.
fn targets(stored: &str, asked: &str, found: &mut Vec<String>) {
    let split = |target| str::split_once(target, '?').unwrap_or((target, ""));
    let ((stored_path, stored_query), (asked_path, asked_query)) = (split(stored), split(asked));
    if stored_path != asked_path {
        found.push(format!("path (requested {})", quoted(Some(asked_path))));
    }
    let mut different = parameters(stored_query, asked_query);
    if different.is_empty() && stored_query != asked_query {
        different.push("the order of the query parameters".to_owned());
    }
    let more = different.len().saturating_sub(MAX_PARAMETERS);
    different.truncate(MAX_PARAMETERS);
    found.append(&mut different);
    if more > 0 {
        found.push(format!("{more} more query parameters"));
    }
}

/// The query parameters that differ. Those of one name are compared in their order.
fn parameters(stored: &str, asked: &str) -> Vec<String> {
    let list = |query: &str| -> Vec<(String, String)> {
        let parts = query.split('&').filter(|part| !part.is_empty());
        let named = parts.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        });
        let mut named: Vec<_> = named.collect();
        // The sort keeps the order of equal names.
        named.sort_by(|one, other| one.0.cmp(&other.0));
        named
    };
    let (stored, asked) = (list(stored), list(asked));
    let (mut one, mut other) = (stored.iter().peekable(), asked.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (one.peek(), other.peek()) {
            (Some(stored), Some(asked)) => stored.0.cmp(&asked.0),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return found,
        };
        let stored = if order.is_le() { one.next() } else { None };
        let asked = if order.is_ge() { other.next() } else { None };
        match (stored, asked) {
            (Some(stored), Some(asked)) if stored.1 == asked.1 => {}
            (stored, asked) => found.push(parameter(stored, asked)),
        }
    }
}

fn parameter(stored: Option<&(String, String)>, asked: Option<&(String, String)>) -> String {
    let name = stored.or(asked).map_or("", |(name, _)| name.as_str());
    let shown = |parameter: Option<&(String, String)>| match parameter {
        None => "none".to_owned(),
        Some((name, value)) => {
            let whole = format!("/?{name}={value}");
            let shown = hidden(&whole);
            let value = shown.split_once('=').map_or("", |(_, value)| value);
            quoted(Some(value))
        }
    };
    let name = cut(name, MAX_VALUE_CHARS);
    match (shown(stored), shown(asked)) {
        (stored, asked) if stored == asked => {
            format!("query parameter {name} (its values are hidden)")
        }
        (stored, asked) => format!("query parameter {name} (stored {stored}, requested {asked})"),
    }
}

/// The identity, if what is stored is for one alone.
fn credentials(asked: &ForwardedRequest, stored: &NearestKey<'_>, found: &mut Vec<String>) {
    let is_for_everyone = |entry: &&Entry| entry.head().audience() == Audience::Everyone;
    if stored.key.identity == asked.key.identity || stored.variants.iter().any(is_for_everyone) {
        return;
    }
    let named = || {
        let IdentityParts { headers, cookies } = asked.identity_parts();
        let cookies = cookies.iter().map(|name| format!("cookie {name}"));
        let parts: Vec<String> = headers.iter().cloned().chain(cookies).collect();
        parts.join(", ")
    };
    found.push(match (stored.key.identity, asked.key.identity) {
        (Some(_), Some(_)) => format!(
            "credentials (it is stored for another user than that of this request's {})",
            named()
        ),
        (Some(_), None) => {
            "credentials (it is stored for a request with some, this one has none)".to_owned()
        }
        (None, _) => format!(
            "credentials (it is stored for requests without any, this one has {})",
            named()
        ),
    });
}

/// The headers that Vary names, or that only a part is stored.
fn variants(asked: &ForwardedRequest, stored: &NearestKey<'_>, found: &mut Vec<String>) {
    let policy = asked.policy();
    let heads = stored.variants.iter().map(|entry| &**entry.head());
    for head in heads {
        let difference = match head.mismatch(policy.mode, &asked.headers) {
            Some((name, value)) => {
                let lines = asked.headers.get_all(name).map(|line| line.as_bytes());
                let lines: Vec<&[u8]> = lines.collect();
                let sent = (!lines.is_empty()).then(|| lines.join(&b", "[..]));
                let shown = |value: Option<&[u8]>| {
                    let shown = value.map(|value| shown_value(policy, name, value));
                    quoted(shown.as_deref())
                };
                format!(
                    "header {name}, which Vary names (stored {}, requested {})",
                    shown(value),
                    shown(sent.as_deref())
                )
            }
            None => match part(head) {
                Some(part) => part,
                None => continue,
            },
        };
        if !found.contains(&difference) && found.len() < MAX_PARAMETERS {
            found.push(difference);
        }
    }
}

fn part(head: &StoredHead) -> Option<String> {
    let range = head.content_range()?.range;
    Some(format!(
        "the range (only the bytes {}-{} are stored)",
        range.first, range.last
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_compared_by_name() {
        for (stored, asked, expected) in [
            ("/a", "/a", &[][..]),
            (
                "/a?limit=10",
                "/a?limit=20",
                &["query parameter limit (stored \"10\", requested \"20\")"],
            ),
            (
                "/a?b=1&a=1",
                "/a?c=1&a=1",
                &[
                    "query parameter b (stored \"1\", requested none)",
                    "query parameter c (stored none, requested \"1\")",
                ],
            ),
            (
                "/a?a=1&a=2",
                "/a?a=1&a=3",
                &["query parameter a (stored \"2\", requested \"3\")"],
            ),
            ("/a?a&b", "/a?b&a", &["the order of the query parameters"]),
            (
                "/a?token=x",
                "/a?token=y",
                &["query parameter token (its values are hidden)"],
            ),
            (
                "/a?token=x",
                "/a",
                &["query parameter token (stored \"***\", requested none)"],
            ),
            ("/b", "/a", &["path (requested \"/a\")"]),
        ] {
            let mut found = Vec::new();
            targets(stored, asked, &mut found);
            assert_eq!(found, expected, "{stored} {asked}");
        }
    }

    #[test]
    fn many_differences_are_summed() {
        let mut found = Vec::new();
        targets("/a?a=1&b=1&c=1&d=1&e=1&f=1&g=1", "/a", &mut found);
        assert_eq!(found.len(), MAX_PARAMETERS + 1);
        assert_eq!(found[MAX_PARAMETERS], "2 more query parameters");
    }
}
