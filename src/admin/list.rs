//! `list`: the stored keys, sorted, a page at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AdminError, filter};
use crate::{
    cache::{EntryFilter, FilterSpec, ListOrder, ListQuery, Listing, MAX_LISTED, MAX_OFFSET},
    policy::Time,
    proxy::Shared,
};

/// How long a list may read the disk.
const DISK_TIME: Duration = Duration::from_secs(4);

/// Which keys to list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListRequest {
    /// A path or a pattern; `None` lists everything.
    pub path: Option<String>,
    /// The order of the list.
    pub order: ListOrder,
    /// How many keys to list.
    pub limit: usize,
    /// How many keys to skip first.
    pub offset: usize,
}

impl Default for ListRequest {
    fn default() -> Self {
        Self {
            path: None,
            order: ListOrder::Path,
            limit: 50,
            offset: 0,
        }
    }
}

/// Lists the stored keys. A listed response does not count as used.
///
/// # Errors
/// The path is not valid, the list goes too far, or the cache did not respond.
pub async fn list(shared: &Shared, request: ListRequest, now: Time) -> Result<Listing, AdminError> {
    if request.limit > MAX_LISTED {
        return Err(AdminError::Limit);
    }
    if request.offset > MAX_OFFSET {
        return Err(AdminError::Offset);
    }
    let wanted = match request.path {
        None => EntryFilter::all(),
        Some(path) => {
            let names = FilterSpec {
                paths: vec![path],
                ..FilterSpec::default()
            };
            filter(&names, shared)?
        }
    };
    let list = ListQuery {
        filter: wanted,
        order: request.order,
        offset: request.offset,
        limit: request.limit,
        disk_time: DISK_TIME,
    };
    Ok(shared.cache.list(&list, now).await?)
}
