//! The metrics of the tiers beneath memory: the store on disk, and what several instances share.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

use super::samples::{counter, gauge, sample};
use crate::{disk::DiskStats, redis::RedisStats};

pub(super) fn disk(to: &mut DescriptorEncoder<'_>, disk: &DiskStats) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    gauge(
        to,
        "disk_entries",
        "Responses stored on disk",
        None,
        disk.responses,
    )?;
    gauge(
        to,
        "disk_used",
        "Space that the store on disk takes",
        bytes(),
        disk.bytes,
    )?;
    let help = "Most space that the store on disk takes";
    gauge(to, "disk_limit", help, bytes(), disk.limit_bytes)?;
    let help = "Responses that wait to be written to disk, in memory";
    gauge(to, "disk_waiting", help, bytes(), disk.waiting_bytes)?;
    let help = "1 if the store on disk is in use, 0 if it fails";
    gauge(
        to,
        "disk_up",
        help,
        None,
        u64::from(disk.bypassed.is_none()),
    )?;
    let help = "Lookups on disk by result";
    let mut family = to.encode_descriptor("disk_lookups", help, None, MetricType::Counter)?;
    for (result, count) in [
        ("hit", disk.hits),
        ("miss", disk.misses),
        ("late", disk.late),
        ("corrupt", disk.corrupt),
    ] {
        sample(&mut family, &[("result", result)], count)?;
    }
    counter(
        to,
        "disk_writes",
        "Responses written to disk",
        None,
        disk.written,
    )?;
    let help = "Bytes written to disk";
    counter(
        to,
        "disk_written",
        help,
        bytes().as_ref(),
        disk.written_bytes,
    )?;
    let help =
        "Responses that were not written to disk: it was too slow, failed, or they were too large";
    counter(to, "disk_dropped", help, None, disk.dropped)?;
    let help = "Responses that were removed from disk to make room";
    counter(to, "disk_evictions", help, None, disk.evicted)
}

pub(super) fn shared_tier(to: &mut DescriptorEncoder<'_>, shared: &RedisStats) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    let help = "1 if the shared tier is in use, 0 if it fails";
    let is_up = u64::from(shared.bypassed.is_none());
    gauge(to, "shared_up", help, None, is_up)?;
    let help = "Instances that share the cache, with this one";
    let instances = shared.instances.len() as u64;
    gauge(to, "shared_instances", help, None, instances)?;
    let help = "Time of the last round trip to the shared tier";
    let seconds = shared.round_trip_us as f64 / 1e6;
    gauge(to, "shared_round_trip", help, Some(Unit::Seconds), seconds)?;
    let help = "Responses that wait to be written to the shared tier, in memory";
    gauge(to, "shared_waiting", help, bytes(), shared.waiting_bytes)?;
    let help = "Ends of responses that wait until other instances can be told";
    gauge(
        to,
        "shared_waiting_events",
        help,
        None,
        shared.waiting_events,
    )?;
    let help = "Lookups in the shared tier";
    counter(to, "shared_lookups", help, None, shared.lookups)?;
    let help = "Responses found in the shared tier";
    counter(to, "shared_found", help, None, shared.found)?;
    let help = "Requests to the shared tier that failed, by kind";
    let mut family = to.encode_descriptor("shared_failures", help, None, MetricType::Counter)?;
    for (kind, count) in [
        ("late", shared.late),
        ("failed", shared.failed),
        ("corrupt", shared.corrupt),
    ] {
        sample(&mut family, &[("kind", kind)], count)?;
    }
    let help = "Responses written to the shared tier";
    counter(to, "shared_writes", help, None, shared.written)?;
    let help = "Bytes written to the shared tier";
    let written = shared.written_bytes;
    counter(to, "shared_written", help, bytes().as_ref(), written)?;
    let help =
        "Responses that were not written to the shared tier: too many waited, or it was not in use";
    counter(to, "shared_dropped", help, None, shared.dropped)?;
    let help = "Events of all instances that were applied here";
    counter(to, "shared_events", help, None, shared.events)
}
