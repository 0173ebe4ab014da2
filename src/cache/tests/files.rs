//! Bodies too large for memory, which are read in their file while they arrive.

use futures_util::StreamExt as _;

use super::*;
use crate::{
    cache::{DiskTier, Namespace},
    disk::DiskLimits,
};

const KIB: usize = 1024;

/// A cache of 4 MiB with a store on disk.
struct OnDiskCache {
    cache: Addr<CacheActor>,
    tier: Arc<DiskTier>,
    directory: tempfile::TempDir,
}

impl OnDiskCache {
    /// The longest body on disk has so many bytes.
    fn new(max_object_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let limits = DiskLimits {
            max_bytes: 64 * MIB,
            reserve_bytes: Some(0),
            max_object_bytes,
        };
        let opened = DiskTier::open(directory.path(), limits, Namespace([0; 16]), NOW).unwrap();
        let tier = Arc::new(opened.tier);
        let budget = Budget::new(4 * MIB);
        let limits = (Arc::clone(&budget), MIB);
        let disk = Some(Arc::clone(&tier));
        let fetches = (tier.first_fetch(), false);
        let cache = CacheActor::new(empty_store(&budget), limits, (disk, None), fetches).start();
        Self {
            cache,
            tier,
            directory,
        }
    }

    /// A fetch of a body of this length, its sender, and the reader of its leader.
    async fn begin(&self, length: Option<usize>) -> (Feed, BodyReader) {
        let ticket = lead(&self.cache, "/a").await;
        let (feed, body) = fed();
        let (opened, leader) = oneshot::channel();
        let length = length.map(|length| length as u64);
        let writer = BodyWriter::new(ticket, plain_head(), length);
        actix_rt::spawn(writer.run(body, move |_, reader| {
            let _ = opened.send(reader);
        }));
        if length.is_none() {
            // More than fits in memory.
            let feed = Feed { sender: feed };
            feed.send(0..MIB_BYTES + 1);
            return (feed, leader.await.unwrap());
        }
        (Feed { sender: feed }, leader.await.unwrap())
    }

    async fn follower(&self) -> BodyReader {
        let mut fetch = join(&self.cache, "/a").await;
        match fetch.event().await {
            FetchEvent::Head(shared) => shared.reader(),
            other => panic!("{other:?}"),
        }
    }

    /// What is stored for the key, from its file.
    async fn stored(&self) -> Option<Vec<u8>> {
        let entry = found(&self.cache, "/a").await.into_iter().next()?;
        read_file(entry.body()).await
    }

    async fn close(self) {
        self.tier.close().await;
    }
}

/// What is in the file of a body. `None` if it has none.
async fn read_file(body: &Body) -> Option<Vec<u8>> {
    let mut part = body.file_part(0..=u64::MAX)?;
    let mut all = Vec::new();
    while let Some(bytes) = part.next().await {
        all.extend_from_slice(&bytes.unwrap());
    }
    Some(all)
}

const MIB_BYTES: usize = KIB * KIB;

struct Feed {
    sender: mpsc::UnboundedSender<Result<Bytes, BodyError>>,
}

impl Feed {
    /// Sends these bytes of [`bytes`], in chunks.
    fn send(&self, place: std::ops::Range<usize>) {
        for chunk in bytes(place).chunks(48 * KIB) {
            let _ = self.sender.send(Ok(Bytes::copy_from_slice(chunk)));
        }
    }

    fn cut(self) {
        let _ = self.sender.send(Err(BodyError::Truncated));
    }
}

/// These bytes of a body that does not repeat.
fn bytes(place: std::ops::Range<usize>) -> Vec<u8> {
    let word = |at: usize| u32::try_from(at).unwrap().wrapping_mul(2_654_435_761) >> 11;
    place.map(|at| word(at).to_le_bytes()[0]).collect()
}

/// Reads until so many bytes have arrived.
async fn read_some(reader: &mut BodyReader, count: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < count {
        read.extend_from_slice(&reader.next().await.unwrap().unwrap());
    }
    read
}

/// Reads to the end, after `read`.
async fn read_rest(mut read: Vec<u8>, reader: BodyReader) -> Result<Vec<u8>, BodyError> {
    read.extend(read_all(reader).await?);
    Ok(read)
}

#[test]
fn followers_read_a_body_too_large_for_memory_from_its_beginning() {
    run(async {
        for length in [Some(6 * MIB_BYTES), None] {
            let on_disk = OnDiskCache::new(16 * MIB);
            let (feed, mut leader) = on_disk.begin(length).await;
            let begun = if length.is_none() { MIB_BYTES + 1 } else { 0 };
            feed.send(begun..3 * MIB_BYTES);
            let of_leader = read_some(&mut leader, 3 * MIB_BYTES).await;
            // Its beginning is not in memory any more.
            let mut late = on_disk.follower().await;
            let idle = on_disk.follower().await;
            let of_late = read_some(&mut late, 2 * MIB_BYTES).await;
            feed.send(3 * MIB_BYTES..6 * MIB_BYTES);
            drop(feed);
            let of_leader = read_rest(of_leader, leader).await;
            let of_late = read_rest(of_late, late).await;
            let whole = bytes(0..6 * MIB_BYTES);
            assert!(of_leader.as_ref() == Ok(&whole), "{length:?}");
            assert!(of_late.as_ref() == Ok(&whole), "{length:?}");
            assert!(on_disk.stored().await.as_ref() == Some(&whole));
            assert!(read_all(idle).await.as_ref() == Ok(&whole), "{length:?}");
            on_disk.close().await;
        }
    });
}

#[test]
fn a_file_that_is_kept_open_is_read_to_its_end_if_it_is_removed() {
    run(async {
        let on_disk = OnDiskCache::new(16 * MIB);
        let (feed, leader) = on_disk.begin(Some(2 * MIB_BYTES)).await;
        feed.send(0..2 * MIB_BYTES);
        drop(feed);
        let whole = read_all(leader).await.unwrap();
        let entries = found(&on_disk.cache, "/a").await;
        let opened = entries[0].body().kept_open().await.unwrap();
        std::fs::remove_dir_all(on_disk.directory.path().join("large")).unwrap();
        assert!(entries[0].body().kept_open().await.is_none());
        assert!(read_file(&opened).await == Some(whole));
        on_disk.close().await;
    });
}

#[test]
fn a_leader_that_leaves_does_not_end_a_fetch_that_others_read() {
    run(async {
        let on_disk = OnDiskCache::new(16 * MIB);
        let (feed, mut leader) = on_disk.begin(Some(4 * MIB_BYTES)).await;
        feed.send(0..2 * MIB_BYTES);
        read_some(&mut leader, 2 * MIB_BYTES).await;
        let follower = on_disk.follower().await;
        drop(leader);
        feed.send(2 * MIB_BYTES..4 * MIB_BYTES);
        drop(feed);
        let whole = bytes(0..4 * MIB_BYTES);
        assert!(read_all(follower).await.as_ref() == Ok(&whole));
        assert!(on_disk.stored().await.as_ref() == Some(&whole));
        on_disk.close().await;
    });
}

#[test]
fn a_cut_fetch_cuts_its_readers_in_the_file() {
    run(async {
        for length in [Some(6 * MIB_BYTES), None] {
            let on_disk = OnDiskCache::new(16 * MIB);
            let (feed, mut leader) = on_disk.begin(length).await;
            let begun = if length.is_none() { MIB_BYTES + 1 } else { 0 };
            feed.send(begun..3 * MIB_BYTES);
            read_some(&mut leader, 3 * MIB_BYTES).await;
            let (mut follower, late) = (on_disk.follower().await, on_disk.follower().await);
            read_some(&mut follower, MIB_BYTES).await;
            feed.cut();
            assert_eq!(read_all(leader).await, Err(BodyError::Truncated));
            assert_eq!(read_all(follower).await, Err(BodyError::Truncated));
            assert_eq!(read_all(late).await, Err(BodyError::Truncated));
            assert!(on_disk.stored().await.is_none());
            on_disk.close().await;
        }
    });
}

#[test]
fn a_body_of_known_length_arrives_whatever_its_readers_do() {
    run(async {
        let on_disk = OnDiskCache::new(16 * MIB);
        let (feed, leader) = on_disk.begin(Some(8 * MIB_BYTES)).await;
        feed.send(0..8 * MIB_BYTES);
        drop(feed);
        let whole = bytes(0..8 * MIB_BYTES);
        while leader.end().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(on_disk.stored().await.as_ref() == Some(&whole));
        assert!(read_all(leader).await.as_ref() == Ok(&whole));
        on_disk.close().await;
    });
}

#[test]
fn a_body_of_unknown_length_waits_for_its_fastest_reader() {
    run(async {
        let on_disk = OnDiskCache::new(16 * MIB);
        let (feed, mut leader) = on_disk.begin(None).await;
        feed.send(MIB_BYTES + 1..3 * MIB_BYTES);
        read_some(&mut leader, 3 * MIB_BYTES).await;
        // The leader stops here, and a follower passes it.
        let mut follower = on_disk.follower().await;
        feed.send(3 * MIB_BYTES..8 * MIB_BYTES);
        read_some(&mut follower, 7 * MIB_BYTES).await;
        feed.send(8 * MIB_BYTES..14 * MIB_BYTES);
        drop(feed);
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(leader.end(), None);
        let rest = read_all(follower).await.unwrap().len();
        assert!(rest <= 7 * MIB_BYTES && rest > 6 * MIB_BYTES, "{rest}");
        assert!(on_disk.stored().await.is_some());
        on_disk.close().await;
    });
}

#[test]
fn the_last_byte_is_not_read_in_the_file_before_the_body_is_stored() {
    run(async {
        let on_disk = OnDiskCache::new(16 * MIB);
        // All of it is in the file as soon as it has arrived.
        let (feed, leader) = on_disk.begin(Some(2 * MIB_BYTES)).await;
        feed.send(0..2 * MIB_BYTES);
        while on_disk.tier.stats().written_bytes < 2 * MIB {
            tokio::task::yield_now().await;
        }
        let mut follower = on_disk.follower().await;
        let read = read_some(&mut follower, MIB_BYTES).await;
        let rest = actix_rt::spawn(read_rest(read, follower));
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!rest.is_finished() && leader.end().is_none());
        drop(feed);
        assert!(rest.await.unwrap() == Ok(bytes(0..2 * MIB_BYTES)));
        on_disk.close().await;
    });
}

#[test]
fn readers_of_a_file_that_is_given_up_may_fetch_the_rest_themselves() {
    run(async {
        let on_disk = OnDiskCache::new(4 * MIB);
        let (feed, mut leader) = on_disk.begin(None).await;
        feed.send(MIB_BYTES + 1..3 * MIB_BYTES);
        let of_leader = read_some(&mut leader, 3 * MIB_BYTES).await;
        let mut follower = on_disk.follower().await;
        let of_follower = read_some(&mut follower, MIB_BYTES).await;
        feed.send(3 * MIB_BYTES..6 * MIB_BYTES);
        drop(feed);
        let whole = bytes(0..6 * MIB_BYTES);
        assert!(read_rest(of_leader, leader).await.as_ref() == Ok(&whole));
        let of_follower = read_rest(of_follower, follower).await;
        assert_eq!(of_follower, Err(BodyError::TooSlow));
        assert!(found(&on_disk.cache, "/a").await.is_empty());
        on_disk.close().await;
    });
}

#[test]
fn a_clear_ends_no_reader_and_nothing_is_stored() {
    run(async {
        let on_disk = OnDiskCache::new(16 * MIB);
        let (feed, leader) = on_disk.begin(Some(4 * MIB_BYTES)).await;
        feed.send(0..2 * MIB_BYTES);
        let follower = on_disk.follower().await;
        on_disk.cache.send(Clear).await.unwrap();
        assert!(matches!(
            claim_of(&on_disk.cache, "/a", Coalescing::Join).await,
            Claimed::Lead(_)
        ));
        feed.send(2 * MIB_BYTES..4 * MIB_BYTES);
        drop(feed);
        let whole = bytes(0..4 * MIB_BYTES);
        assert!(read_all(leader).await.as_ref() == Ok(&whole));
        assert!(read_all(follower).await.as_ref() == Ok(&whole));
        assert!(found(&on_disk.cache, "/a").await.is_empty());
        on_disk.close().await;
    });
}
