//! Fetches without a claim, for keys whose responses are not stored.

use super::*;
use crate::cache::{Cache, KnownMisses};

/// A cache and a worker that knows that responses for `/a` are not stored.
async fn with_known_miss() -> (Cache, KnownMisses) {
    let cache = Cache::new(MIB, MIB / 4);
    cache.start();
    let known = KnownMisses::new(cache.clone());
    for is_known in [false, true] {
        let ticket = lead(cache.address().unwrap(), "/a").await;
        assert_eq!(ticket.is_hit_for_miss(), is_known);
        assert!(unclaimed(&known).is_none());
        end(&known, ticket, Reason::NoStore);
    }
    (cache, known)
}

fn unclaimed(known: &KnownMisses) -> Option<FetchTicket> {
    known.ticket(&key("/a"), NOW)
}

fn end(known: &KnownMisses, ticket: FetchTicket, reason: Reason) {
    known.note(&ticket, reason, NOW);
    ticket.not_stored(reason);
}

/// The ticket with which the response of a fetch without a claim is stored; `None` if it must not be stored.
async fn late(cache: &Cache, known: &KnownMisses, mut ticket: FetchTicket) -> Option<FetchTicket> {
    let claim = known.late_claim(&ticket, || NOW).unwrap();
    match cache.send(claim).await.unwrap() {
        Claimed::Lead(claimed) => known.replace(&mut ticket, claimed).then_some(ticket),
        Claimed::Declined => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_for_a_key_whose_responses_are_not_stored_need_no_claim_for_a_second() {
    run(async {
        let (cache, known) = with_known_miss().await;
        for _ in 0..3 {
            let ticket = unclaimed(&known).unwrap();
            assert!(ticket.is_hit_for_miss());
            assert_eq!(cache.send(GetStats).await.unwrap().fetches, 0);
            end(&known, ticket, Reason::NoStore);
        }
        assert!(known.ticket(&key("/b"), NOW).is_none());
        let second = Duration::from_secs(1);
        assert!(
            known
                .ticket(&key("/a"), NOW.saturating_add(second))
                .is_none()
        );
        // The clock was set back.
        assert!(
            known
                .ticket(&key("/a"), NOW.saturating_sub(second))
                .is_none()
        );
    });
}

#[test]
fn a_request_claims_after_another_kind_of_response() {
    run(async {
        for reason in [Some(Reason::Private), Some(Reason::Status), None] {
            let (_cache, known) = with_known_miss().await;
            let ticket = unclaimed(&known).unwrap();
            match reason {
                Some(reason) => end(&known, ticket, reason),
                None => drop(ticket),
            }
            assert!(unclaimed(&known).is_none(), "{reason:?}");
        }
    });
}

#[test]
fn a_request_claims_after_a_change_of_its_resource_and_a_fetch_from_before_it_stores_nothing() {
    run(async {
        for number in 0..4 {
            let (cache, known) = with_known_miss().await;
            let ticket = unclaimed(&known).unwrap();
            let related = Invalidate::new(Vec::new(), None).with_related(Resource::new("/"), NOW);
            match number {
                0 => drop(cache.send(Clear).await.unwrap()),
                1 => drop(
                    cache
                        .send(Invalidate::new(vec![Resource::new("/a")], None))
                        .await,
                ),
                2 => drop(cache.send(related).await.unwrap()),
                _ => {
                    let address = cache.address().unwrap();
                    let stored = store(address, "/a", plain_head(), b"x").await;
                    assert_eq!(stored, Some(FetchEnd::Stored));
                }
            }
            assert!(unclaimed(&known).is_none(), "{number}");
            assert!(late(&cache, &known, ticket).await.is_none(), "{number}");
        }
    });
}

#[test]
fn a_response_that_can_be_stored_after_all_is_stored() {
    run(async {
        let (cache, known) = with_known_miss().await;
        let ticket = unclaimed(&known).unwrap();
        let ticket = late(&cache, &known, ticket).await.unwrap();
        let body = chunks(vec![Bytes::from_static(b"x")]);
        BodyWriter::new(ticket, plain_head(), Some(1))
            .run(body, |_, _| {})
            .await;
        assert_eq!(found(cache.address().unwrap(), "/a").await.len(), 1);
        assert!(unclaimed(&known).is_none());
    });
}
