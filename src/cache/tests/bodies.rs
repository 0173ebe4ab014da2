//! Bodies in transfer: their readers, their memory, and bodies that do not fit.

use super::*;

#[test]
fn a_follower_reads_a_growing_body_and_gets_the_last_byte_after_it_is_stored() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        let (feed, body) = fed();
        let (opened, leader) = oneshot::channel();
        actix_rt::spawn(BodyWriter::new(ticket, plain_head(), Some(4)).run(
            body,
            move |_, reader| {
                let _ = opened.send(reader);
            },
        ));
        let mut leader = leader.await.unwrap();
        let FetchEvent::Head(shared_head) = fill.event().await else {
            panic!()
        };
        let mut follower = shared_head.reader();
        feed.send(Ok(Bytes::from_static(b"ab"))).unwrap();
        assert_eq!(leader.next().await.unwrap().unwrap(), "ab");
        assert_eq!(follower.next().await.unwrap().unwrap(), "ab");
        assert!(follower.stored().is_none());
        feed.send(Ok(Bytes::from_static(b"cd"))).unwrap();
        drop(feed);
        assert_eq!(follower.next().await.unwrap().unwrap(), "cd");
        assert_eq!(found(&cache, "/a").await.len(), 1);
        assert!(follower.next().await.is_none());
        assert_eq!(read_all(leader).await.unwrap(), b"cd");
    });
}

#[test]
fn the_head_of_a_short_body_waits_a_moment_for_it() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let (feed, body) = fed();
        let (opened, reader) = oneshot::channel();
        actix_rt::spawn(BodyWriter::new(ticket, plain_head(), Some(4)).run(
            body,
            move |_, reader| {
                let _ = opened.send(reader);
            },
        ));
        // The writer finds no body the first time it looks.
        tokio::task::yield_now().await;
        feed.send(Ok(Bytes::from_static(b"body"))).unwrap();
        let reader = reader.await.unwrap();
        assert_eq!(reader.end(), Some(FetchEnd::Stored));
        let mut stored = reader.stored().unwrap().all();
        assert_eq!(stored.next().unwrap(), "body");
        assert!(stored.next().is_none());
    });
}

#[test]
fn a_head_without_body_is_sent_after_it_is_stored() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let addr = cache.clone();
        let (opened, reader) = oneshot::channel();
        actix_rt::spawn(BodyWriter::new(ticket, plain_head(), Some(0)).run(
            chunks(vec![]),
            move |_, reader| {
                let _ = opened.send(reader);
            },
        ));
        assert_eq!(reader.await.unwrap().end(), Some(FetchEnd::Stored));
        assert_eq!(found(&addr, "/a").await.len(), 1);
    });
}

#[test]
fn a_truncated_body_is_truncated_for_all_readers_and_not_stored() {
    run(async {
        let cache = cache(16 * MIB);
        for (length, ends_with) in [(None, Some(Err(BodyError::Truncated))), (Some(9), None)] {
            let ticket = lead(&cache, "/a").await;
            let mut reader = None;
            let mut body = vec![Ok(Bytes::from_static(b"ab"))];
            body.extend(ends_with);
            let body = futures_util::stream::iter(body);
            BodyWriter::new(ticket, plain_head(), length)
                .run(body, |_, opened| reader = Some(opened))
                .await;
            let reader = reader.unwrap();
            assert!(reader.stored().is_none());
            assert_eq!(read_all(reader).await, Err(BodyError::Truncated));
            assert!(found(&cache, "/a").await.is_empty());
        }
    });
}

#[test]
fn a_stalled_reader_is_dropped_and_delays_no_other() {
    run(async {
        let cache = cache(4 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut fill = join(&cache, "/a").await;
        let (feed, body) = fed();
        let (opened, leader) = oneshot::channel();
        actix_rt::spawn(
            BodyWriter::new(ticket, plain_head(), None).run(body, move |_, reader| {
                let _ = opened.send(reader);
            }),
        );
        let leader = leader.await.unwrap();
        let FetchEvent::Head(shared_head) = fill.event().await else {
            panic!()
        };
        let stalled = shared_head.reader();
        for _ in 0..160 {
            feed.send(Ok(Bytes::from(vec![b'x'; 64 * 1024]))).unwrap();
        }
        drop(feed);
        assert_eq!(
            read_all(leader).await.map(|all| all.len()),
            Ok(160 * 64 * 1024)
        );
        assert_eq!(read_all(stalled).await, Err(BodyError::TooSlow));
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
fn a_scan_does_not_evict_frequently_used_entries() {
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
fn memory_held_by_slow_readers_counts_against_the_budget() {
    run(async {
        let cache = cache(4 * MIB);
        store(&cache, "/a", plain_head(), &vec![b'x'; 900_000]).await;
        let held = found(&cache, "/a").await.remove(0);
        cache.send(Clear).await.unwrap();
        assert_eq!(stats(&cache).await.stored_bytes, 0);
        // Another thread frees what was cleared, except what the reader holds.
        until(|| stats(&cache), |stats| stats.used_bytes > 900_000).await;
        drop(held);
        until(|| stats(&cache), |stats| stats.used_bytes == 0).await;
    });
}

#[test]
fn a_body_that_grows_too_large_reaches_its_readers_and_uses_little_memory() {
    run(async {
        let cache = cache(4 * MIB);
        let ticket = lead(&cache, "/a").await;
        let mut follower = join(&cache, "/a").await;
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let body = chunks(vec![chunk; 640]);
        let (opened, leader) = oneshot::channel();
        actix_rt::spawn(
            BodyWriter::new(ticket, plain_head(), None).run(body, move |_, reader| {
                let _ = opened.send(reader);
            }),
        );
        let mut leader = leader.await.unwrap();
        let _ = follower.event().await;
        let mut read = 0;
        while let Some(bytes) = leader.next().await {
            read += bytes.unwrap().len();
            if read % (1024 * 1024) == 0 {
                let used = stats(&cache).await.used_bytes;
                assert!(used <= 3 * MIB, "{used} bytes are held after {read}");
            }
        }
        assert_eq!(read, 640 * 64 * 1024);
        assert_eq!(leader.end(), Some(FetchEnd::NotStored(Reason::TooLarge)));
        assert!(found(&cache, "/a").await.is_empty());
        drop((leader, follower));
        assert_eq!(stats(&cache).await.used_bytes, 0);
    });
}

#[test]
fn a_body_that_has_arrived_with_its_head_is_whole_if_it_cannot_be_stored() {
    run(async {
        let chunk = Bytes::from(vec![b'x'; 1500]);
        for (count, length) in [(1, Some(1500)), (3, Some(4500)), (3, None)] {
            let cache = cache(4 * 1024);
            let ticket = lead(&cache, "/a").await;
            let (opened, reader) = oneshot::channel();
            let body = chunks(vec![chunk.clone(); count]);
            actix_rt::spawn(BodyWriter::new(ticket, plain_head(), length).run(
                body,
                move |_, reader| {
                    let _ = opened.send(reader);
                },
            ));
            let body = read_all(reader.await.unwrap()).await.unwrap();
            assert_eq!(body.len(), count * 1500);
            assert!(found(&cache, "/a").await.is_empty());
        }
    });
}

#[test]
fn a_body_too_large_to_store_without_readers_is_abandoned() {
    run(async {
        let cache = cache(4 * MIB);
        let ticket = lead(&cache, "/a").await;
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let endless = futures_util::stream::repeat_with(move || Ok::<_, BodyError>(chunk.clone()));
        BodyWriter::new(ticket, plain_head(), None)
            .run(endless, |_, reader| drop(reader))
            .await;
        assert_eq!(stats(&cache).await, nothing(4 * MIB));
    });
}

#[test]
fn a_body_of_tiny_chunks_is_charged_with_its_overhead() {
    run(async {
        let cache = cache(16 * MIB);
        let ticket = lead(&cache, "/a").await;
        let body = chunks(vec![Bytes::from_static(b"x"); 100_000]);
        let mut reader = None;
        BodyWriter::new(ticket, plain_head(), None)
            .run(body, |_, opened| reader = Some(opened))
            .await;
        let stats = stats(&cache).await;
        assert!(stats.used_bytes <= 16 * MIB, "{stats:?}");
        let end = reader.as_ref().and_then(BodyReader::end);
        assert!(
            matches!(
                end,
                Some(FetchEnd::NotStored(Reason::NoRoom) | FetchEnd::Stored)
            ),
            "{end:?}"
        );
    });
}

#[test]
fn memory_shared_by_combined_bodies_counts_once_and_is_released() {
    run(async {
        let cache = cache(16 * MIB);
        let body: Vec<u8> = (0..=250).cycle().take(300_000).collect();
        store(&cache, "/a", plain_head(), &body).await;
        for round in 0..20_u64 {
            let held = found(&cache, "/a").await;
            // The middle is fetched again, so pieces are cut at both ends.
            let (first, last) = (40_000 + round * 1000, 200_000 - round);
            let place = |at: u64| usize::try_from(at).unwrap();
            let claim = Claim {
                variant: None,
                wait: Duration::from_secs(5),
                key: key("/a"),
                basis: ClaimBasis::Found(cache.send(Get(key("/a"))).await.unwrap()),
                revalidates: None,
                coalescing: Coalescing::Never,
                now: NOW,
            };
            let Claimed::Lead(ticket) = cache.send(claim).await.unwrap() else {
                panic!();
            };
            let new = Bytes::copy_from_slice(&body[place(first)..=place(last)]);
            let before = Some(0..=first - 1);
            let after = Some(last + 1..=body.len() as u64 - 1);
            let writer = BodyWriter::new(ticket, plain_head(), Some(new.len() as u64))
                .join(&held[0], before, after);
            writer.run(chunks(vec![new]), |_, _| {}).await;
            drop(held);
            let held = found(&cache, "/a").await;
            assert_eq!(bytes_of(held[0].body()), body, "{round}");
            let weight = held[0].weight_bytes() + key("/a").heap_bytes();
            let counted = stats(&cache).await;
            assert_eq!(
                (counted.stored_bytes, counted.entries),
                (weight, 1),
                "{round}"
            );
            // What was replaced is freed in another thread.
            until(|| stats(&cache), |stats| stats.used_bytes == weight).await;
        }
        cache.send(Clear).await.unwrap();
        until(|| stats(&cache), |stats| stats.used_bytes == 0).await;
    });
}
