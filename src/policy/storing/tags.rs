//! Tags of responses, by which they are purged together.
//!
//! They are separated by spaces in `Surrogate-Key` and by commas in `Cache-Tag`. Neither field is in an RFC.

use actix_web::http::header::HeaderName;

use crate::policy::{StoredHead, Time, freshness::lifetime::Lifetime, syntax::list::trim};

static SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

impl StoredHead {
    /// Its tags, unchanged.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        let spaced = self.received_texts(&SURROGATE_KEY);
        let spaced = spaced.flat_map(|line| line.split(|byte| matches!(byte, b' ' | b'\t')));
        let listed = self.received_texts(&CACHE_TAG);
        let listed = listed.flat_map(|line| line.split(|byte| *byte == b','));
        let tags = spaced.chain(listed).map(trim);
        tags.filter(|tag| !tag.is_empty())
    }

    /// The values of a field, also if Connection named it.
    fn received_texts(&self, name: &'static HeaderName) -> impl Iterator<Item = &[u8]> {
        let named = self.connection_fields().into_iter();
        let named = named.flat_map(|fields| fields.get_all(name));
        self.fields.get_all(name).chain(named)
    }

    /// A copy that is stale from now on, if it is not stale already. It is validated before its next use, or used where a
    /// stale response is allowed.
    #[must_use]
    pub fn expired(&self, now: Time) -> Self {
        let mut expired = self.clone();
        if self.is_fresh(now) {
            let millis = now.millis_since(self.received);
            expired.lifetime = Lifetime::SinceReceipt { millis }.into();
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{
        Mode,
        fixture::{NOW, later, stored},
    };

    #[test]
    fn tags_are_separated_by_spaces_or_commas() {
        let held = stored(
            Mode::Standard,
            &[
                ("surrogate-key", " a  b,c "),
                ("cache-tag", "d e ,, f"),
                ("x-tag", "g"),
            ],
        );
        let tags: Vec<_> = held.tags().map(String::from_utf8_lossy).collect();
        assert_eq!(tags, ["a", "b,c", "d e", "f"]);
    }

    #[test]
    fn an_expired_response_is_stale_from_then_on() {
        for field in ["max-age=60", "public"] {
            let held = stored(Mode::Standard, &[("cache-control", field)]);
            let expired = held.expired(later(10));
            assert!(held.is_fresh(later(11)));
            assert!(!expired.is_fresh(later(10)) && !expired.is_fresh(later(11)));
            assert_eq!(expired.ttl_seconds(later(12)), Some(-2));
            assert!(expired.expired(later(20)).ttl_seconds(later(12)) == Some(-2));
            assert!(!held.expired(NOW).is_fresh(NOW));
        }
    }

    #[test]
    fn a_doubted_guess_is_stale_for_requests_that_began_before_the_doubt() {
        let held = stored(Mode::Standard, &[]);
        let doubted = held.doubted(later(10));
        assert!(held.is_fresh(later(9)));
        assert!(!doubted.is_fresh(later(9)) && !doubted.is_fresh(later(10)));
        assert_eq!(doubted.staleness_millis(later(9)), 0);
        assert_eq!(doubted.staleness_millis(later(12)), 2000);
    }
}
