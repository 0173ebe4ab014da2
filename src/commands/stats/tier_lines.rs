//! The lines about the tiers beneath memory (the store on disk, and what several instances share) and about certificates.

use bytesize::ByteSize;
use caching_proxy::{
    disk::DiskStats,
    observe::{CertificateReport, grouped},
    redis::RedisStats,
};

use crate::{commands::text, terminal::counted};

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
        "Shared     {:>8}   of {} lookups found, {} written, {}, {:.1} ms{state}",
        grouped(shared.found),
        grouped(shared.lookups),
        grouped(shared.written),
        counted(instances, "instance", "instances"),
        shared.round_trip_us as f64 / 1e3,
    )
}

/// The certificate that ends first. `None` without TLS.
pub(super) fn certificate_line(certificates: &[CertificateReport]) -> Option<String> {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    let first = certificates.iter().min_by_key(|it| it.seconds_left)?;
    let name = text::plain(&first.name);
    let left = match first.seconds_left {
        0 => return Some(format!("HTTPS       expired   the certificate for {name}")),
        seconds => counted(seconds / DAY_SECONDS, "day", "days"),
    };
    Some(format!(
        "HTTPS      {left:>8}   until the certificate for {name} expires"
    ))
}
