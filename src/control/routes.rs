//! The routes of the control socket: each carries one function of [`crate::admin`], or the reload.
//!
//! Requests and responses are JSON. A refusal is status 400 with the reason as text, a cache that does not respond 503.

use std::io;

use actix_web::{
    HttpResponse,
    web::{self, Bytes, Data, Json, ServiceConfig},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Instance,
    hand_over::{HandOverOffer, HandOverRequest},
    transfer,
};
use crate::{
    admin::{self, AdminError, Caller, ClearRequest},
    cache::{Listing, Purged, Unconfirmed},
    clock,
    explain::{Explanation, Shown},
    proxy::Shared,
    reload::{OfflineChange, Reload, ReloadError},
};

/// The response to `POST /clear`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClearResponse {
    pub(super) instance: Instance,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    #[serde(default)]
    pub(super) on_disk: u64,
    /// Where it does not hold.
    #[serde(default)]
    pub(super) unconfirmed: Unconfirmed,
}

pub(super) fn configure(app: &mut ServiceConfig) {
    app.route("/instance", web::get().to(instance))
        .route("/stats", web::get().to(stats))
        .route("/clear", web::post().to(clear))
        .route("/purge", web::post().to(purge))
        .route("/list", web::post().to(list))
        .route("/show", web::post().to(show))
        .route("/why", web::post().to(why))
        .route("/export", web::post().to(transfer::export))
        .route("/import", web::post().to(transfer::import))
        .route("/offline", web::post().to(offline))
        .route("/reload", web::post().to(reload))
        .route("/hand-over", web::post().to(hand_over));
}

/// The request of `POST /offline`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineRequest {
    /// Whether to disconnect the proxy from its origins.
    pub offline: bool,
}

/// Reads the body of a request.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    Ok(serde_json::from_slice(body)?)
}

async fn instance(instance: Data<Instance>) -> HttpResponse {
    HttpResponse::Ok().json(instance.as_ref())
}

async fn stats(shared: Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(admin::stats(&shared, clock::now()).await)
}

async fn clear(
    body: Bytes,
    shared: Data<Shared>,
    instance: Data<Instance>,
) -> Result<Json<ClearResponse>, AdminError> {
    let request = match body.is_empty() {
        true => ClearRequest::default(),
        false => parse(&body)?,
    };
    let cleared = admin::clear(&shared, request, Caller::Command).await?;
    Ok(Json(ClearResponse {
        instance: instance.as_ref().clone(),
        entries: cleared.in_memory.entries,
        bytes: cleared.in_memory.bytes,
        on_disk: cleared.on_disk.responses,
        unconfirmed: cleared.unconfirmed,
    }))
}

async fn purge(body: Bytes, shared: Data<Shared>) -> Result<Json<Purged>, AdminError> {
    let request = parse(&body)?;
    let purged = admin::purge(&shared, &request, Caller::Command, clock::now()).await?;
    Ok(Json(purged))
}

async fn list(body: Bytes, shared: Data<Shared>) -> Result<Json<Listing>, AdminError> {
    let listing = admin::list(&shared, parse(&body)?, clock::now()).await?;
    Ok(Json(listing))
}

async fn show(body: Bytes, shared: Data<Shared>) -> Result<Json<Shown>, AdminError> {
    let shown = admin::show(&shared, parse(&body)?, clock::now()).await?;
    Ok(Json(shown))
}

async fn why(body: Bytes, shared: Data<Shared>) -> Result<Json<Explanation>, AdminError> {
    let explanation = admin::why(&shared, &parse(&body)?, clock::now()).await?;
    Ok(Json(explanation))
}

async fn offline(
    body: Bytes,
    reload: Data<Reload>,
    shared: Data<Shared>,
) -> Result<Json<OfflineChange>, AdminError> {
    let OfflineRequest { offline } = parse(&body)?;
    let change = reload.set_offline(offline).await;
    Ok(Json(OfflineChange {
        open_tunnels: shared.observer.totals().open_tunnels(),
        ..change
    }))
}

async fn reload(reload: Data<Reload>) -> HttpResponse {
    match reload.run().await {
        Ok(reloaded) => HttpResponse::Ok().json(reloaded),
        Err(error @ (ReloadError::Config(_) | ReloadError::Certificate { .. })) => {
            let sentence = error.sentence();
            let why = sentence.trim_end();
            HttpResponse::BadRequest().body(format!("{why}\nthe old configuration stays active"))
        }
        Err(ReloadError::Cache(_) | ReloadError::Interrupted) => {
            HttpResponse::ServiceUnavailable().finish()
        }
    }
}

async fn hand_over(
    body: Bytes,
    offer: Data<Option<HandOverOffer>>,
) -> Result<HttpResponse, AdminError> {
    let HandOverRequest { pid } = parse(&body)?;
    let made = match offer.as_ref() {
        Some(offer) => offer.make(pid).await,
        None => Err(io::Error::other("this proxy offers no sockets")),
    };
    Ok(match made {
        Ok(()) => HttpResponse::Ok().json(()),
        Err(error) => HttpResponse::BadRequest().body(error.to_string()),
    })
}
