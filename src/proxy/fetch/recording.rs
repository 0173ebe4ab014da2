//! Recording: what the policy does not store is kept under a key of its own, for the time without an origin (`--record`).
//!
//! It changes nothing for requests that may go to the origin: the fetch ends as one whose response is not stored, and the
//! client gets the response as it arrives.

use std::time::Duration;

use crate::{
    cache::{BodyWriter, Claim, ClaimBasis, Claimed, Coalescing, FetchTicket, Key, Snapshot},
    clock,
    headers::{CacheStatus, StoreOutcome},
    policy::{self, Forward, Identity, Mode, Policy, Reason, StoredHead},
    proxy::{
        fetch::{claim::under_current_config, fetched_response::FetchedResponse},
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            streamed_body::StreamedBody,
        },
        shared::Shared,
        worker::Worker,
    },
};

/// A response that is recorded while it arrives.
pub(crate) struct Recording {
    head: StoredHead,
    ticket: FetchTicket,
}

/// The identity by which a recorded response is kept apart, also where the policy has no partitions: a shared cache would not
/// store what is recorded.
fn identity(shared: &Shared, forwarded: &ForwardedRequest) -> Option<Identity> {
    let policy = forwarded.policy();
    if policy.has_partitions() {
        return forwarded.identity();
    }
    let policy = Policy {
        mode: Mode::Standard,
        ..policy.clone()
    };
    shared.secret.identity(&policy, &forwarded.headers, &policy)
}

/// The key under which a response to this request is recorded.
pub(crate) fn recorded_key(shared: &Shared, forwarded: &ForwardedRequest) -> Key {
    forwarded.key.recorded(identity(shared, forwarded))
}

/// The state at the beginning of a fetch whose response may be recorded. `None` without `--record`.
pub(crate) fn begun(worker: &Worker, forwarded: &ForwardedRequest) -> Option<Snapshot> {
    let records = forwarded.config.record;
    records.then(|| worker.shared.cache.snapshot(&forwarded.key.resource))
}

/// Begins to record `fetched`, whose fetch began at `since`. `is_whole`: the client's conditions and Range were left out.
/// `None` if it cannot be recorded: no lookup could find it, it is too large, or the cache was cleared during the fetch.
pub(crate) async fn begin(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    since: Option<Snapshot>,
    (fetched, is_whole): (&FetchedResponse, bool),
) -> Option<Recording> {
    let since = since?;
    let key = recorded_key(&worker.shared, forwarded);
    let view = forwarded.view().identified(key.identity);
    let view = match is_whole {
        true => view.fetched_whole(),
        false => view,
    };
    let head = policy::record(&view, &fetched.view()).ok()?;
    if fetched.contradicts_itself() {
        return None;
    }
    let claim = Claim {
        key,
        basis: ClaimBasis::Since(since),
        revalidates: None,
        coalescing: Coalescing::Never,
        variant: None,
        wait: Duration::ZERO,
        now: clock::now(),
    };
    let claimed = worker.shared.cache.send(claim).await.ok()?;
    let Claimed::Lead(ticket) = under_current_config(worker, forwarded, claimed) else {
        return None;
    };
    let length = fetched.length();
    let is_too_large = length.is_some_and(|length| length > ticket.max_object_bytes());
    (!is_too_large).then_some(Recording { head, ticket })
}

impl Recording {
    /// Records `fetched` to its end. `deliver` gets the response to the client when it may be sent.
    pub(crate) async fn run(
        self,
        fetched: FetchedResponse,
        (why, reason): (Forward, Reason),
        deliver: impl FnOnce(ClientResponse),
    ) {
        let length = fetched.length();
        let FetchedResponse {
            status,
            headers,
            body,
            ..
        } = fetched;
        let writer = BodyWriter::new(self.ticket, self.head, length);
        let run = writer.run(body, move |_, reader| {
            let storing = StoreOutcome::NotStored(reason);
            deliver(ClientResponse {
                status,
                headers,
                body: ResponseBody::Streamed(StreamedBody::whole(reader, length).into()),
                cache_status: CacheStatus::miss(why, Some(status), storing),
                problem: None,
            });
        });
        run.await;
    }
}
