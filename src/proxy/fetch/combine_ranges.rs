//! Combining a stored part of a representation with another part of it (RFC 9111, 3.4).

use std::sync::Arc;

use actix_web::http::StatusCode;

use crate::{
    cache::{BodyReader, BodyWriter, Entry, Slices},
    headers::{CacheStatus, ResponseHeaders},
    policy::{self, ByteRange, Combination, StoredHead},
    proxy::{
        fetch::{
            fetched_response::FetchedResponse,
            leader::{LeaderFetch, store_outcome},
        },
        hit::from_stored::{from_arriving, insert_content_range, replace_cookies, stored_headers},
        response::{
            client_response::{ClientResponse, ResponseBody},
            streamed_body::{StreamedBody, offsets},
        },
    },
};

/// A stored part and a new one that belong together.
struct RangeUnion {
    combination: Combination,
    stored: ByteRange,
    new: ByteRange,
}

impl RangeUnion {
    fn range(&self) -> ByteRange {
        ByteRange {
            first: self.stored.first.min(self.new.first),
            last: self.stored.last.max(self.new.last),
        }
    }

    /// True if nothing is missing after both.
    fn reaches_end(&self) -> bool {
        self.combination
            .head
            .content_range()
            .is_none_or(|part| part.complete_bytes == Some(part.range.last + 1))
    }
}

impl LeaderFetch<'_> {
    /// Handles the response to a request for the rest of a stored part. The client gets what it wants of both.
    pub(crate) async fn rest_received(self, part: Arc<Entry>, fetched: FetchedResponse) {
        match fetched.status {
            StatusCode::PARTIAL_CONTENT => {
                match self
                    .union_with(&part, &fetched)
                    .await
                    .filter(RangeUnion::reaches_end)
                {
                    Some(union) => self.deliver_both(&part, union, fetched).await,
                    None => self.refetch().await,
                }
            }
            // These refer to the condition and the range that the proxy sent.
            StatusCode::NOT_MODIFIED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE => self.refetch().await,
            _ => {
                self.remove_if_superseded(&part, &fetched).await;
                self.store_or_pass(fetched).await;
            }
        }
    }

    /// Handles the response to the client's own range request. The client gets that response; the stored part grows by it
    /// if the two touch.
    pub(crate) async fn part_received(self, part: Arc<Entry>, fetched: FetchedResponse) {
        let Some(union) = self.union_with(&part, &fetched).await else {
            return self.store_or_pass(fetched).await;
        };
        let length = Some(union.new.len_bytes());
        let status = fetched.status;
        let why = self.why;
        self.join(&part, union, fetched, |_, headers, reader| ClientResponse {
            status,
            headers,
            cache_status: CacheStatus::miss(why, Some(status), store_outcome(&reader)),
            body: ResponseBody::Streamed(StreamedBody::whole(reader, length).into()),
            problem: None,
        })
        .await;
    }

    async fn deliver_both(self, part: &Arc<Entry>, union: RangeUnion, fetched: FetchedResponse) {
        let view = self.forwarded.view();
        let (why, status) = (self.why, fetched.status);
        let now = fetched.response_time;
        let (complete, new) = (union.range(), union.new);
        self.join(part, union, fetched, |head, fetched, reader| {
            let cache_status = CacheStatus::miss(why, Some(status), store_outcome(&reader));
            let mut headers = stored_headers(head, now);
            replace_cookies(&mut headers, &fetched);
            if let Some(part) = head.content_range() {
                insert_content_range(&mut headers, complete, part.complete_bytes);
            }
            let source = (headers, Some(complete.last + 1));
            from_arriving(
                &view,
                head,
                source,
                cache_status,
                || now,
                |range| {
                    let body = both(part, reader, new, range.unwrap_or(complete));
                    ResponseBody::Streamed(body.into())
                },
            )
        })
        .await;
    }

    /// The union of the two; `None` if they do not belong together, or are too large together.
    async fn union_with(&self, part: &Arc<Entry>, fetched: &FetchedResponse) -> Option<RangeUnion> {
        if fetched.contradicts_itself() || part.body().is_in_file() {
            return None;
        }
        let policy = self.forwarded.policy();
        let view = self.forwarded.view();
        let union = RangeUnion {
            combination: policy::combine(policy, &view, part.head(), &fetched.view())?,
            stored: part.head().content_range()?.range,
            new: fetched.part()?.range,
        };
        let fits = union.range().len_bytes() <= self.ticket.max_object_bytes();
        // A response that was fetched before a Clear is never served after it.
        (fits && self.is_stored(part).await).then_some(union)
    }

    /// Stores the two as one. `deliver` makes the client's response from the common head and the body that arrives.
    async fn join(
        self,
        part: &Entry,
        union: RangeUnion,
        fetched: FetchedResponse,
        deliver: impl FnOnce(&StoredHead, ResponseHeaders, BodyReader) -> ClientResponse,
    ) {
        let Combination {
            head,
            before,
            after,
        } = union.combination;
        let offsets_of = |range: ByteRange| offsets(range, union.stored.first);
        let writer = BodyWriter::new(self.ticket, head, Some(union.new.len_bytes())).join(
            part,
            before.map(offsets_of),
            after.map(offsets_of),
        );
        let client = self.client;
        let FetchedResponse { headers, body, .. } = fetched;
        writer
            .run(body, |head, reader| {
                client.deliver(Ok(deliver(&head, headers, reader).into()));
            })
            .await;
    }
}

/// The bytes at `range`: stored ones, followed by those that arrive at `new`.
fn both(part: &Entry, reader: BodyReader, new: ByteRange, range: ByteRange) -> StreamedBody {
    let base = part
        .head()
        .content_range()
        .map_or(0, |part| part.range.first);
    let before = match range.first < new.first {
        true => {
            let stored = ByteRange {
                first: range.first,
                last: range.last.min(new.first - 1),
            };
            let offsets = offsets(stored, base);
            part.body().slices(*offsets.start(), *offsets.end())
        }
        false => Slices::default(),
    };
    StreamedBody::part(reader, new.first, range).after(before)
}
