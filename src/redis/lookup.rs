//! Reading records.

use std::sync::{Arc, atomic::Ordering};

use ::redis::{Value, cmd};
use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::redis::{
    address::{RecordName, SharedAddress},
    record::{
        CHECKSUM_BYTES, CHUNK_BYTES, ChunkedBody, SharedRecord, SharedRecordBody, chunk_count,
        read_chunk, read_record,
    },
    replies,
    servers::{Line, SendError, Servers},
    shared::{RedisShared, Weight, add},
    unavailable::RedisUnavailable,
};

/// All records at these addresses that the applied events can judge.
pub(super) async fn get(
    shared: &RedisShared,
    addresses: Vec<SharedAddress>,
) -> Result<Vec<SharedRecord>, RedisUnavailable> {
    let servers = shared.servers().ok_or(RedisUnavailable::Away)?;
    add(&shared.numbers.lookups, 1);
    let heads = addresses
        .iter()
        .map(|address| heads(shared, &servers, address));
    let heads = shared
        .within(shared.timeout, Weight::Usual, try_join_all(heads))
        .await?;
    let mut records = Vec::new();
    for ((address_index, address), heads) in addresses.iter().enumerate().zip(heads) {
        let values = heads.and_then(replies::pairs).unwrap_or_default();
        for (_, value) in values {
            let record = read(shared, value, address);
            match record {
                Some(record) => records.push(SharedRecord {
                    address_index,
                    ..record
                }),
                None => add(&shared.numbers.corrupt, 1),
            }
        }
    }
    // The process may have been stopped since the question.
    let Some(applied) = shared.applied().filter(|_| shared.has_lease()) else {
        return Err(RedisUnavailable::Away);
    };
    records.retain(|record| applied.judge(record.stamp));
    shared
        .numbers
        .found
        .fetch_add(records.len() as u64, Ordering::Relaxed);
    Ok(records)
}

/// What Redis has at an address. `None` if it is of another type.
async fn heads(
    shared: &RedisShared,
    servers: &Servers,
    address: &SharedAddress,
) -> Result<Option<Value>, SendError> {
    let key = shared.keys.heads(RecordName::of(address));
    let mut command = cmd("HGETALL");
    command.arg(&key);
    match servers.send(&key, Line::Quick, &command).await {
        Err(SendError::Redis(error)) if replies::is_answer(&error) => {
            add(&shared.numbers.corrupt, 1);
            Ok(None)
        }
        reply => reply.map(Some),
    }
}

fn read(shared: &RedisShared, value: Value, address: &SharedAddress) -> Option<SharedRecord> {
    let bytes = Bytes::from(replies::bytes(value)?);
    let record = read_record(&bytes, address)?;
    if record.body_bytes > shared.max_object_bytes {
        return None;
    }
    let parts = match record.inline {
        Some(_) => 0,
        None => chunk_count(record.body_bytes)?,
    };
    let body = ChunkedBody {
        address: address.clone(),
        nonce: record.nonce,
        body_bytes: record.body_bytes,
        chunks: parts,
    };
    Some(SharedRecord {
        address_index: 0,
        stamp: record.stamp,
        head: record.head,
        body: match record.inline {
            Some(inline) => SharedRecordBody::Inline(inline),
            None => SharedRecordBody::Chunked(body.clone()),
        },
        place: body,
    })
}

/// The whole body of a record.
pub(super) async fn body(
    shared: &Arc<RedisShared>,
    body: &ChunkedBody,
) -> Result<Vec<Bytes>, RedisUnavailable> {
    let servers = shared.servers().ok_or(RedisUnavailable::Away)?;
    let name = RecordName::of(&body.address);
    let chunks = (0..body.chunks).map(|index| chunk(shared, &servers, name, body, index));
    let limit = shared.timing.hard_limit;
    // A large body may need longer over a slow network. One part may not.
    let weight = match body.chunks {
        1 => Weight::Hard,
        _ => Weight::Usual,
    };
    let chunks = shared.within(limit, weight, try_join_all(chunks)).await?;
    let chunks: Result<Vec<Bytes>, RedisUnavailable> = chunks.into_iter().collect();
    if chunks == Err(RedisUnavailable::Corrupt) {
        add(&shared.numbers.corrupt, 1);
    }
    chunks
}

async fn chunk(
    shared: &RedisShared,
    servers: &Servers,
    name: RecordName,
    body: &ChunkedBody,
    index: u32,
) -> Result<Result<Bytes, RedisUnavailable>, SendError> {
    let key = shared.keys.chunk(name, body.nonce, index);
    let begin = u64::from(index) * CHUNK_BYTES as u64;
    let length = body
        .body_bytes
        .saturating_sub(begin)
        .min(CHUNK_BYTES as u64);
    let length = usize::try_from(length).unwrap_or(CHUNK_BYTES);
    // One that is longer comes with a byte too many, and not as a whole: all parts together may be as long as the record
    // says, and not longer.
    let last = length + CHECKSUM_BYTES;
    let mut command = cmd("GETRANGE");
    command.arg(&key).arg(0).arg(last);
    let value = match servers.send(&key, Line::Bulk, &command).await {
        Err(SendError::Redis(error)) if replies::is_answer(&error) => {
            return Ok(Err(RedisUnavailable::Corrupt));
        }
        value => value?,
    };
    let bytes = replies::bytes(value).map(Bytes::from);
    // Nothing is a part that is not there.
    if bytes.as_ref().is_some_and(Bytes::is_empty) {
        return Ok(Err(RedisUnavailable::Gone));
    }
    let bytes = bytes.and_then(|bytes| read_chunk(bytes, body.nonce, index, length));
    Ok(bytes.ok_or(RedisUnavailable::Corrupt))
}
