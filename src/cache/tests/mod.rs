//! The actor, its tickets and its readers, without a network.

mod accounting;
mod bodies;
mod claims;
mod disk_walks;
mod eviction;
mod files;
mod hand_over;
mod joining;
mod known_misses;
mod managing;
mod restart;
mod steps;
mod unclaimed;
mod worker_cache;

use std::{path::Path, sync::Arc, time::Duration};

use actix::{Actor as _, Addr};
use actix_web::http::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::cache::Body;
use crate::cache::BodyError;
use crate::cache::BodyReader;
use crate::cache::BodyWriter;
use crate::cache::Cache;
use crate::cache::CacheActor;
use crate::cache::CacheStats;
use crate::cache::Claim;
use crate::cache::ClaimBasis;
use crate::cache::Claimed;
use crate::cache::Clear;
use crate::cache::Cleared;
use crate::cache::Coalescing;
use crate::cache::DiskTier;
use crate::cache::Entry;
use crate::cache::FetchEnd;
use crate::cache::FetchEvent;
use crate::cache::FetchTicket;
use crate::cache::Found;
use crate::cache::Get;
use crate::cache::GetStats;
use crate::cache::Invalidate;
use crate::cache::Key;
use crate::cache::Namespace;
use crate::cache::Remove;
use crate::cache::Resource;
use crate::cache::SharedFetch;
use crate::cache::fetches::reader::FetchId;
use crate::cache::store::budget::Budget;
use crate::cache::store::changes::ChangeCounts;
use crate::cache::store::index::Index;
use crate::cache::store::memory::Store;
use crate::disk::DiskLimits;
use crate::policy::{
    self, ClientDirectives, Mode, Patterns, Policy, Reason, RequestContent, Response, StoredHead,
    Time,
};

const MIB: u64 = 1024 * 1024;
const NOW: Time = Time::from_unix_millis(1_800_000_000_000);

fn run<F: Future>(test: F) -> F::Output {
    actix_rt::System::new().block_on(test)
}

/// The statistics of an empty cache of this size.
fn nothing(limit_bytes: u64) -> CacheStats {
    CacheStats {
        limit_bytes,
        ..CacheStats::default()
    }
}

/// A store that no worker reads.
fn empty_store(budget: &Arc<Budget>) -> Store {
    let index = Arc::new(ArcSwap::from_pointee(Index::new(0)));
    Store::new(index, Arc::clone(budget), ChangeCounts::new())
}

fn cache(max_memory_bytes: u64) -> Addr<CacheActor> {
    let budget = Budget::new(max_memory_bytes);
    let limits = (Arc::clone(&budget), max_memory_bytes / 4);
    CacheActor::new(
        empty_store(&budget),
        limits,
        (None, None),
        (FetchId::default(), false),
    )
    .start()
}

/// A cache with a store in `directory`, which may have been there before.
fn with_store(directory: &Path) -> Cache {
    let limits = DiskLimits {
        max_bytes: 64 * MIB,
        reserve_bytes: Some(0),
        max_object_bytes: MIB,
    };
    let opened = DiskTier::open(directory, limits, Namespace([7; 16]), NOW).unwrap();
    let cache = Cache::new(16 * MIB, MIB).with_disk(opened.tier);
    cache.start();
    cache
}

fn key(target: &str) -> Key {
    Key {
        resource: Resource::new(target),
        identity: None,
        content: None,
        is_recorded: false,
    }
}

fn head(accept: &'static str, vary: Option<&'static str>) -> StoredHead {
    head_at(accept, vary, NOW)
}

fn head_at(accept: &'static str, vary: Option<&'static str>, now: Time) -> StoredHead {
    let vary = vary.map(|vary| ("vary", vary));
    head_of(accept, vary.as_slice(), now)
}

/// The head of a response with these headers.
pub(super) fn head_of(
    accept: &'static str,
    headers: &[(&'static str, &'static str)],
    now: Time,
) -> StoredHead {
    let policy = Policy {
        mode: Mode::Standard,
        ttl: None,
        client_directives: ClientDirectives::Obeyed,
        max_stale: Duration::from_secs(60),
        identity_headers: Patterns::new([]),
        identity_cookies: Patterns::new([]),
        ignored_cookies: Patterns::new([]),
    };
    let mut request = HeaderMap::new();
    request.insert(
        HeaderName::from_static("accept"),
        HeaderValue::from_static(accept),
    );
    let lines = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let answer = policy::ResponseHeaders::from_iter(lines);
    let view = policy::Request::new(&policy, &Method::GET, &request, RequestContent::None, None);
    let reply = Response {
        status: StatusCode::OK,
        headers: &answer,
        connection_fields: None,
        request_time: now,
        response_time: now,
    };
    policy::admit(&policy, &view, &reply).unwrap()
}

fn plain_head() -> StoredHead {
    head("*/*", None)
}

async fn claim_of(cache: &Addr<CacheActor>, target: &str, coalescing: Coalescing) -> Claimed {
    claim_about(cache, target, coalescing, None).await
}

async fn claim_about(
    cache: &Addr<CacheActor>,
    target: &str,
    coalescing: Coalescing,
    revalidates: Option<Arc<Entry>>,
) -> Claimed {
    claim_at(cache, target, (coalescing, NOW), revalidates).await
}

async fn claim_at(
    cache: &Addr<CacheActor>,
    target: &str,
    (coalescing, now): (Coalescing, Time),
    revalidates: Option<Arc<Entry>>,
) -> Claimed {
    let seen = cache.send(Get(key(target))).await.unwrap();
    let claim = Claim {
        variant: None,
        wait: Duration::from_secs(5),
        key: key(target),
        basis: ClaimBasis::Found(seen),
        revalidates,
        coalescing,
        now,
    };
    cache.send(claim).await.unwrap()
}

async fn lead(cache: &Addr<CacheActor>, target: &str) -> FetchTicket {
    match claim_of(cache, target, Coalescing::Join).await {
        Claimed::Lead(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

async fn join(cache: &Addr<CacheActor>, target: &str) -> SharedFetch {
    match claim_of(cache, target, Coalescing::Join).await {
        Claimed::Follow(fill) => fill,
        other => panic!("{other:?}"),
    }
}

async fn found(cache: &Addr<CacheActor>, target: &str) -> Vec<Arc<Entry>> {
    let found: Found = cache.send(Get(key(target))).await.unwrap();
    found.variants().cloned().collect()
}

async fn stats(cache: &Addr<CacheActor>) -> CacheStats {
    cache.send(GetStats).await.unwrap()
}

fn chunks(chunks: Vec<Bytes>) -> impl Stream<Item = Result<Bytes, BodyError>> {
    futures_util::stream::iter(chunks.into_iter().map(Ok))
}

/// A body whose chunks the test sends one by one.
fn fed() -> (
    mpsc::UnboundedSender<Result<Bytes, BodyError>>,
    impl Stream<Item = Result<Bytes, BodyError>>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    (sender, body)
}

async fn store(
    cache: &Addr<CacheActor>,
    target: &str,
    head: StoredHead,
    body: &[u8],
) -> Option<FetchEnd> {
    let ticket = lead(cache, target).await;
    let length = Some(body.len() as u64);
    let mut end = None;
    let mut reader = None;
    let body = chunks(vec![Bytes::copy_from_slice(body)]);
    BodyWriter::new(ticket, head, length)
        .run(body, |_, opened| reader = Some(opened))
        .await;
    if let Some(reader) = reader {
        end = reader.end();
    }
    end
}

/// Asks for the statistics until they are as expected.
async fn until<F: Future<Output = CacheStats>>(
    ask: impl Fn() -> F,
    is_expected: impl Fn(&CacheStats) -> bool,
) {
    let begun = std::time::Instant::now();
    loop {
        let stats = ask().await;
        if is_expected(&stats) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{stats:?}");
        tokio::task::yield_now().await;
    }
}

fn bytes_of(body: &Body) -> Vec<u8> {
    body.all().flat_map(|slice| slice.to_vec()).collect()
}

async fn read_all(mut reader: BodyReader) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all)
}
