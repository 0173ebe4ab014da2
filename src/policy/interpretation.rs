//! How a stored head is understood, for the commands that explain it.

use actix_web::http::header::{HeaderMap, HeaderName};

use super::{
    Mode, Policy, Reason, ResponseHeaders, StoredHead,
    directives::{
        origin_directives::{CacheKind, OriginDirectives},
        targeted,
    },
    freshness::{
        calculation::{lifetime, source},
        lifetime::{Lifetime, LifetimeSource},
    },
    storing::vary::mismatch,
};

/// How a stored head is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpretation {
    /// How long it is fresh, in seconds. `None`: until cleared.
    pub lifetime_seconds: Option<u64>,
    /// Where the lifetime comes from.
    pub lifetime_from: LifetimeSource,
    /// The directives that are obeyed, with their values.
    pub directives: Vec<String>,
    /// True if the directives come from a targeted field (RFC 9213), which replaces Cache-Control and Expires.
    pub is_targeted: bool,
    /// The directive that forbids stale use. `None` if there is none.
    pub never_stale: Option<Reason>,
}

/// How `stored` is understood under `policy`.
pub fn interpret(policy: &Policy, stored: &StoredHead) -> Interpretation {
    let mut headers: ResponseHeaders = stored.fields().iter().collect();
    if let Some(named) = stored.connection_fields() {
        headers.replace(named.iter());
    }
    let origin = policy.mode.obey_origin(OriginDirectives::of(&headers));
    let cache = match stored.partition() {
        Some(_) => CacheKind::Private,
        None => CacheKind::Shared,
    };
    let (status, received) = (stored.status(), stored.received());
    let would_be = lifetime(policy, &origin, cache, status, &headers, received);
    Interpretation {
        lifetime_seconds: match stored.lifetime.get() {
            Lifetime::Age { millis } | Lifetime::SinceReceipt { millis } => Some(millis / 1000),
            Lifetime::UntilCleared => None,
        },
        lifetime_from: match would_be == Ok(stored.lifetime.get()) {
            true => source(policy, &origin, cache, status, &headers, received),
            false => LifetimeSource::Set,
        },
        directives: directives(&origin),
        is_targeted: policy.mode != Mode::Always && targeted::directives(&headers).is_some(),
        never_stale: stored.never_stale,
    }
}

fn directives(origin: &OriginDirectives<'_>) -> Vec<String> {
    let sent = &origin.directives;
    let flags = [
        ("no-cache", sent.no_cache),
        ("must-revalidate", sent.must_revalidate),
        ("proxy-revalidate", sent.proxy_revalidate),
        ("must-understand", sent.must_understand),
        ("private", sent.private),
        ("public", sent.public),
    ];
    let values = [
        ("s-maxage", sent.s_maxage),
        ("max-age", sent.max_age),
        ("stale-while-revalidate", sent.stale_while_revalidate),
        ("stale-if-error", sent.stale_if_error),
    ];
    let flags = flags.into_iter().filter(|(_, is_said)| *is_said);
    let values = values
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    flags
        .map(|(name, _)| name.to_owned())
        .chain(values.map(|(name, value)| format!("{name}={value}")))
        .collect()
}

/// A field that Vary names: its name, and its value in normal form. `None`: the request did not have the field.
pub type SelectingField<'s> = (&'s HeaderName, Option<&'s [u8]>);

impl StoredHead {
    /// The fields that select this response (RFC 9111, 4.1), with the values of the original request.
    pub fn selection(&self) -> impl Iterator<Item = SelectingField<'_>> {
        let selectors = self.selectors.iter();
        selectors.map(|selector| (selector.name(), selector.value()))
    }

    /// The first field in which a request with `fields` differs from the original request. `None` if it matches.
    pub fn mismatch(&self, mode: Mode, fields: &HeaderMap) -> Option<SelectingField<'_>> {
        mismatch(mode, self, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{Lines, NOW, headers, policy, stored};

    #[test]
    fn each_lifetime_names_its_source() {
        for (mode, response, expected, seconds) in [
            (
                Mode::Standard,
                &[("cache-control", "max-age=5, s-maxage=7")][..] as Lines<'_>,
                LifetimeSource::SMaxage,
                Some(7),
            ),
            (
                Mode::Standard,
                &[("cache-control", "max-age=5")],
                LifetimeSource::MaxAge,
                Some(5),
            ),
            (
                Mode::Standard,
                &[("expires", "Mon, 23 Nov 2026 03:30:10 GMT")],
                LifetimeSource::Expires,
                Some(10),
            ),
            (
                Mode::Strict,
                &[("last-modified", "Mon, 23 Nov 2026 02:30:00 GMT")],
                LifetimeSource::Heuristic,
                Some(360),
            ),
            (Mode::Standard, &[], LifetimeSource::UntilCleared, None),
            (
                Mode::Always,
                &[("cache-control", "max-age=5")],
                LifetimeSource::UntilCleared,
                None,
            ),
        ] {
            let interpret = interpret(&policy(mode), &stored(mode, response));
            assert_eq!(interpret.lifetime_from, expected, "{response:?}");
            assert_eq!(interpret.lifetime_seconds, seconds, "{response:?}");
        }
        let expired = stored(Mode::Standard, &[]).expired(NOW);
        let interpret = interpret(&policy(Mode::Standard), &expired);
        assert_eq!(interpret.lifetime_from, LifetimeSource::Set);
    }

    #[test]
    fn only_obeyed_directives_are_listed() {
        let response = [(
            "cache-control",
            "max-age=5, must-revalidate, x=y, stale-if-error=9",
        )];
        let sent = |mode| interpret(&policy(mode), &stored(mode, &response)).directives;
        assert_eq!(
            sent(Mode::Standard),
            ["must-revalidate", "max-age=5", "stale-if-error=9"]
        );
        assert!(sent(Mode::Always).is_empty());
    }

    #[test]
    fn a_variant_names_the_field_that_does_not_match() {
        let held = stored(Mode::Standard, &[("vary", "accept-language, x-a")]);
        let asked = headers(&[("x-a", "1")]);
        let (name, value) = held.mismatch(Mode::Standard, &asked).unwrap();
        assert_eq!((name.as_str(), value), ("x-a", None));
        assert_eq!(held.mismatch(Mode::Standard, &HeaderMap::new()), None);
    }
}
