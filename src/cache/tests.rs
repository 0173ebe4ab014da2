//! The actor, its tickets and its readers, driven without any network.

use std::{future::Future, sync::Arc, time::Duration};

use actix::Addr;
use actix_web::http::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use super::{
    Body, BodyCut, CacheActor, Claim, Claimed, Clear, Cleared, Company, End, Entry, Fill, Found,
    Get, Invalidate, Key, News, Reader, Remove, Resource, Statistics, Stats, Ticket,
};
use crate::policy::{
    self, Framing, Mode, Patterns, Policy, Reason, Reply, RequestContent, Stored, Time,
};

const MIB: u64 = 1024 * 1024;
const NOW: Time = Time::from_unix_millis(1_800_000_000_000);

fn run<F: Future>(test: F) -> F::Output {
    actix_rt::System::new().block_on(test)
}

fn cache(max_memory_bytes: u64) -> Addr<CacheActor> {
    CacheActor::start_in_own_arbiter(max_memory_bytes, max_memory_bytes / 4).unwrap()
}

fn key(target: &str) -> Key {
    Key {
        resource: Resource::new(target),
        identity: None,
    }
}

fn head(accept: &'static str, vary: Option<&'static str>) -> Stored {
    head_at(accept, vary, NOW)
}

fn head_at(accept: &'static str, vary: Option<&'static str>, now: Time) -> Stored {
    let policy = Policy {
        mode: Mode::Standard,
        ttl: None,
        max_stale: Duration::from_secs(60),
        identity_headers: Patterns::new([]),
        ignored_cookies: Patterns::new([]),
    };
    let mut request = HeaderMap::new();
    request.insert(
        HeaderName::from_static("accept"),
        HeaderValue::from_static(accept),
    );
    let mut answer = HeaderMap::new();
    if let Some(vary) = vary {
        answer.insert(
            HeaderName::from_static("vary"),
            HeaderValue::from_static(vary),
        );
    }
    let view = policy::Request::new(&policy, &Method::GET, &request, RequestContent::None, None);
    let reply = Reply {
        status: StatusCode::OK,
        headers: &answer,
        request_time: now,
        response_time: now,
        framing: Framing::Delimited,
    };
    policy::admit(&policy, &view, &reply).unwrap()
}

fn plain_head() -> Stored {
    head("*/*", None)
}

async fn claim_of(cache: &Addr<CacheActor>, target: &str, company: Company) -> Claimed {
    let seen = cache.send(Get(key(target))).await.unwrap();
    let claim = Claim {
        key: key(target),
        seen,
        company,
        now: NOW,
    };
    cache.send(claim).await.unwrap()
}

async fn lead(cache: &Addr<CacheActor>, target: &str) -> Ticket {
    match claim_of(cache, target, Company::Shared).await {
        Claimed::Lead(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

async fn join(cache: &Addr<CacheActor>, target: &str) -> Fill {
    match claim_of(cache, target, Company::Shared).await {
        Claimed::Follow(fill) => fill,
        other => panic!("{other:?}"),
    }
}

async fn found(cache: &Addr<CacheActor>, target: &str) -> Vec<Arc<Entry>> {
    let found: Found = cache.send(Get(key(target))).await.unwrap();
    found.variants().cloned().collect()
}

async fn stats(cache: &Addr<CacheActor>) -> Stats {
    cache.send(Statistics).await.unwrap()
}

fn chunks(chunks: Vec<Bytes>) -> impl Stream<Item = Result<Bytes, BodyCut>> {
    futures_util::stream::iter(chunks.into_iter().map(Ok))
}

/// A body whose chunks the test sends one by one.
fn fed() -> (
    mpsc::UnboundedSender<Result<Bytes, BodyCut>>,
    impl Stream<Item = Result<Bytes, BodyCut>>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    (sender, body)
}

async fn store(cache: &Addr<CacheActor>, target: &str, head: Stored, body: &[u8]) -> Option<End> {
    let ticket = lead(cache, target).await;
    let length = Some(body.len() as u64);
    let mut end = None;
    let mut reader = None;
    let body = chunks(vec![Bytes::copy_from_slice(body)]);
    ticket
        .begin(head, length)
        .run(body, |_, opened| reader = Some(opened))
        .await;
    if let Some(reader) = reader {
        end = reader.end();
    }
    end
}

fn bytes_of(body: &Body) -> Vec<u8> {
    body.all().flat_map(|slice| slice.to_vec()).collect()
}

async fn read_all(mut reader: Reader) -> Result<Vec<u8>, BodyCut> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all)
}

#[test]
fn what_was_put_is_found_byte_for_byte() {
    run(async {
        let cache = cache(16 * MIB);
        assert!(found(&cache, "/a").await.is_empty());
        assert_eq!(
            store(&cache, "/a", plain_head(), b"hello").await,
            Some(End::Stored)
        );
        let entries = found(&cache, "/a").await;
        assert_eq!(entries.len(), 1);
        assert_eq!(bytes_of(entries[0].body()), b"hello");
        assert!(found(&cache, "/A").await.is_empty());
    });
}

#[test]
fn variants_live_side_by_side_and_the_same_variant_is_replaced() {
    run(async {
        let cache = cache(16 * MIB);
        for (accept, body) in [("a", "1"), ("b", "2"), ("a", "3")] {
            let head = head(accept, Some("accept"));
            store(&cache, "/v", head, body.as_bytes()).await;
        }
        let entries = found(&cache, "/v").await;
        let bodies: Vec<_> = entries.iter().map(|entry| bytes_of(entry.body())).collect();
        assert_eq!(bodies, [b"3", b"2"]);
        assert_eq!(stats(&cache).await.entries, 2);
    });
}

#[test]
fn clear_removes_everything_and_says_how_much() {
    run(async {
        let cache = cache(16 * MIB);
        store(&cache, "/a", plain_head(), b"hello").await;
        store(&cache, "/b", plain_head(), b"hello").await;
        let stored = stats(&cache).await.stored_bytes;
        let cleared = cache.send(Clear).await.unwrap();
        assert_eq!(
            cleared,
            Cleared {
                entries: 2,
                bytes: stored
            }
        );
        assert!(found(&cache, "/a").await.is_empty());
        assert_eq!(stats(&cache).await, Stats::default());
    });
}

#[test]
fn a_fetch_begun_before_a_clear_is_never_stored_and_nobody_joins_it() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let _follower = join(&cache, "/a").await;
        cache.send(Clear).await.unwrap();
        let newer = lead(&cache, "/a").await;
        let mut reader = None;
        let filler = ticket.begin(plain_head(), Some(3));
        filler
            .run(chunks(vec![Bytes::from_static(b"old")]), |_, opened| {
                reader = Some(opened)
            })
            .await;
        let reader = reader.unwrap();
        assert_eq!(reader.end(), Some(End::NotStored(Reason::Cleared)));
        assert_eq!(read_all(reader).await.unwrap(), b"old");
        assert!(found(&cache, "/a").await.is_empty());
        drop(newer);
    });
}

#[test]
fn an_invalidation_voids_only_the_fetches_of_its_resource() {
    run(async {
        let cache = cache(16 * MIB);
        let (a, b) = (lead(&cache, "/a").await, lead(&cache, "/b").await);
        let invalidated = Invalidate(vec![Resource::new("/a")]);
        cache.send(invalidated).await.unwrap();
        for ticket in [a, b] {
            ticket
                .begin(plain_head(), Some(1))
                .run(chunks(vec![Bytes::from_static(b"x")]), |_, _| {})
                .await;
        }
        assert!(found(&cache, "/a").await.is_empty());
        assert_eq!(found(&cache, "/b").await.len(), 1);
    });
}

#[test]
fn freshening_after_a_clear_brings_nothing_back() {
    run(async {
        let cache = cache(16 * MIB);
        store(&cache, "/a", plain_head(), b"old").await;
        let entry = found(&cache, "/a").await.remove(0);
        let ticket = lead(&cache, "/a").await;
        cache.send(Clear).await.unwrap();
        let freshened = ticket.freshen(&entry, plain_head()).await;
        assert_eq!(freshened.unwrap_err(), Reason::Cleared);
        assert!(found(&cache, "/a").await.is_empty());
    });
}

#[test]
fn whoever_saw_an_older_state_is_told_to_decide_again() {
    run(async {
        let cache = cache(16 * MIB);
        let seen = cache.send(Get(key("/a"))).await.unwrap();
        store(&cache, "/a", plain_head(), b"new").await;
        let company = Company::Shared;
        let claim = Claim {
            key: key("/a"),
            seen,
            company,
            now: NOW,
        };
        match cache.send(claim).await.unwrap() {
            Claimed::Changed(found) => assert_eq!(found.variants().count(), 1),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_follower_reads_along_before_the_end_and_sees_the_last_byte_only_when_it_is_stored() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        let (feed, body) = fed();
        let (opened, leader) = oneshot::channel();
        actix_rt::spawn(
            ticket
                .begin(plain_head(), Some(4))
                .run(body, move |_, reader| {
                    let _ = opened.send(reader);
                }),
        );
        let mut leader = leader.await.unwrap();
        let News::Head(opening) = fill.news().await else {
            panic!()
        };
        let mut follower = fill.reader(opening);
        feed.send(Ok(Bytes::from_static(b"ab"))).unwrap();
        assert_eq!(leader.next().await.unwrap().unwrap(), "ab");
        assert_eq!(follower.next().await.unwrap().unwrap(), "ab");
        feed.send(Ok(Bytes::from_static(b"cd"))).unwrap();
        drop(feed);
        assert_eq!(follower.next().await.unwrap().unwrap(), "cd");
        assert_eq!(found(&cache, "/a").await.len(), 1);
        assert!(follower.next().await.is_none());
        assert_eq!(read_all(leader).await.unwrap(), b"cd");
    });
}

#[test]
fn without_a_body_the_head_waits_for_the_store() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let addr = cache.clone();
        let (opened, reader) = oneshot::channel();
        actix_rt::spawn(ticket.begin(plain_head(), Some(0)).run(
            chunks(vec![]),
            move |_, reader| {
                let _ = opened.send(reader);
            },
        ));
        assert_eq!(reader.await.unwrap().end(), Some(End::Stored));
        assert_eq!(found(&addr, "/a").await.len(), 1);
    });
}

#[test]
fn a_body_that_breaks_off_is_cut_for_all_and_not_stored() {
    run(async {
        let cache = cache(16 * MIB);
        for (length, ends_with) in [(None, Some(Err(BodyCut::Short))), (Some(9), None)] {
            let ticket = lead(&cache, "/a").await;
            let mut reader = None;
            let mut body = vec![Ok(Bytes::from_static(b"ab"))];
            body.extend(ends_with);
            let body = futures_util::stream::iter(body);
            ticket
                .begin(plain_head(), length)
                .run(body, |_, opened| reader = Some(opened))
                .await;
            assert_eq!(read_all(reader.unwrap()).await, Err(BodyCut::Short));
            assert!(found(&cache, "/a").await.is_empty());
        }
    });
}

#[test]
fn followers_of_what_is_not_to_be_shared_are_released_and_those_who_come_soon_do_not_wait() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        ticket.not_stored(Reason::NoStore);
        assert!(matches!(fill.news().await, News::Released));
        let (one, two) = (lead(&cache, "/a").await, lead(&cache, "/a").await);
        one.begin(plain_head(), Some(0))
            .run(chunks(vec![]), |_, _| {})
            .await;
        drop(two);
        cache.send(Clear).await.unwrap();
        let _ticket = lead(&cache, "/a").await;
        join(&cache, "/a").await;
    });
}

#[test]
fn followers_of_a_fetch_that_failed_are_released() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        drop(ticket);
        assert!(matches!(fill.news().await, News::Released));
        drop(lead(&cache, "/a").await);
        assert_eq!(stats(&cache).await.fetches, 0);
    });
}

#[test]
fn who_fetches_alone_is_not_joined_and_decides_again_after_a_clear() {
    run(async {
        let cache = cache(16 * MIB);
        store(&cache, "/a", plain_head(), b"old").await;
        let seen = cache.send(Get(key("/a"))).await.unwrap();
        cache.send(Clear).await.unwrap();
        let claim = Claim {
            key: key("/a"),
            seen,
            company: Company::Alone,
            now: NOW,
        };
        let changed = cache.send(claim).await.unwrap();
        assert!(matches!(changed, Claimed::Changed(_)), "{changed:?}");
        let alone = claim_of(&cache, "/a", Company::Alone).await;
        assert!(matches!(alone, Claimed::Lead(_)), "{alone:?}");
        lead(&cache, "/a").await;
    });
}

#[test]
fn an_older_answer_does_not_replace_a_newer_one() {
    run(async {
        let cache = cache(16 * MIB);
        let slow = lead(&cache, "/a").await;
        let Claimed::Lead(fast) = claim_of(&cache, "/a", Company::Alone).await else {
            panic!()
        };
        let newer = chunks(vec![Bytes::from_static(b"new")]);
        let later = head_at("*/*", None, NOW.saturating_add(Duration::from_secs(1)));
        fast.begin(later, Some(3)).run(newer, |_, _| {}).await;
        let mut reader = None;
        let older = chunks(vec![Bytes::from_static(b"old")]);
        slow.begin(plain_head(), Some(3))
            .run(older, |_, opened| reader = Some(opened))
            .await;
        let end = reader.as_ref().and_then(Reader::end);
        assert_eq!(end, Some(End::NotStored(Reason::Outdated)));
        assert_eq!(bytes_of(found(&cache, "/a").await[0].body()), b"new");
    });
}

#[test]
fn in_the_background_nobody_fetches_what_somebody_fetches_already_or_nobody_may_share() {
    run(async {
        let cache = cache(16 * MIB);
        let background = || claim_of(&cache, "/a", Company::Background);
        let ticket = lead(&cache, "/a").await;
        assert!(matches!(background().await, Claimed::Declined));
        ticket.not_stored(Reason::Private);
        assert!(matches!(background().await, Claimed::Declined));
        cache.send(Clear).await.unwrap();
        assert!(matches!(background().await, Claimed::Lead(_)));
    });
}

#[test]
fn only_the_response_that_is_void_is_removed() {
    run(async {
        let cache = cache(16 * MIB);
        for accept in ["a", "b"] {
            store(&cache, "/a", head(accept, Some("accept")), b"x").await;
        }
        let entry = found(&cache, "/a").await.remove(0);
        for left in [1, 1] {
            let (key, entry) = (key("/a"), Arc::clone(&entry));
            cache.send(Remove { key, entry }).await.unwrap();
            assert_eq!(found(&cache, "/a").await.len(), left);
        }
        let (key, entry) = (key("/a"), found(&cache, "/a").await.remove(0));
        cache.send(Remove { key, entry }).await.unwrap();
        assert_eq!(stats(&cache).await.entries, 0);
    });
}

#[test]
fn a_reader_that_takes_nothing_is_left_behind_and_stops_nobody() {
    run(async {
        let cache = cache(4 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        let (feed, body) = fed();
        let (opened, leader) = oneshot::channel();
        actix_rt::spawn(
            ticket
                .begin(plain_head(), None)
                .run(body, move |_, reader| {
                    let _ = opened.send(reader);
                }),
        );
        let leader = leader.await.unwrap();
        let News::Head(opening) = fill.news().await else {
            panic!()
        };
        let stalled = fill.reader(opening);
        for _ in 0..160 {
            feed.send(Ok(Bytes::from(vec![b'x'; 64 * 1024]))).unwrap();
        }
        drop(feed);
        assert_eq!(
            read_all(leader).await.map(|all| all.len()),
            Ok(160 * 64 * 1024)
        );
        assert_eq!(read_all(stalled).await, Err(BodyCut::TooSlow));
    });
}

#[test]
fn the_budget_holds_under_a_flood_of_distinct_objects() {
    run(async {
        let cache = cache(4 * MIB);
        let body = vec![b'x'; 10_000];
        for index in 0..2_000 {
            store(&cache, &format!("/{index}"), plain_head(), &body).await;
        }
        let stats = stats(&cache).await;
        assert!(stats.used_bytes <= 4 * MIB, "{stats:?}");
        assert!(stats.entries > 200 && stats.evictions > 1_000, "{stats:?}");
        assert_eq!(stats.entries + stats.evictions, 2_000);
    });
}

#[test]
fn a_scan_does_not_evict_what_is_used_again_and_again() {
    run(async {
        let cache = cache(4 * MIB);
        let body = vec![b'x'; 10_000];
        for index in 0..50 {
            store(&cache, &format!("/hot/{index}"), plain_head(), &body).await;
        }
        for round in 0..20 {
            for index in 0..50 {
                found(&cache, &format!("/hot/{index}")).await;
            }
            for index in 0..100 {
                store(
                    &cache,
                    &format!("/scan/{round}/{index}"),
                    plain_head(),
                    &body,
                )
                .await;
            }
        }
        let mut left = 0;
        for index in 0..50 {
            left += found(&cache, &format!("/hot/{index}")).await.len();
        }
        assert!(left >= 45, "{left} of 50 are left");
    });
}

#[test]
fn what_slow_readers_still_hold_counts_against_the_budget() {
    run(async {
        let cache = cache(4 * MIB);
        store(&cache, "/a", plain_head(), &vec![b'x'; 900_000]).await;
        let held = found(&cache, "/a").await.remove(0);
        cache.send(Clear).await.unwrap();
        let used = stats(&cache).await;
        assert!(
            used.used_bytes > 900_000 && used.stored_bytes == 0,
            "{used:?}"
        );
        drop(held);
        assert_eq!(stats(&cache).await.used_bytes, 0);
    });
}

#[test]
fn a_body_that_grows_too_large_still_reaches_its_readers_and_costs_little() {
    run(async {
        let cache = cache(4 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut follower = join(&cache, "/a").await;
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let body = chunks(vec![chunk; 640]);
        let (opened, leader) = oneshot::channel();
        actix_rt::spawn(
            ticket
                .begin(plain_head(), None)
                .run(body, move |_, reader| {
                    let _ = opened.send(reader);
                }),
        );
        let mut leader = leader.await.unwrap();
        let _ = follower.news().await;
        let mut read = 0;
        while let Some(bytes) = leader.next().await {
            read += bytes.unwrap().len();
            if read % (1024 * 1024) == 0 {
                let used = stats(&cache).await.used_bytes;
                assert!(used <= 3 * MIB, "{used} bytes are held after {read}");
            }
        }
        assert_eq!(read, 640 * 64 * 1024);
        assert_eq!(leader.end(), Some(End::NotStored(Reason::TooLarge)));
        assert!(found(&cache, "/a").await.is_empty());
        drop((leader, follower));
        assert_eq!(stats(&cache).await.used_bytes, 0);
    });
}

#[test]
fn a_body_too_large_to_keep_that_nobody_reads_is_given_up() {
    run(async {
        let cache = cache(4 * MIB);
        let ticket = lead(&cache, "/a").await;
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let endless = futures_util::stream::repeat_with(move || Ok::<_, BodyCut>(chunk.clone()));
        ticket
            .begin(plain_head(), None)
            .run(endless, |_, reader| drop(reader))
            .await;
        assert_eq!(stats(&cache).await, Stats::default());
    });
}

#[test]
fn a_body_of_tiny_chunks_is_charged_for_what_it_really_costs() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let body = chunks(vec![Bytes::from_static(b"x"); 100_000]);
        let mut reader = None;
        ticket
            .begin(plain_head(), None)
            .run(body, |_, opened| reader = Some(opened))
            .await;
        let stats = stats(&cache).await;
        assert!(stats.used_bytes <= 16 * MIB, "{stats:?}");
        let end = reader.as_ref().and_then(Reader::end);
        assert!(
            matches!(end, Some(End::NotStored(Reason::NoRoom) | End::Stored)),
            "{end:?}"
        );
    });
}
