//! The settings of the store on disk.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde_json::{Value, json};

use super::{
    ConfigError, SettingSources, ValueError,
    settings::{path, size},
    value::{self, Given},
};

/// The space of the store if nothing else is set, in bytes.
const DEFAULT_MAX_DISK: ByteSize = ByteSize::gib(10);
/// The least space of a store: some of it is always kept free for what comes.
const LEAST_MAX_DISK: ByteSize = ByteSize::mib(64);
/// The largest body takes at most this part of the space.
const OBJECT_PARTS: u64 = 4;

/// The settings of the store on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The directory of the store. `None`: responses are stored in memory only.
    pub directory: Option<PathBuf>,
    /// The most space that the store takes, in bytes.
    pub max_disk_bytes: u64,
    /// The largest body that is stored on disk, in bytes.
    pub max_disk_object_bytes: u64,
    /// The space that the store leaves free on its file system, in bytes. `None`: the larger of 1 GiB and 5 % of the file
    /// system.
    pub disk_reserve_bytes: Option<u64>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            directory: None,
            max_disk_bytes: DEFAULT_MAX_DISK.0,
            max_disk_object_bytes: DEFAULT_MAX_DISK.0 / OBJECT_PARTS,
            disk_reserve_bytes: None,
        }
    }
}

impl StoreSettings {
    pub(super) fn read(sources: &SettingSources<'_>) -> Result<Self, ConfigError> {
        let max_disk_bytes = sources
            .get("max-disk", |given| value::size(given, LEAST_MAX_DISK))?
            .unwrap_or(DEFAULT_MAX_DISK.0);
        let most = max_disk_bytes / OBJECT_PARTS;
        let object = sources.find("max-disk-object", |given| {
            value::size(given, ByteSize::b(1))
        })?;
        let max_disk_object_bytes = match object {
            None => most,
            Some((bytes, _)) if bytes <= most => bytes,
            Some((bytes, place)) => {
                return Err(ConfigError::ObjectOverDisk {
                    place,
                    max_disk_object: ByteSize(bytes),
                    most: ByteSize(most),
                });
            }
        };
        Ok(Self {
            directory: sources.get("store", value::directory)?.flatten(),
            max_disk_bytes,
            max_disk_object_bytes,
            disk_reserve_bytes: sources.get("disk-reserve", reserve)?.flatten(),
        })
    }

    /// The settings by their keys, in the order of the file.
    pub(super) fn values(&self) -> [(&'static str, Value); 4] {
        let Self {
            directory,
            max_disk_bytes,
            max_disk_object_bytes,
            disk_reserve_bytes,
        } = self;
        [
            ("store", path(directory.as_deref())),
            ("max_disk", size(*max_disk_bytes)),
            ("max_disk_object", size(*max_disk_object_bytes)),
            (
                "disk_reserve",
                disk_reserve_bytes.map_or_else(|| json!("auto"), size),
            ),
        ]
    }
}

/// A size. `None` for `auto`.
fn reserve(given: &Given) -> Result<Option<u64>, ValueError> {
    match given.text() {
        Some("auto") => Ok(None),
        _ => value::size(given, ByteSize::b(0)).map(Some),
    }
}
