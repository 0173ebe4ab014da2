//! Which fetches a request joins: by their age, their body and their variant.

use super::*;

/// A fetch under way of a body whose length is `length`, and the sender of its body.
async fn begun(
    cache: &Addr<CacheActor>,
    length: Option<u64>,
) -> (mpsc::UnboundedSender<Result<Bytes, BodyError>>, BodyReader) {
    let ticket = lead(cache, "/a").await;
    let (feed, body) = fed();
    let (opened, reader) = oneshot::channel();
    actix_rt::spawn(
        BodyWriter::new(ticket, plain_head(), length).run(body, move |_, reader| {
            let _ = opened.send(reader);
        }),
    );
    (feed, reader.await.unwrap())
}

#[test]
fn a_body_of_unknown_length_that_does_not_end_is_joined_in_its_first_seconds_only() {
    run(async {
        let soon = NOW.saturating_add(Duration::from_millis(2900));
        let late = NOW.saturating_add(Duration::from_millis(3000));
        let clock_set_back = NOW.saturating_sub(Duration::from_secs(60));
        for (length, moment, joins) in [
            (None, NOW, true),
            (None, soon, true),
            (None, late, false),
            (None, clock_set_back, false),
            (Some(9), late, true),
        ] {
            let cache = cache(16 * MIB);
            let (feed, reader) = begun(&cache, length).await;
            let claimed = claim_at(&cache, "/a", (Coalescing::Join, moment), None).await;
            let followed = matches!(claimed, Claimed::Follow(_));
            assert_eq!(followed, joins, "{length:?} {moment:?}");
            drop((feed, reader));
        }
    });
}

fn seconds_later(seconds: u64) -> Time {
    NOW.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn a_fetch_without_a_head_is_joined_while_it_is_young_and_then_one_more_is_begun() {
    run(async {
        let cache = cache(16 * MIB);
        let _silent = lead(&cache, "/a").await;
        let mut second = None;
        for (seconds, leads) in [(4, false), (5, true), (6, false), (9, false), (10, true)] {
            let claimed = claim_at(
                &cache,
                "/a",
                (Coalescing::Join, seconds_later(seconds)),
                None,
            );
            match claimed.await {
                Claimed::Lead(ticket) => {
                    assert!(leads, "{seconds}");
                    second = Some(ticket);
                }
                Claimed::Follow(fetch) => {
                    assert!(!leads, "{seconds}");
                    assert!(fetch.wait() <= Duration::from_millis(5001), "{seconds}");
                }
                other => panic!("{other:?}"),
            }
        }
        drop(second);
    });
}

async fn claim_variant(cache: &Addr<CacheActor>, variant: Option<u64>) -> Claimed {
    let claim = Claim {
        variant,
        wait: Duration::from_secs(5),
        key: key("/a"),
        basis: ClaimBasis::Found(cache.send(Get(key("/a"))).await.unwrap()),
        revalidates: None,
        coalescing: Coalescing::Join,
        now: NOW,
    };
    cache.send(claim).await.unwrap()
}

#[test]
fn only_requests_for_the_same_variant_share_a_fetch() {
    run(async {
        let cache = cache(16 * MIB);
        let mut tickets = Vec::new();
        for variant in [None, Some(1), Some(2)] {
            match claim_variant(&cache, variant).await {
                Claimed::Lead(ticket) => tickets.push(ticket),
                other => panic!("{variant:?}: {other:?}"),
            }
            let follows = claim_variant(&cache, variant).await;
            assert!(matches!(follows, Claimed::Follow(_)), "{variant:?}");
        }
    });
}

#[test]
fn a_variant_that_is_not_storable_says_nothing_of_the_others() {
    run(async {
        let cache = cache(16 * MIB);
        let Claimed::Lead(ticket) = claim_variant(&cache, Some(1)).await else {
            panic!()
        };
        ticket.not_stored(Reason::NoStore);
        let mut tickets = Vec::new();
        for (variant, is_shared) in [(Some(1), false), (Some(2), true), (None, true)] {
            for nth in 0..2 {
                match claim_variant(&cache, variant).await {
                    Claimed::Lead(ticket) => tickets.push(ticket),
                    _ => assert!(is_shared && nth == 1, "{variant:?}"),
                }
            }
        }
        assert_eq!(tickets.len(), 4);
        let asked = crate::cache::Inspect { key: key("/a") };
        let refused = cache.send(asked).await.unwrap().refused;
        assert_eq!(refused, Some((Reason::NoStore, NOW)));
    });
}

#[test]
fn followers_of_a_failed_fetch_get_its_failure() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut follower = join(&cache, "/a").await;
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ticket.failed(crate::cache::FetchFailure::Status(status));
        let event = follower.event().await;
        assert!(
            matches!(event, FetchEvent::Failed(crate::cache::FetchFailure::Status(found)) if found == status)
        );
        lead(&cache, "/a").await;
    });
}

#[test]
fn what_was_stored_before_the_clock_was_set_back_is_replaced() {
    run(async {
        let cache = cache(16 * MIB);
        let day = Duration::from_secs(86_400);
        let ahead = head_at("*/*", None, NOW.saturating_add(day));
        assert_eq!(
            store(&cache, "/", ahead, b"ahead").await,
            Some(FetchEnd::Stored)
        );
        let end = store(&cache, "/", plain_head(), b"now").await;
        assert_eq!(end, Some(FetchEnd::Stored));
        assert_eq!(bytes_of(found(&cache, "/").await[0].body()), b"now");
    });
}
