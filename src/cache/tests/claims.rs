//! Stored entries, claims to fetch, and the effects of a Clear.

use super::*;
use crate::cache::RemovalReach;

#[test]
fn a_stored_body_is_found_byte_for_byte() {
    run(async {
        let cache = cache(16 * MIB);
        assert!(found(&cache, "/a").await.is_empty());
        assert_eq!(
            store(&cache, "/a", plain_head(), b"hello").await,
            Some(FetchEnd::Stored)
        );
        let entries = found(&cache, "/a").await;
        assert_eq!(entries.len(), 1);
        assert_eq!(bytes_of(entries[0].body()), b"hello");
        assert!(found(&cache, "/A").await.is_empty());
    });
}

#[test]
fn different_variants_coexist_and_the_same_variant_is_replaced() {
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
fn a_clear_removes_everything_and_returns_the_number_removed() {
    run(async {
        let cache = cache(16 * MIB);
        store(&cache, "/a", plain_head(), b"hello").await;
        store(&cache, "/b", plain_head(), b"hello").await;
        let stored = stats(&cache).await.stored_bytes;
        let cleared = cache.send(Clear).await.unwrap();
        assert_eq!(
            cleared.cleared,
            Cleared {
                entries: 2,
                bytes: stored
            }
        );
        assert!(found(&cache, "/a").await.is_empty());
        assert_eq!(stats(&cache).await, nothing(16 * MIB));
    });
}

#[test]
fn a_fetch_started_before_a_clear_is_neither_stored_nor_joined() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let _follower = join(&cache, "/a").await;
        cache.send(Clear).await.unwrap();
        let newer = lead(&cache, "/a").await;
        let mut reader = None;
        let writer = BodyWriter::new(ticket, plain_head(), Some(3));
        writer
            .run(chunks(vec![Bytes::from_static(b"old")]), |_, opened| {
                reader = Some(opened)
            })
            .await;
        let reader = reader.unwrap();
        assert_eq!(reader.end(), Some(FetchEnd::NotStored(Reason::Cleared)));
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
        let invalidated = Invalidate::new(vec![Resource::new("/a")], None);
        cache.send(invalidated).await.unwrap();
        for ticket in [a, b] {
            BodyWriter::new(ticket, plain_head(), Some(1))
                .run(chunks(vec![Bytes::from_static(b"x")]), |_, _| {})
                .await;
        }
        assert!(found(&cache, "/a").await.is_empty());
        assert_eq!(found(&cache, "/b").await.len(), 1);
    });
}

#[test]
fn a_freshening_after_a_clear_restores_nothing() {
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
fn of_two_responses_received_in_the_same_millisecond_the_later_fetch_brought_the_newer_one() {
    run(async {
        let cache = cache(16 * MIB);
        store(&cache, "/a", plain_head(), b"old").await;
        let entry = found(&cache, "/a").await.remove(0);
        let validation = lead(&cache, "/a").await;
        let Claimed::Lead(older) = claim_of(&cache, "/a", Coalescing::Never).await else {
            panic!("no ticket");
        };
        let Claimed::Lead(newer) = claim_of(&cache, "/a", Coalescing::Never).await else {
            panic!("no ticket");
        };
        assert_eq!(fill(newer).await, Some(FetchEnd::Stored));
        let outdated = Some(FetchEnd::NotStored(Reason::Outdated));
        assert_eq!(fill(older).await, outdated);
        let freshened = validation.freshen(&entry, plain_head()).await;
        assert_eq!(freshened.unwrap_err(), Reason::Outdated);
    });
}

#[test]
fn a_claim_with_an_older_state_must_decide_again() {
    run(async {
        let cache = cache(16 * MIB);
        let seen = cache.send(Get(key("/a"))).await.unwrap();
        store(&cache, "/a", plain_head(), b"new").await;
        let coalescing = Coalescing::Join;
        let claim = Claim {
            variant: None,
            wait: Duration::from_secs(5),
            key: key("/a"),
            basis: ClaimBasis::Found(seen),
            revalidates: None,
            coalescing,
            now: NOW,
        };
        match cache.send(claim).await.unwrap() {
            Claimed::Changed(found) => assert_eq!(found.variants().count(), 1),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_unshareable_response_releases_its_followers_and_later_requests_do_not_wait() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        ticket.not_stored(Reason::NoStore);
        assert!(matches!(fill.event().await, FetchEvent::Released));
        let (one, two) = (lead(&cache, "/a").await, lead(&cache, "/a").await);
        BodyWriter::new(one, plain_head(), Some(0))
            .run(chunks(vec![]), |_, _| {})
            .await;
        drop(two);
        cache.send(Clear).await.unwrap();
        let _ticket = lead(&cache, "/a").await;
        join(&cache, "/a").await;
    });
}

#[test]
fn followers_of_a_failed_fetch_are_released() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        drop(ticket);
        assert!(matches!(fill.event().await, FetchEvent::Released));
        drop(lead(&cache, "/a").await);
        assert_eq!(stats(&cache).await.fetches, 0);
    });
}

#[test]
fn a_fetch_that_is_never_coalesced_is_not_joined() {
    run(async {
        let cache = cache(16 * MIB);
        store(&cache, "/a", plain_head(), b"old").await;
        let seen = cache.send(Get(key("/a"))).await.unwrap();
        cache.send(Clear).await.unwrap();
        let claim = Claim {
            variant: None,
            wait: Duration::from_secs(5),
            key: key("/a"),
            basis: ClaimBasis::Found(seen),
            revalidates: None,
            coalescing: Coalescing::Never,
            now: NOW,
        };
        let changed = cache.send(claim).await.unwrap();
        assert!(matches!(changed, Claimed::Changed(_)), "{changed:?}");
        let alone = claim_of(&cache, "/a", Coalescing::Never).await;
        assert!(matches!(alone, Claimed::Lead(_)), "{alone:?}");
        lead(&cache, "/a").await;
    });
}

#[test]
fn an_older_response_does_not_replace_a_newer_one() {
    run(async {
        let cache = cache(16 * MIB);
        let slow = lead(&cache, "/a").await;
        let Claimed::Lead(fast) = claim_of(&cache, "/a", Coalescing::Never).await else {
            panic!()
        };
        let newer = chunks(vec![Bytes::from_static(b"new")]);
        BodyWriter::new(fast, plain_head(), Some(3))
            .run(newer, |_, _| {})
            .await;
        let mut reader = None;
        let older = chunks(vec![Bytes::from_static(b"old")]);
        let earlier = head_at("*/*", None, NOW.saturating_sub(Duration::from_secs(1)));
        BodyWriter::new(slow, earlier, Some(3))
            .run(older, |_, opened| reader = Some(opened))
            .await;
        let end = reader.as_ref().and_then(BodyReader::end);
        assert_eq!(end, Some(FetchEnd::NotStored(Reason::Outdated)));
        assert_eq!(bytes_of(found(&cache, "/a").await[0].body()), b"new");
    });
}

#[test]
fn background_fetches_run_one_at_a_time_for_each_variant() {
    run(async {
        let cache = cache(16 * MIB);
        for accept in ["a", "b"] {
            store(&cache, "/a", head(accept, Some("accept")), b"x").await;
        }
        let variants = found(&cache, "/a").await;
        let ask = |variant: usize, coalescing| {
            let about = Arc::clone(&variants[variant]);
            claim_about(&cache, "/a", coalescing, Some(about))
        };
        let first = ask(0, Coalescing::Background).await;
        assert!(matches!(first, Claimed::Lead(_)), "{first:?}");
        let again = ask(0, Coalescing::Background).await;
        assert!(matches!(again, Claimed::Declined), "{again:?}");
        let other = ask(1, Coalescing::Background).await;
        assert!(matches!(other, Claimed::Lead(_)), "{other:?}");
        drop((first, other));
        // After a fetch that stored nothing, background fetches are declined for a while.
        let after = ask(0, Coalescing::Background).await;
        assert!(matches!(after, Claimed::Declined), "{after:?}");
        cache.send(Clear).await.unwrap();
        let foreground = ask(0, Coalescing::Never).await;
        assert!(matches!(foreground, Claimed::Lead(_)), "{foreground:?}");
        let beside = ask(0, Coalescing::Background).await;
        assert!(matches!(beside, Claimed::Declined), "{beside:?}");
    });
}

#[test]
fn unshareable_responses_are_not_fetched_in_the_background() {
    run(async {
        let cache = cache(16 * MIB);
        let background = || claim_of(&cache, "/a", Coalescing::Background);
        lead(&cache, "/a").await.not_stored(Reason::Private);
        assert!(matches!(background().await, Claimed::Declined));
        cache.send(Clear).await.unwrap();
        assert!(matches!(background().await, Claimed::Lead(_)));
    });
}

#[test]
fn only_the_response_that_invalidates_may_be_stored() {
    run(async {
        let cache = cache(16 * MIB);
        let (own, other) = (
            lead(&cache, "/a").await,
            claim_of(&cache, "/a", Coalescing::Never).await,
        );
        let Claimed::Lead(other) = other else {
            panic!("{other:?}")
        };
        store(&cache, "/b", plain_head(), b"b").await;
        let resources = vec![Resource::new("/a"), Resource::new("/b")];
        let invalidate = Invalidate::new(resources, Some(&own));
        assert_eq!(cache.send(invalidate).await.unwrap().cleared.entries, 1);
        for (ticket, entries) in [(other, 0), (own, 1)] {
            BodyWriter::new(ticket, plain_head(), Some(1))
                .run(chunks(vec![Bytes::from_static(b"x")]), |_, _| {})
                .await;
            assert_eq!(found(&cache, "/a").await.len(), entries);
        }
    });
}

#[test]
fn only_the_void_response_is_removed() {
    run(async {
        let cache = cache(16 * MIB);
        for accept in ["a", "b"] {
            store(&cache, "/a", head(accept, Some("accept")), b"x").await;
        }
        let entry = found(&cache, "/a").await.remove(0);
        for left in [1, 1] {
            let (key, entry) = (key("/a"), Arc::clone(&entry));
            cache
                .send(Remove {
                    key,
                    entry,
                    reach: RemovalReach::Everywhere,
                })
                .await
                .unwrap();
            assert_eq!(found(&cache, "/a").await.len(), left);
        }
        let (key, entry) = (key("/a"), found(&cache, "/a").await.remove(0));
        cache
            .send(Remove {
                key,
                entry,
                reach: RemovalReach::Everywhere,
            })
            .await
            .unwrap();
        assert_eq!(stats(&cache).await.entries, 0);
    });
}

#[test]
fn an_invalidation_voids_the_responses_to_every_body() {
    run(async {
        let cache = cache(16 * MIB);
        let keyed = |body: &[u8]| Key {
            content: policy::BodyKey::of(&HeaderMap::new(), body, policy::PersistedQueries::Change)
                .ok(),
            ..key("/a")
        };
        let (one, other) = (keyed(b"1"), keyed(b"2"));
        for key in [&one, &other] {
            assert!(find(&cache, key).await.is_empty());
            let ticket = lead_with(&cache, key).await;
            fill(ticket).await;
        }
        // A request with another body, or without one, gets nothing.
        assert!(find(&cache, &key("/a")).await.is_empty());
        assert!(find(&cache, &keyed(b"3")).await.is_empty());
        let under_way = lead_with(&cache, &keyed(b"3")).await;
        let cleared = cache
            .send(Invalidate::new(vec![Resource::new("/a")], None))
            .await;
        assert_eq!(cleared.unwrap().cleared.entries, 2);
        fill(under_way).await;
        for key in [&one, &other, &keyed(b"3")] {
            assert!(find(&cache, key).await.is_empty());
        }
    });
}

#[test]
fn only_requests_with_the_same_body_share_a_fetch() {
    run(async {
        let cache = cache(16 * MIB);
        let keyed = |body: &[u8]| Key {
            content: policy::BodyKey::of(&HeaderMap::new(), body, policy::PersistedQueries::Change)
                .ok(),
            ..key("/a")
        };
        let _leads = lead_with(&cache, &keyed(b"1")).await;
        let _leads_too = lead_with(&cache, &keyed(b"2")).await;
        let _leads_as_well = lead_with(&cache, &key("/a")).await;
        let followed = claim_with(&cache, &keyed(b"1")).await;
        assert!(matches!(followed, Claimed::Follow(_)), "{followed:?}");
    });
}

async fn find(cache: &Addr<CacheActor>, key: &Key) -> Vec<Arc<Entry>> {
    let found = cache.send(Get(key.clone())).await.unwrap();
    found.variants().cloned().collect()
}

async fn claim_with(cache: &Addr<CacheActor>, key: &Key) -> Claimed {
    let claim = Claim {
        variant: None,
        wait: Duration::from_secs(5),
        key: key.clone(),
        basis: ClaimBasis::Found(cache.send(Get(key.clone())).await.unwrap()),
        revalidates: None,
        coalescing: Coalescing::Join,
        now: NOW,
    };
    cache.send(claim).await.unwrap()
}

async fn lead_with(cache: &Addr<CacheActor>, key: &Key) -> FetchTicket {
    match claim_with(cache, key).await {
        Claimed::Lead(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

async fn fill(ticket: FetchTicket) -> Option<FetchEnd> {
    let mut reader = None;
    BodyWriter::new(ticket, plain_head(), Some(1))
        .run(chunks(vec![Bytes::from_static(b"x")]), |_, opened| {
            reader = Some(opened);
        })
        .await;
    reader.and_then(|reader| reader.end())
}
