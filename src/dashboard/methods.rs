//! The methods that each path takes. Others get 405 and an Allow header (RFC 9110, 15.5.6).

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder, guard as only,
    http::header::{self, HeaderValue},
    web,
};

/// A path that takes GET and HEAD (RFC 9110, 9.1 and 9.3.2).
pub(super) fn get<F, A>(path: &str, handler: F) -> Resource
where
    F: Handler<A>,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let either = only::Any(only::Get()).or(only::Head());
    web::resource(path)
        .route(web::route().guard(either).to(handler))
        .default_service(web::to(|| not_allowed("GET, HEAD")))
}

/// A path that takes POST.
pub(super) fn post<F, A>(path: &str, handler: F) -> Resource
where
    F: Handler<A>,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| not_allowed("POST")))
}

async fn not_allowed(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, HeaderValue::from_static(allowed)))
        .content_type("text/plain; charset=utf-8")
        .body(format!("Only {allowed} can be used here.\n"))
}
