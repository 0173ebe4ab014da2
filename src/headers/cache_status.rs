//! How a request was handled, as X-Cache and Cache-Status (RFC 9211) say it.

use std::cell::RefCell;

use actix_web::http::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};

use crate::policy::{Forward, Reason, ResponseHeaders, is_name};

static X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// X-Cache: where a body came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XCache {
    /// The cache, also after a 304 from the origin.
    Hit,
    /// The origin, or the proxy itself.
    Miss,
}

impl XCache {
    /// The header's value; the log has it too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
        }
    }
}

/// How a request ended, for log and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// A fresh stored response.
    Hit,
    /// A stored response that the origin confirmed with a 304.
    Validated,
    /// A stale stored response.
    Stale,
    /// A response of the origin.
    Miss,
    /// A response of the origin that another request had fetched.
    Collapsed,
    /// A response that the proxy made itself.
    Own,
    /// A tunnel, which the cache has no part in.
    Tunnel,
    /// An error: its short name.
    Failed(&'static str),
}

impl RequestOutcome {
    /// The short name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Validated => "validated",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Own => "own",
            Self::Tunnel => "tunnel",
            Self::Failed(_) => "failed",
        }
    }
}

/// Whether a response is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// There was nothing to store.
    NotApplicable,
    /// It is stored.
    Stored,
    /// It is stored if it arrives whole. Cache-Status says nothing about that.
    Arriving,
    /// Another request stores it; this one shares its fetch.
    Collapsed,
    /// It is not stored.
    NotStored(Reason),
}

/// How a request was handled: one member of Cache-Status (RFC 9211, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// How it ended.
    pub outcome: RequestOutcome,
    /// Where the body came from.
    pub x_cache: XCache,
    /// `fwd`: why the request was forwarded; `None` if it was not.
    pub why: Option<Forward>,
    /// `fwd-status`: the status of the origin's response; `None` if there is none.
    pub forward_status: Option<StatusCode>,
    /// `stored` or `collapsed`.
    pub store: StoreOutcome,
    /// `ttl`: seconds for which the response stays fresh, negative if it is stale; `None` if it is not from the cache.
    pub ttl_seconds: Option<i64>,
    /// How long the stored response once took to fetch, in milliseconds; 0 if this request was forwarded.
    pub saved_millis: u32,
    /// What is special about a response that was not fetched for this request; `None` if nothing is.
    pub remark: Option<Reason>,
}

impl CacheStatus {
    /// A stored response, without a request to the origin.
    pub fn hit(ttl_seconds: Option<i64>) -> Self {
        Self {
            outcome: RequestOutcome::Hit,
            x_cache: XCache::Hit,
            why: None,
            forward_status: None,
            store: StoreOutcome::NotApplicable,
            ttl_seconds,
            saved_millis: 0,
            remark: None,
        }
    }

    /// A response that the proxy made itself.
    pub fn own_response() -> Self {
        Self {
            outcome: RequestOutcome::Own,
            x_cache: XCache::Miss,
            ..Self::hit(None)
        }
    }

    /// The 101 that opens a tunnel.
    pub fn tunnel(why: Forward) -> Self {
        Self {
            outcome: RequestOutcome::Tunnel,
            why: Some(why),
            forward_status: Some(StatusCode::SWITCHING_PROTOCOLS),
            ..Self::own_response()
        }
    }

    /// A response of the origin.
    pub fn miss(why: Forward, forward_status: Option<StatusCode>, store: StoreOutcome) -> Self {
        Self {
            outcome: match store {
                StoreOutcome::Collapsed => RequestOutcome::Collapsed,
                _ => RequestOutcome::Miss,
            },
            x_cache: XCache::Miss,
            why: Some(why),
            forward_status,
            store,
            ttl_seconds: None,
            saved_millis: 0,
            remark: None,
        }
    }

    /// `detail`: why the response is not stored, else why a stored one was not used, else what is special about it; `None` if
    /// there is nothing to say.
    pub fn detail(&self) -> Option<Reason> {
        match self.store {
            StoreOutcome::NotStored(reason) => Some(reason),
            _ => self.why.and_then(|why| why.detail).or(self.remark),
        }
    }

    /// Sets X-Cache, and appends our member to Cache-Status: the cache nearest to the client comes last.
    pub fn write(&self, headers: &mut ResponseHeaders, last: &LastMember) {
        let x_cache = HeaderValue::from_static(self.x_cache.as_str());
        headers.remove(&X_CACHE);
        headers.append_as("X-Cache", &x_cache);
        if let Some(member) = last.member(self) {
            headers.append_as("Cache-Status", &member);
        }
    }

    /// The same for a message without X-Cache: appends the lines.
    pub fn write_lines(&self, message: &mut Vec<u8>) {
        let (x_cache, member) = (self.x_cache.as_str(), self.member());
        for part in ["X-Cache: ", x_cache, "\r\nCache-Status: ", &member, "\r\n"] {
            message.extend_from_slice(part.as_bytes());
        }
    }

    /// True for the name of X-Cache, which is replaced.
    pub fn replaces(name: &[u8]) -> bool {
        is_name(name, &X_CACHE)
    }

    /// Our member of Cache-Status.
    fn member(&self) -> String {
        let (hit, reason) = match (self.x_cache, self.why) {
            (_, Some(why)) => ("; fwd=", why.reason.as_str()),
            (XCache::Hit, None) => ("; hit", ""),
            (XCache::Miss, None) => ("", ""),
        };
        let (forward_status, status) = match &self.forward_status {
            Some(status) => ("; fwd-status=", status.as_str()),
            None => ("", ""),
        };
        let ttl = self.ttl_seconds.map(|ttl| format!("; ttl={ttl}"));
        let store = match self.store {
            StoreOutcome::NotApplicable | StoreOutcome::Arriving | StoreOutcome::NotStored(_) => "",
            StoreOutcome::Stored => "; stored",
            StoreOutcome::Collapsed => "; collapsed",
        };
        let (detail, why) = match self.detail() {
            Some(reason) => ("; detail=", reason.as_str()),
            None => ("", ""),
        };
        // In one allocation of the right size, without the formatting machinery: each miss has its own member.
        [
            "caching-proxy",
            hit,
            reason,
            forward_status,
            status,
            ttl.as_deref().unwrap_or_default(),
            store,
            detail,
            why,
        ]
        .concat()
    }
}

/// The member of the last response. Many responses in a row have the same one.
#[derive(Default)]
pub struct LastMember(RefCell<Option<(CacheStatus, HeaderValue)>>);

impl LastMember {
    /// The member for a request that was handled in this way; `None` if it is not valid in a header.
    fn member(&self, cache_status: &CacheStatus) -> Option<HeaderValue> {
        let mut last = self.0.borrow_mut();
        if let Some((of, member)) = &*last
            && of == cache_status
        {
            return Some(member.clone());
        }
        let member = HeaderValue::try_from(cache_status.member()).ok()?;
        *last = Some((*cache_status, member.clone()));
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::test_maps::{response, values},
        *,
    };
    use crate::policy::ForwardReason;

    #[test]
    fn our_member_is_appended_to_cache_status() {
        let mut headers = response(&[
            ("cache-status", "cdn; hit"),
            ("x-cache", "Hit from elsewhere"),
        ]);
        let miss = CacheStatus::miss(
            ForwardReason::UriMiss.into(),
            Some(StatusCode::OK),
            StoreOutcome::Stored,
        );
        miss.write(&mut headers, &LastMember::default());
        assert_eq!(values(&headers, "x-cache"), ["MISS"]);
        assert_eq!(
            values(&headers, "cache-status"),
            [
                "cdn; hit",
                "caching-proxy; fwd=uri-miss; fwd-status=200; stored"
            ]
        );
    }

    #[test]
    fn hits_and_responses_of_the_proxy_are_marked() {
        let last = LastMember::default();
        for (cache_status, x_cache, member) in [
            (
                CacheStatus::hit(Some(-3)),
                "HIT",
                "caching-proxy; hit; ttl=-3",
            ),
            (CacheStatus::own_response(), "MISS", "caching-proxy"),
        ] {
            let mut headers = ResponseHeaders::new();
            cache_status.write(&mut headers, &last);
            assert_eq!(values(&headers, "x-cache"), [x_cache]);
            assert_eq!(values(&headers, "cache-status"), [member]);
        }
    }
}
