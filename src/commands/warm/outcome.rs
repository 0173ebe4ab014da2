//! The outcome of fetching one path.

use actix_web::http::{StatusCode, header::HeaderName};

use caching_proxy::policy::ResponseHeaders;

use super::retry_after::is_hit;

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The outcome of one path.
#[derive(Debug)]
pub(super) enum FetchOutcome {
    /// It was a hit.
    AlreadyStored { bytes: u64 },
    /// It came from the origin, and is stored now.
    StoredNow { bytes: u64 },
    /// It came from the origin and is not stored, for the reason with this short name.
    NotStored { bytes: u64, reason: String },
    /// There is no complete response, or its status is 400 or higher.
    Failed { status: Option<u16>, error: String },
    /// The proxy no longer accepts connections.
    Gone(String),
}

impl FetchOutcome {
    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::AlreadyStored { .. } | Self::StoredNow { .. })
    }

    /// The outcome of a path that is stored, and was fetched over the other scheme too, with this outcome.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (first, Self::AlreadyStored { .. }) => first,
            (Self::StoredNow { bytes }, Self::StoredNow { bytes: more }) => Self::StoredNow {
                bytes: bytes + more,
            },
            (_, other) => other,
        }
    }
}

/// The outcome of a complete response. Every status from 400 on is a failure, even if the response is cached: a listed page
/// is expected to exist.
pub(super) fn judge(status: StatusCode, headers: &ResponseHeaders, bytes: u64) -> FetchOutcome {
    if status.as_u16() >= 400 {
        return FetchOutcome::Failed {
            status: Some(status.as_u16()),
            error: in_words(status),
        };
    }
    if is_hit(headers) {
        return FetchOutcome::AlreadyStored { bytes };
    }
    // The proxy's own member is the last.
    let line = headers.get_all(&CACHE_STATUS).last();
    let Some(line) = line.and_then(|line| str::from_utf8(line).ok()) else {
        let reason = "unknown".to_owned();
        return FetchOutcome::NotStored { bytes, reason };
    };
    let mut words = line.split(';').map(str::trim);
    // A request that shared another's fetch is served only what that fetch stores.
    if words
        .clone()
        .any(|word| matches!(word, "stored" | "collapsed"))
    {
        return FetchOutcome::StoredNow { bytes };
    }
    match words.find_map(|word| word.strip_prefix("detail=")) {
        // Its head was sent before its body had arrived. These say why it was forwarded.
        None | Some("own-partition" | "related-change") => FetchOutcome::StoredNow { bytes },
        Some(reason) => FetchOutcome::NotStored {
            bytes,
            reason: reason.to_owned(),
        },
    }
}

pub(super) fn in_words(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", status.as_u16())
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, fields: &[(&'static str, &'static str)]) -> FetchOutcome {
        let mut headers = ResponseHeaders::new();
        let fields = fields.iter();
        headers.extend(fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        judge(StatusCode::from_u16(status).unwrap(), &headers, 7)
    }

    #[test]
    fn the_cache_status_of_the_proxy_is_used_and_not_that_of_other_caches() {
        let behind = ("cache-status", "other; hit; stored");
        let miss = ("x-cache", "MISS");
        let stored = (
            "cache-status",
            "caching-proxy; fwd=uri-miss; fwd-status=200; stored",
        );
        let not = (
            "cache-status",
            "caching-proxy; fwd=uri-miss; detail=no-store",
        );
        assert!(matches!(
            judged(200, &[behind, ("x-cache", "HIT")]),
            FetchOutcome::AlreadyStored { bytes: 7 }
        ));
        assert!(matches!(
            judged(301, &[behind, miss, stored]),
            FetchOutcome::StoredNow { bytes: 7 }
        ));
        assert!(
            matches!(judged(200, &[behind, miss, not]), FetchOutcome::NotStored { reason, .. } if reason == "no-store")
        );
        assert!(
            matches!(judged(200, &[miss]), FetchOutcome::NotStored { reason, .. } if reason == "unknown")
        );
        assert!(matches!(
            judged(404, &[("x-cache", "HIT")]),
            FetchOutcome::Failed {
                status: Some(404),
                ..
            }
        ));
    }

    #[test]
    fn a_path_is_stored_now_if_one_of_its_two_responses_is() {
        let (old, now) = (
            || FetchOutcome::AlreadyStored { bytes: 1 },
            |bytes| FetchOutcome::StoredNow { bytes },
        );
        assert!(matches!(
            old().and(old()),
            FetchOutcome::AlreadyStored { bytes: 1 }
        ));
        assert!(matches!(
            now(2).and(old()),
            FetchOutcome::StoredNow { bytes: 2 }
        ));
        assert!(matches!(
            old().and(now(3)),
            FetchOutcome::StoredNow { bytes: 3 }
        ));
        assert!(matches!(
            now(2).and(now(3)),
            FetchOutcome::StoredNow { bytes: 5 }
        ));
        let failed = FetchOutcome::Gone(String::new());
        assert!(matches!(now(2).and(failed), FetchOutcome::Gone(_)));
    }
}
