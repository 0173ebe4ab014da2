//! What is stored: looked for, purged and cleared from the page.

use actix_web::{
    HttpResponse,
    web::{self, Data, Json, Query},
};
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::methods::{act, read};
use crate::{
    cache::{
        CacheUnavailable, Clear, Cleared, EntryFilter, FilterSpec, ListOrder, ListQuery,
        MAX_OFFSET, PurgeAction,
    },
    clock,
    proxy::Shared,
};

/// Rows of one part of the list.
const ROWS: usize = 50;
/// The longest text that is looked for, in bytes.
const MAX_QUERY_BYTES: usize = 1024;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(read("/api/entries", entries))
        .service(act("/api/purge", purge))
        .service(act("/api/clear", clear));
}

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EntriesQuery {
    /// A path, a pattern, or any text within a path; empty for all.
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

/// What is purged: a path or a pattern, as the list was asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeBody {
    path: String,
}

/// What was removed.
#[derive(Debug, Serialize)]
struct Removed {
    entries: u64,
    bytes: u64,
}

/// Text that does not begin like a path stands somewhere in it.
fn pattern(text: &str) -> String {
    match text {
        path if path.starts_with('/') || path.contains("://") => path.to_owned(),
        pattern if pattern.contains('*') => format!("/{pattern}"),
        text => format!("/*{text}*"),
    }
}

fn wanted(text: &str, shared: &Shared) -> Result<EntryFilter, String> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(format!(
            "At most {MAX_QUERY_BYTES} letters can be looked for."
        ));
    }
    let names = FilterSpec {
        paths: vec![pattern(text)],
        ..FilterSpec::default()
    };
    let config = shared.config();
    EntryFilter::new(&names, &config.rules, config.preserve_host).map_err(|error| error.to_string())
}

fn unavailable(error: &CacheUnavailable) -> HttpResponse {
    log::error!("the dashboard got no answer: {error}");
    HttpResponse::ServiceUnavailable().body("The cache does not answer.\n")
}

async fn entries(part: Query<EntriesQuery>, shared: Data<Shared>) -> HttpResponse {
    let EntriesQuery { q, sort, offset } = part.into_inner();
    if offset > MAX_OFFSET {
        return HttpResponse::BadRequest().body("Look for something: the list goes no further.\n");
    }
    let wanted = match q.trim() {
        "" => Ok(EntryFilter::all()),
        text => wanted(text, &shared),
    };
    let list = match wanted {
        Ok(wanted) => ListQuery {
            filter: wanted,
            order: sort,
            offset,
            limit: ROWS,
        },
        Err(sentence) => return HttpResponse::BadRequest().body(sentence),
    };
    match shared.cache.list(&list, clock::now()).await {
        Ok(listing) => HttpResponse::Ok().json(listing),
        Err(error) => unavailable(&error),
    }
}

async fn purge(purge: Json<PurgeBody>, shared: Data<Shared>) -> HttpResponse {
    let path = purge.path.trim();
    let wanted = match path {
        "" => return HttpResponse::BadRequest().body("Say what is to be purged.\n"),
        path => wanted(path, &shared),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(sentence) => return HttpResponse::BadRequest().body(sentence),
    };
    match shared
        .cache
        .purge(wanted, PurgeAction::default(), clock::now())
        .await
    {
        Ok(purged) => {
            let (entries, bytes) = (purged.responses, purged.bytes);
            let size = ByteSize(bytes);
            log::info!("purged from the dashboard: answers {entries}, {size}");
            HttpResponse::Ok().json(Removed { entries, bytes })
        }
        Err(error) => unavailable(&error),
    }
}

async fn clear(shared: Data<Shared>) -> HttpResponse {
    match shared.cache.send(Clear).await {
        Ok(Cleared { entries, bytes }) => {
            let size = ByteSize(bytes);
            log::info!("cache cleared from the dashboard: entries {entries}, {size}");
            HttpResponse::Ok().json(Removed { entries, bytes })
        }
        Err(error) => unavailable(&error),
    }
}
