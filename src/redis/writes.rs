//! Writing records, in the background.

use std::sync::{Arc, atomic::Ordering};

use ::redis::cmd;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::redis::{
    address::{RecordName, hash},
    random::random_number,
    record::{
        CHUNK_BYTES, ChunkedBody, NewRecord, chunk_count, is_inline, parts_of, write_chunk,
        write_record,
    },
    replies,
    script::{LENGTHEN_SCRIPT, STORE_SCRIPT, ScriptCall},
    servers::{Line, Servers},
    settings::{MAX_TTL, milliseconds},
    shared::{RedisShared, Weight, add},
    unavailable::RedisUnavailable,
};

/// The bytes of records that wait to be written. One alone may be longer.
const MAX_WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// The most variants at one address.
const MAX_VARIANTS: u64 = 32;
/// How many records are written at the same time. Those at one address are written one after the other.
const LANES: usize = 16;
/// How many parts of a body are written at the same time.
const PARTS_AT_ONCE: usize = 4;
/// How long the parts of a body that was replaced are kept for those who read them (ms).
const REPLACED_MS: u64 = 60_000;

/// Something to write.
pub(super) enum WriteJob {
    /// A record, and the bytes that were counted for it.
    Put(NewRecord, u64),
    /// A record is kept for at least so many milliseconds.
    Lengthen(ChunkedBody, u64),
}

/// The queues of records to write.
pub(super) struct WriteLanes {
    lanes: Vec<mpsc::UnboundedSender<WriteJob>>,
    shared: Arc<RedisShared>,
}

impl WriteLanes {
    /// Starts the tasks that write. They end when this is dropped and all is written.
    pub(super) fn start(shared: &Arc<RedisShared>, runtime: &tokio::runtime::Handle) -> Self {
        let lanes = (0..LANES).map(|_| {
            let (sender, jobs) = mpsc::unbounded_channel();
            runtime.spawn(write_all(Arc::clone(shared), jobs));
            sender
        });
        Self {
            lanes: lanes.collect(),
            shared: Arc::clone(shared),
        }
    }

    /// Writes a record later, or drops it.
    pub(super) fn put(&self, record: NewRecord) {
        let numbers = &self.shared.numbers;
        let body_bytes: usize = record.body.iter().map(Bytes::len).sum();
        let bytes = (body_bytes + record.head.len() + 1_024) as u64;
        let waiting = numbers.waiting_bytes.load(Ordering::Relaxed);
        let has_room = waiting == 0 || waiting.saturating_add(bytes) <= MAX_WAITING_BYTES;
        let may_write =
            self.shared.is_usable() && body_bytes as u64 <= self.shared.max_object_bytes;
        if !has_room || !may_write {
            return add(&numbers.dropped, 1);
        }
        add(&numbers.waiting_bytes, bytes);
        let name = RecordName::of(&record.address);
        self.give(name, WriteJob::Put(record, bytes));
    }

    /// Keeps a record for longer.
    pub(super) fn lengthen(&self, record: &ChunkedBody, ms: u64) {
        if self.shared.is_usable() {
            let name = RecordName::of(&record.address);
            self.give(name, WriteJob::Lengthen(record.clone(), ms));
        }
    }

    fn give(&self, name: RecordName, job: WriteJob) {
        let lane = usize::try_from(name.number() % LANES as u128).unwrap_or_default();
        if let Some(lane) = self.lanes.get(lane) {
            // Without the thread nothing is written.
            let _ = lane.send(job);
        }
    }
}

async fn write_all(shared: Arc<RedisShared>, mut jobs: mpsc::UnboundedReceiver<WriteJob>) {
    while let Some(job) = jobs.recv().await {
        match job {
            WriteJob::Put(record, counted) => {
                let result = put(&shared, &record).await;
                match result {
                    Ok(bytes) => {
                        add(&shared.numbers.written, 1);
                        add(&shared.numbers.written_bytes, bytes);
                    }
                    Err(_) => add(&shared.numbers.dropped, 1),
                }
                shared
                    .numbers
                    .waiting_bytes
                    .fetch_sub(counted, Ordering::Relaxed);
            }
            WriteJob::Lengthen(record, ms) => {
                // What cannot be lengthened ends earlier.
                let _ = lengthen(&shared, &record, ms).await;
            }
        }
    }
}

/// Writes the parts of the body, then the head. Returns how many bytes were written.
async fn put(shared: &Arc<RedisShared>, record: &NewRecord) -> Result<u64, RedisUnavailable> {
    let servers = shared.servers().ok_or(RedisUnavailable::Away)?;
    let is_current = shared
        .applied()
        .is_some_and(|applied| applied.stamp.epoch == record.stamp.epoch);
    if !is_current {
        return Err(RedisUnavailable::Gone);
    }
    let nonce = random_number();
    let head = write_record(record, nonce).ok_or(RedisUnavailable::Failed)?;
    let name = RecordName::of(&record.address);
    let ttl_ms = milliseconds(record.ttl.min(MAX_TTL)).max(1);
    let body_bytes: u64 = record.body.iter().map(|part| part.len() as u64).sum();
    let mut written = head.len() as u64;
    let mut line = Line::Quick;
    if !is_inline(body_bytes) {
        line = Line::Bulk;
        written += body_bytes;
        let chunks = chunks(&record.body).zip(0..);
        let chunks = stream::iter(chunks).map(|(bytes, index)| {
            let key = shared.keys.chunk(name, nonce, index);
            put_chunk(
                shared,
                &servers,
                key,
                write_chunk(bytes, nonce, index),
                ttl_ms,
            )
        });
        let mut chunks = chunks.buffer_unordered(PARTS_AT_ONCE);
        while let Some(result) = chunks.next().await {
            result?;
        }
    }
    let variant = hash(&[&record.variant]);
    let call = ScriptCall::new([shared.keys.heads(name)])
        .arg(variant)
        .arg(head)
        .number(ttl_ms)
        .number(MAX_VARIANTS);
    let stored = STORE_SCRIPT.run(&servers, line, &call);
    let replaced = shared
        .within(shared.timing.write, Weight::Usual, stored)
        .await?;
    let replaced = replies::bytes(replaced).and_then(|beginning| parts_of(&beginning));
    if let Some((nonce, parts)) = replaced {
        forget_parts(shared, &servers, name, (nonce, parts)).await;
    }
    Ok(written)
}

async fn put_chunk(
    shared: &RedisShared,
    servers: &Servers,
    key: String,
    bytes: Vec<u8>,
    ttl_ms: u64,
) -> Result<(), RedisUnavailable> {
    let mut command = cmd("SET");
    command.arg(&key).arg(bytes).arg("PX").arg(ttl_ms);
    let stored = servers.send(&key, Line::Bulk, &command);
    shared
        .within(shared.timing.write, Weight::Usual, stored)
        .await?;
    Ok(())
}

/// The parts of a body.
fn chunks(body: &[Bytes]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest: Vec<Bytes> = body.iter().rev().cloned().collect();
    std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            let Some(mut part) = rest.pop() else {
                break;
            };
            let room = CHUNK_BYTES - chunk.len();
            let taken = part.split_to(part.len().min(room));
            chunk.extend_from_slice(&taken);
            if !part.is_empty() {
                rest.push(part);
            }
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The parts of a body that was replaced are given back soon.
async fn forget_parts(
    shared: &RedisShared,
    servers: &Servers,
    name: RecordName,
    (nonce, parts): (u128, u32),
) {
    let parts = parts.min(chunk_count(shared.max_object_bytes).unwrap_or(u32::MAX));
    for index in 0..parts {
        let key = shared.keys.chunk(name, nonce, index);
        let mut command = cmd("PEXPIRE");
        command.arg(&key).arg(REPLACED_MS);
        let shortened = servers.send(&key, Line::Bulk, &command);
        // What is not shortened ends later.
        if shared
            .within(shared.timing.write, Weight::Usual, shortened)
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn lengthen(
    shared: &RedisShared,
    record: &ChunkedBody,
    ms: u64,
) -> Result<(), RedisUnavailable> {
    let servers = shared.servers().ok_or(RedisUnavailable::Away)?;
    let name = RecordName::of(&record.address);
    let chunks = (0..record.chunks).map(|index| shared.keys.chunk(name, record.nonce, index));
    let keys = std::iter::once(shared.keys.heads(name)).chain(chunks);
    let call = ScriptCall::new(keys).number(ms);
    let lengthened = LENGTHEN_SCRIPT.run(&servers, Line::Quick, &call);
    shared
        .within(shared.timing.write, Weight::Usual, lengthened)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_one_length_but_for_the_last() {
        let pieces =
            [100_000, 0, 500_000, 24_288 + 7].map(|length| Bytes::from(vec![b'x'; length]));
        let lengths: Vec<usize> = chunks(&pieces).map(|chunk| chunk.len()).collect();
        assert_eq!(lengths, [CHUNK_BYTES, CHUNK_BYTES, 100_007]);
        assert_eq!(chunks(&[]).count(), 0);
    }
}
