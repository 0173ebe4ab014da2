//! What may be done with each address: others are answered with 405, and what would be right (RFC 9110, 15.5.6).

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder, guard as only,
    http::header::{self, HeaderValue},
    web,
};

/// To be read: HEAD is answered like GET, without the body (RFC 9110, 9.1 and 9.3.2).
pub(super) fn read<F, A>(path: &str, handler: F) -> Resource
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

/// To be acted on with POST.
pub(super) fn act<F, A>(path: &str, handler: F) -> Resource
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
