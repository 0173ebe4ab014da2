//! The page's list of what is stored, and its buttons to purge and clear. Each carries a function of [`crate::admin`].

use actix_web::web::{self, Data, Json, Query};
use serde::{Deserialize, Serialize};

use super::methods::{get, post};
use crate::{
    admin::{self, AdminError, Caller, ClearRequest, ListRequest, PurgeRequest},
    cache::{FilterSpec, ListOrder, Listing},
    clock,
    proxy::Shared,
};

/// How many keys the page loads at a time.
const PAGE_SIZE: usize = 50;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(get("/api/entries", entries))
        .service(post("/api/purge", purge))
        .service(post("/api/clear", clear));
}

/// The query of `/api/entries`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EntriesQuery {
    /// The text in the search box; empty for everything.
    q: String,
    sort: ListOrder,
    offset: usize,
}

impl Default for EntriesQuery {
    fn default() -> Self {
        Self {
            q: String::new(),
            sort: ListOrder::Hits,
            offset: 0,
        }
    }
}

/// The body of `/api/purge`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeBody {
    /// A path, or the text in the search box.
    path: String,
}

/// How much was purged or cleared.
#[derive(Debug, Serialize)]
struct Removed {
    entries: u64,
    bytes: u64,
    /// Responses on disk. Some of them are in memory too.
    on_disk: u64,
    /// The instances that have not confirmed it, in words. Empty if all have.
    unconfirmed: String,
}

/// The path or pattern that the text in the search box means: text that does not begin like a path may stand anywhere
/// in it. `None` if there is no text.
fn pattern(text: &str) -> Option<String> {
    match text.trim() {
        "" => None,
        path if path.starts_with('/') || path.contains("://") => Some(path.to_owned()),
        pattern if pattern.contains('*') => Some(format!("/{pattern}")),
        text => Some(format!("/*{text}*")),
    }
}

async fn entries(
    query: Query<EntriesQuery>,
    shared: Data<Shared>,
) -> Result<Json<Listing>, AdminError> {
    let request = ListRequest {
        path: pattern(&query.q),
        order: query.sort,
        limit: PAGE_SIZE,
        offset: query.offset,
    };
    let listing = admin::list(&shared, request, clock::now()).await?;
    Ok(Json(listing))
}

async fn purge(body: Json<PurgeBody>, shared: Data<Shared>) -> Result<Json<Removed>, AdminError> {
    // Without a path nothing is named, which is refused.
    let request = PurgeRequest {
        names: FilterSpec {
            paths: pattern(&body.path).into_iter().collect(),
            ..FilterSpec::default()
        },
        ..PurgeRequest::default()
    };
    let purged = admin::purge(&shared, &request, Caller::Dashboard, clock::now()).await?;
    Ok(Json(Removed {
        entries: purged.responses,
        bytes: purged.bytes,
        on_disk: purged.on_disk,
        unconfirmed: admin::other_instances(&purged.unconfirmed),
    }))
}

async fn clear(shared: Data<Shared>) -> Result<Json<Removed>, AdminError> {
    let cleared = admin::clear(&shared, ClearRequest::default(), Caller::Dashboard).await?;
    Ok(Json(Removed {
        entries: cleared.in_memory.entries,
        bytes: cleared.in_memory.bytes,
        on_disk: cleared.on_disk.responses,
        unconfirmed: admin::other_instances(&cleared.unconfirmed),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_text_means_a_path_a_pattern_or_a_part_of_a_path() {
        for (text, expected) in [
            (" ", None),
            ("/a", Some("/a")),
            ("http://a/b", Some("http://a/b")),
            ("*.js", Some("/*.js")),
            ("limit", Some("/*limit*")),
        ] {
            assert_eq!(pattern(text).as_deref(), expected, "{text}");
        }
    }
}
