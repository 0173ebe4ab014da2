//! The step of the handler for WebSocket handshakes.

use std::sync::Arc;

use actix_web::http::{
    StatusCode,
    header::{self, HeaderValue},
};

use crate::{
    error::ProxyError,
    headers::{self, CacheStatus, StoreOutcome},
    origin::{Expectation, HandshakeResponse, OriginError, OriginRequest, RequestBody},
    policy::{ForwardReason, Reason},
    proxy::{
        fetch::{
            failover::send_to_one_of,
            fetched_response::{FetchedResponse, admit, observed},
            interim::InterimRelay,
        },
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            error_response::{FailedRequest, ResponseResult},
        },
        worker::Worker,
    },
};

/// Forwards a handshake. A 101 opens the tunnel; any other response of the origin goes to the client, and is not stored.
pub(crate) async fn forward_handshake(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    relay: InterimRelay<'_>,
) -> ResponseResult {
    let why = ForwardReason::Bypass.into();
    let config = &forwarded.config;
    let permit = Arc::clone(&worker.shared.tunnels).try_acquire_owned();
    let permit = permit.map_err(|_| ProxyError::TooManyTunnels {
        max_tunnels: config.tunnels.max,
    })?;
    let request = OriginRequest {
        method: forwarded.method.clone(),
        target: forwarded.origin_target().into_owned(),
        headers: forwarded.headers_with_all_cookies(),
        body: RequestBody::Empty,
        expectation: Expectation::Nothing,
        interim: relay.sink(),
    };
    let mut permit = Some(permit);
    let offer = async |origin, request| {
        // One that failed has returned its permit.
        let again = || Arc::clone(&worker.shared.tunnels).try_acquire_owned().ok();
        let permit = permit.take().or_else(again);
        let permit = permit.ok_or(OriginError::Busy {
            max_connections: config.tunnels.max,
        })?;
        admit(worker, origin).await?;
        let response = worker.origins.get(origin).offer_websocket(request, permit);
        observed(worker, origin, response, HandshakeResponse::status).await
    };
    let response = send_to_one_of(worker, forwarded, request, offer, |(it, _)| it.status());
    let failed = |error: OriginError| FailedRequest::forwarded(error, why);
    let (response, times) = response.await.map_err(failed)?;
    let origin = forwarded.asked.get();
    let mut connection = match response {
        HandshakeResponse::Accepted(connection) => connection,
        HandshakeResponse::Refused(response) => {
            let fetched = FetchedResponse::new(worker, origin, response, times);
            let storing = StoreOutcome::NotStored(Reason::NotUpgraded);
            return Ok(fetched.into_response(why, storing).into());
        }
    };
    let mut headers = std::mem::take(&mut connection.headers);
    headers::remove_hop_by_hop(&mut headers);
    headers.insert(&header::UPGRADE, &HeaderValue::from_static("websocket"));
    Ok(Box::new(ClientResponse {
        status: StatusCode::SWITCHING_PROTOCOLS,
        headers,
        body: ResponseBody::Tunnel(Box::new(connection), config.tunnels.idle),
        cache_status: CacheStatus::tunnel(why),
        problem: None,
    }))
}
