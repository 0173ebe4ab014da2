//! The head of a stored response, with the values that the policy computes once.

use std::mem::size_of;

use actix_web::http::{
    StatusCode,
    header::{ETAG, HeaderName, LAST_MODIFIED, SET_COOKIE},
};

use crate::policy::{
    Audience, ContentRange, Fields, Identity, Reason, Time,
    freshness::lifetime::{Certainty, Lifetime, StoredLifetime},
    ranges::representation::Representation,
    storing::{provenance::Provenance, selector::Selector},
};

/// How long after its lifetime a response with a validator is of use, in milliseconds: if it is still right, it need not be
/// sent again.
const VALIDATED_FOR_MILLIS: u64 = 60 * 60 * 1000;

/// The head of a stored response: status, fields, and values computed once.
///
/// The fields are copied to a buffer of their own, so that they keep no read buffer in memory.
#[derive(Clone, Debug)]
pub struct StoredHead {
    pub(in crate::policy) fields: Fields,
    /// The fields that Vary names, with the values of the request.
    pub(in crate::policy) selectors: Box<[Selector]>,
    pub(in crate::policy) lifetime: StoredLifetime,
    pub(in crate::policy) certainty: Certainty,
    pub(in crate::policy) received: Time,
    /// The Date of the response, or the time of its receipt.
    pub(in crate::policy) date: Time,
    /// `corrected_initial_age` in milliseconds.
    pub(in crate::policy) initial_age_millis: u64,
    pub(in crate::policy) stale_while_revalidate_seconds: u32,
    /// The directive that forbids stale use. `None` if there is none.
    pub(in crate::policy) never_stale: Option<Reason>,
    pub(in crate::policy) audience: Audience,
    pub(in crate::policy) status: StatusCode,
    /// `None`: it is a whole response in the shared partition, and has nothing else of this either.
    pub(in crate::policy) scope: Option<Box<Scope>>,
}

/// What few responses have.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Scope {
    pub(in crate::policy) partition: Option<Identity>,
    /// `None`: it is whole.
    pub(in crate::policy) part: Option<ContentRange>,
    /// The fields that Connection named. They count when a 304 updates the head, and are never sent. `None`: there are
    /// none.
    pub(in crate::policy) connection_fields: Option<Fields>,
    /// `None`: there is no such directive.
    pub(in crate::policy) stale_if_error_seconds: Option<u32>,
    pub(in crate::policy) provenance: Provenance,
}

impl Scope {
    /// `None` if there is nothing in it.
    pub(in crate::policy) fn boxed(self) -> Option<Box<Self>> {
        let Self {
            partition,
            part,
            connection_fields,
            stale_if_error_seconds,
            provenance,
        } = &self;
        let is_some = partition.is_some()
            || part.is_some()
            || connection_fields.is_some()
            || stale_if_error_seconds.is_some()
            || *provenance != Provenance::Fetched;
        is_some.then(|| Box::new(self))
    }
}

impl StoredHead {
    /// The status as received, or 200 after parts were combined to a whole response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Which part of the representation the body is (RFC 9111, 3.3). `None`: all of it.
    pub fn content_range(&self) -> Option<ContentRange> {
        self.scope.as_ref()?.part
    }

    /// The stored fields. Those of one name are in the order of receipt. Age is left out, because it is computed on every
    /// use ([`StoredHead::age_seconds`]).
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields that Connection named. `None`: there are none.
    pub(in crate::policy) fn connection_fields(&self) -> Option<&Fields> {
        self.scope.as_ref()?.connection_fields.as_ref()
    }

    /// RFC 5861, 4: how long it may be served stale if the origin fails. `None`: there is no such directive.
    pub(in crate::policy) fn stale_if_error_seconds(&self) -> Option<u32> {
        self.scope.as_ref()?.stale_if_error_seconds
    }

    /// Whom it may be served to.
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// The partition of the cache that it belongs to. `None`: the shared one.
    pub fn partition(&self) -> Option<Identity> {
        self.scope.as_ref()?.partition
    }

    /// How it came into the cache.
    pub fn provenance(&self) -> Provenance {
        let scope = self.scope.as_ref();
        scope.map_or(Provenance::Fetched, |scope| scope.provenance)
    }

    /// The time when its head was received or last validated.
    pub fn received(&self) -> Time {
        self.received
    }

    /// RFC 9111, 4.2.3: `current_age`, in whole seconds, for the Age field.
    pub fn age_seconds(&self, now: Time) -> u64 {
        self.age_millis(now) / 1000
    }

    /// Seconds of freshness left, negative if stale. `None`: it stays fresh until cleared.
    pub fn ttl_seconds(&self, now: Time) -> Option<i64> {
        let (lifetime, used) = self.lifetime_and_use_millis(now)?;
        let seconds = |millis: u64| i64::try_from(millis / 1000).unwrap_or(i64::MAX);
        Some(seconds(lifetime).saturating_sub(seconds(used)))
    }

    /// RFC 9111, 4.2: true if its age has not reached its lifetime.
    ///
    /// A guess that an unsafe request has ended is not fresh, also at a time before that request: an earlier one may have
    /// ended it already, of which nothing is remembered.
    pub fn is_fresh(&self, now: Time) -> bool {
        self.fresh_millis(now) > 0
    }

    /// True if its lifetime is a guess that nothing has ended yet.
    pub fn is_guess(&self) -> bool {
        self.certainty == Certainty::Guessed
    }

    /// True if its lifetime was a guess, which a successful unsafe request has ended.
    pub(in crate::policy) fn is_doubted(&self) -> bool {
        self.certainty == Certainty::Doubted
    }

    /// A copy whose guessed lifetime a successful unsafe request to a related path has ended at `at`.
    #[must_use]
    pub fn doubted(&self, at: Time) -> Self {
        Self {
            certainty: Certainty::Doubted,
            ..self.expired(at)
        }
    }

    /// True if both match the same requests, so that the newer replaces the older.
    pub fn same_variant(&self, other: &Self) -> bool {
        self.partition() == other.partition() && self.selectors == other.selectors
    }

    /// True if this is a whole response, and `part` is a part of the same one: both have the same strong validator
    /// (RFC 9110, 8.8.1).
    pub fn is_whole_of(&self, part: &Self) -> bool {
        let validator = self.representation().strong_validator();
        self.content_range().is_none()
            && part.content_range().is_some()
            && validator.is_some()
            && validator == part.representation().strong_validator()
    }

    /// True if Vary names one of these fields.
    pub fn is_selected_by(&self, names: &[HeaderName]) -> bool {
        self.selectors
            .iter()
            .any(|selector| names.contains(selector.name()))
    }

    /// True if it has a Set-Cookie.
    pub fn sets_cookies(&self) -> bool {
        self.fields.get(&SET_COOKIE).is_some()
    }

    /// Its entity tag as received.
    pub fn etag(&self) -> Option<&[u8]> {
        self.fields.get(&ETAG)
    }

    /// Its Last-Modified as received.
    pub fn last_modified(&self) -> Option<&[u8]> {
        self.fields.get(&LAST_MODIFIED)
    }

    /// What conditions and ranges are compared with.
    pub(in crate::policy) fn representation(&self) -> Representation<'_> {
        Representation {
            status: self.status,
            etag: self.etag(),
            last_modified: self.last_modified(),
            date: self.date,
            received: self.received,
        }
    }

    /// True if the origin can validate it (RFC 9111, 4.3.1).
    pub fn has_validator(&self) -> bool {
        self.etag().is_some() || self.last_modified().is_some()
    }

    /// The memory that this value and all it owns take, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        let selectors: usize = self.selectors.iter().map(Selector::weight_bytes).sum();
        let scope = self.scope.as_ref().map_or(0, |scope| {
            let named = scope.connection_fields.as_ref();
            size_of::<Scope>() + named.map_or(0, Fields::heap_bytes)
        });
        let bytes = size_of::<Self>() + scope + self.fields.heap_bytes() + selectors;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// RFC 9111, 4.2.3: `current_age` in milliseconds.
    pub(in crate::policy) fn age_millis(&self, now: Time) -> u64 {
        self.initial_age_millis
            .saturating_add(now.millis_since(self.received))
    }

    /// Milliseconds of freshness left. 0 if stale.
    pub(in crate::policy) fn fresh_millis(&self, now: Time) -> u64 {
        if self.is_doubted() {
            return 0;
        }
        self.lifetime_and_use_millis(now)
            .map_or(u64::MAX, |(lifetime, used)| lifetime.saturating_sub(used))
    }

    /// Milliseconds since it became stale. 0 if fresh.
    pub(in crate::policy) fn staleness_millis(&self, now: Time) -> u64 {
        self.lifetime_and_use_millis(now)
            .map_or(0, |(lifetime, used)| used.saturating_sub(lifetime))
    }

    /// How many milliseconds after `now` it may still be of use: as a fresh response, as a stale one that its directives or
    /// `max_stale_millis` allow to serve, or for a validation. `None`: it stays fresh until cleared.
    pub fn useful_millis(&self, now: Time, max_stale_millis: u64) -> Option<u64> {
        let (lifetime, used) = self.lifetime_and_use_millis(now)?;
        let stale_seconds = [
            Some(self.stale_while_revalidate_seconds),
            self.stale_if_error_seconds(),
        ];
        let stale_seconds = stale_seconds.into_iter().flatten().max();
        let validated = match self.has_validator() {
            true => VALIDATED_FOR_MILLIS,
            false => 0,
        };
        let more = max_stale_millis
            .max(u64::from(stale_seconds.unwrap_or_default()).saturating_mul(1000))
            .max(validated);
        Some(lifetime.saturating_add(more).saturating_sub(used))
    }

    /// The same head, with times of a clock that shows `ahead_millis` more than the one of its own.
    #[must_use]
    pub fn by_clock(&self, ahead_millis: i64) -> Self {
        let by = |time: Time| {
            let millis = time.unix_millis().saturating_add_signed(ahead_millis);
            Time::from_unix_millis(millis)
        };
        Self {
            received: by(self.received),
            date: by(self.date),
            ..self.clone()
        }
    }

    fn lifetime_and_use_millis(&self, now: Time) -> Option<(u64, u64)> {
        match self.lifetime.get() {
            Lifetime::Age { millis } => Some((millis, self.age_millis(now))),
            Lifetime::SinceReceipt { millis } => Some((millis, now.millis_since(self.received))),
            Lifetime::UntilCleared => None,
        }
    }
}
