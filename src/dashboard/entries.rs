//! What is stored: cleared from the page.

use actix_web::{
    HttpResponse,
    web::{self, Data},
};
use serde_json::json;

use super::Watched;
use crate::cache::Clear;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/clear", web::post().to(clear));
}

async fn clear(watched: Data<Watched>) -> HttpResponse {
    match watched.cache.ask(Clear).await {
        Ok(cleared) => {
            log::info!(
                "cache cleared from the dashboard: entries {}, {}",
                cleared.entries,
                bytesize::ByteSize(cleared.bytes)
            );
            HttpResponse::Ok().json(json!({ "entries": cleared.entries, "bytes": cleared.bytes }))
        }
        Err(error) => {
            log::error!("the cache could not be cleared: {error}");
            HttpResponse::ServiceUnavailable().body("The cache does not answer.\n")
        }
    }
}
