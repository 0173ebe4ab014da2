//! What becomes of a stored part when more of the same representation comes (RFC 9111, 3.4).

use std::sync::Arc;

use actix_web::http::{StatusCode, header::HeaderMap};

use crate::{
    cache::{BodyReader, BodyWriter, Entry, Slices},
    headers::{CacheStatus, StoreOutcome},
    policy::{self, ByteRange, Combination, ResponseForm, StoredHead, Time},
    proxy::{
        fetch::{fetched_response::FetchedResponse, lead::Fetch},
        hit::from_stored::{insert_length, insert_place, not_modified_fields, stored_fields},
        response::{
            client_response::{ClientResponse, ResponseBody},
            streamed_body::{StreamedBody, span},
        },
    },
};

/// A stored part and a new one that belong together.
struct RangeUnion {
    combination: Combination,
    held: ByteRange,
    new: ByteRange,
}

impl RangeUnion {
    fn union(&self) -> ByteRange {
        ByteRange {
            first: self.held.first.min(self.new.first),
            last: self.held.last.max(self.new.last),
        }
    }

    /// True when nothing is missing behind them.
    fn reaches_end(&self) -> bool {
        self.combination
            .head
            .content_range()
            .is_none_or(|part| part.complete_bytes == Some(part.range.last + 1))
    }
}

impl Fetch<'_> {
    /// The rest of a stored part was asked for: the client gets what it wants of both.
    pub(crate) async fn rest_came(self, part: Arc<Entry>, reply: FetchedResponse) {
        match reply.status {
            StatusCode::PARTIAL_CONTENT => {
                match self
                    .joint(&part, &reply)
                    .await
                    .filter(RangeUnion::reaches_end)
                {
                    Some(joint) => self.deliver_both(&part, joint, reply).await,
                    None => self.again().await,
                }
            }
            // They say what became of our own condition and range.
            StatusCode::NOT_MODIFIED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE => self.again().await,
            _ => {
                self.supersede(&part, &reply).await;
                self.take_in(reply).await;
            }
        }
    }

    /// What the client asked for has come: it gets just that, and what is stored grows by it, where the two touch.
    pub(crate) async fn part_came(self, part: Arc<Entry>, reply: FetchedResponse) {
        let Some(joint) = self.joint(&part, &reply).await else {
            return self.take_in(reply).await;
        };
        let length = Some(joint.new.len_bytes());
        let status = reply.status;
        let cache_status = CacheStatus::miss(self.why, Some(status), StoreOutcome::Stored);
        self.join(&part, joint, reply, |_, fields, reader| ClientResponse {
            status,
            fields,
            body: ResponseBody::Streamed(StreamedBody::whole(reader, length)),
            cache_status,
            problem: None,
        })
        .await;
    }

    async fn deliver_both(self, part: &Arc<Entry>, joint: RangeUnion, reply: FetchedResponse) {
        let view = self.ask.view();
        let cache_status = CacheStatus::miss(self.why, Some(reply.status), StoreOutcome::Stored);
        let now = reply.response_time;
        let (union, new) = (joint.union(), joint.new);
        self.join(part, joint, reply, |head, _, reader| {
            let (status, fields, body) =
                match policy::response_form(&view, head, Some(union.last + 1)) {
                    ResponseForm::NotModified => (
                        StatusCode::NOT_MODIFIED,
                        not_modified_fields(head, now),
                        ResponseBody::Empty,
                    ),
                    ResponseForm::RangeNotSatisfiable => {
                        let mut fields = stored_fields(head, now);
                        insert_length(&mut fields, complete_bytes(head, union));
                        (
                            StatusCode::RANGE_NOT_SATISFIABLE,
                            fields,
                            ResponseBody::Empty,
                        )
                    }
                    ResponseForm::Partial(extent) => {
                        let fields = placed_fields(head, extent, union, now);
                        let body = ResponseBody::Streamed(both(part, reader, new, extent));
                        (StatusCode::PARTIAL_CONTENT, fields, body)
                    }
                    ResponseForm::Full | ResponseForm::Multipart(_) => {
                        let fields = match head.content_range() {
                            Some(_) => placed_fields(head, union, union, now),
                            None => stored_fields(head, now),
                        };
                        let body = ResponseBody::Streamed(both(part, reader, new, union));
                        (head.status(), fields, body)
                    }
                };
            ClientResponse {
                status,
                fields,
                body,
                cache_status,
                problem: None,
            }
        })
        .await;
    }

    /// None when they do not belong together, or would be too much when joined.
    async fn joint(&self, part: &Arc<Entry>, reply: &FetchedResponse) -> Option<RangeUnion> {
        if reply.contradicts_itself() {
            return None;
        }
        let policy = self.ask.policy();
        let view = self.ask.view();
        let joint = RangeUnion {
            combination: policy::combine(policy, &view, part.head(), &reply.judged())?,
            held: part.head().content_range()?.range,
            new: reply.part()?.range,
        };
        let fits = joint.union().len_bytes() <= self.ticket.max_object_bytes();
        // What was fetched before a Clear is served no more.
        (fits && self.is_stored(part).await).then_some(joint)
    }

    /// Stores the two as one. `deliver` makes the client's answer of the head of both and what comes.
    async fn join(
        self,
        part: &Entry,
        joint: RangeUnion,
        reply: FetchedResponse,
        deliver: impl FnOnce(&StoredHead, HeaderMap, BodyReader) -> ClientResponse,
    ) {
        let Combination {
            head,
            before,
            after,
        } = joint.combination;
        let place = |extent: ByteRange| span(extent, joint.held.first);
        let filler = BodyWriter::new(self.ticket, head, Some(joint.new.len_bytes())).join(
            part.body(),
            before.map(place),
            after.map(place),
        );
        let client = self.client;
        let FetchedResponse { fields, body, .. } = reply;
        filler
            .run(body, |head, reader| {
                client.answer(Ok(deliver(&head, fields, reader)));
            })
            .await;
    }
}

/// What lies at `extent`: stored bytes, and behind them those that come at `new`.
fn both(part: &Entry, reader: BodyReader, new: ByteRange, extent: ByteRange) -> StreamedBody {
    let base = part
        .head()
        .content_range()
        .map_or(0, |part| part.range.first);
    let before = match extent.first < new.first {
        true => {
            let stored = ByteRange {
                first: extent.first,
                last: extent.last.min(new.first - 1),
            };
            let span = span(stored, base);
            part.body().slices(*span.start(), *span.end())
        }
        false => Slices::default(),
    };
    StreamedBody::part(reader, new.first, extent).behind(before)
}

fn placed_fields(head: &StoredHead, extent: ByteRange, union: ByteRange, now: Time) -> HeaderMap {
    let mut fields = stored_fields(head, now);
    insert_place(&mut fields, extent, complete_bytes(head, union));
    fields
}

fn complete_bytes(head: &StoredHead, union: ByteRange) -> Option<u64> {
    head.content_range()
        .map_or(Some(union.last + 1), |part| part.complete_bytes)
}
