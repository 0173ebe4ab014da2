//! The lines about the tiers beneath memory: the store on disk, and what several instances share.

use bytesize::ByteSize;
use caching_proxy::{disk::DiskStats, observe::grouped, redis::RedisStats};

use crate::{
    commands::text::{self, noun},
    terminal::counted,
};

pub(super) fn disk_line(disk: &DiskStats) -> String {
    let state = match &disk.bypassed {
        Some(why) => format!("; not in use: {}", text::plain(why)),
        None if disk.is_loading => "; its index is being read".to_owned(),
        None => String::new(),
    };
    format!(
        "Disk       {:>8}   of {}; {} stored, {} evicted, {} read{state}",
        ByteSize(disk.bytes).to_string(),
        ByteSize(disk.limit_bytes),
        grouped(disk.responses),
        grouped(disk.evicted),
        grouped(disk.hits),
    )
}

pub(super) fn shared_line(shared: &RedisStats) -> String {
    let state = match &shared.bypassed {
        Some(why) => format!("; not in use: {}", text::plain(why)),
        None => String::new(),
    };
    let instances = shared.instances.len() as u64;
    format!(
        "Shared     {:>8}   of {} {} found, {} written, {}, {:.1} ms{state}",
        grouped(shared.found),
        grouped(shared.lookups),
        noun(shared.lookups, "lookup"),
        grouped(shared.written),
        counted(instances, "proxy", "proxies"),
        shared.round_trip_us as f64 / 1e3,
    )
}
