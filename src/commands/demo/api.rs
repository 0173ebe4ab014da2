//! A small API with slow responses: JSON about products, and one path for each thing that a cache decides.

use std::{collections::HashMap, io, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, Route, guard,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, SET_COOKIE, VARY},
    },
    web::{self, Path, Query},
};
use serde_json::{Value, json};

/// How long each response takes: long enough to notice.
const DELAY: Duration = Duration::from_millis(300);

const NAMES: [&str; 8] = [
    "Lamp", "Chair", "Table", "Shelf", "Mirror", "Carpet", "Clock", "Vase",
];

/// A PNG of one red pixel.
const DOT: [u8; 69] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53,
    0xde, 0x00, 0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0xcf, 0xc0, 0x00,
    0x00, 0x03, 0x01, 0x01, 0x00, 0xf7, 0x03, 0x41, 0x43, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e,
    0x44, 0xae, 0x42, 0x60, 0x82,
];

fn product(id: usize) -> Value {
    json!({ "id": id, "title": NAMES[(id - 1) % NAMES.len()], "price": 10 + id * 7 % 90 })
}

async fn products(query: Query<HashMap<String, String>>) -> HttpResponse {
    let limit = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(30_usize)
        .min(100);
    let products: Vec<Value> = (1..=limit).map(product).collect();
    json_response(
        HttpResponse::Ok(),
        &json!({ "products": products, "limit": limit, "total": 100 }),
    )
}

/// Fresh for a minute, with an ETag; 304 if the client has it already.
async fn one_product(request: HttpRequest, id: Path<usize>) -> HttpResponse {
    let id = id.into_inner();
    if !(1..=100).contains(&id) {
        return json_response(
            HttpResponse::NotFound(),
            &json!({ "message": "no such product" }),
        );
    }
    let tag = format!("\"product-{id}-v1\"");
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .is_some_and(|value| value == tag.as_str());
    let status = if known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "max-age=60"));
    if known {
        response.finish()
    } else {
        json_response(response, &product(id))
    }
}

/// Accepts any body and stores nothing.
async fn add_product(body: String) -> HttpResponse {
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, "/products/101"));
    json_response(
        response,
        &json!({ "id": 101, "received_bytes": body.len() }),
    )
}

async fn slow() -> HttpResponse {
    actix_web::rt::time::sleep(DELAY * 10).await;
    json_response(
        HttpResponse::Ok(),
        &json!({ "message": "that took three seconds more" }),
    )
}

async fn no_store() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store"));
    json_response(
        response,
        &json!({ "message": "this response must not be stored" }),
    )
}

/// Stale at once: each use is validated.
async fn no_cache(request: HttpRequest) -> HttpResponse {
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .is_some_and(|value| value == "\"same\"");
    let status = if known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((ETAG, "\"same\""))
        .insert_header((CACHE_CONTROL, "no-cache"));
    if known {
        response.finish()
    } else {
        json_response(response, &json!({ "message": "validated each time" }))
    }
}

/// Depends on the credentials.
async fn me(request: HttpRequest) -> HttpResponse {
    let credentials = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let name = credentials.map_or("nobody", |credentials| {
        credentials.trim_start_matches("Bearer ")
    });
    json_response(HttpResponse::Ok(), &json!({ "you_are": name }))
}

/// Depends on the language.
async fn hello(request: HttpRequest) -> HttpResponse {
    let wanted = request
        .headers()
        .get("accept-language")
        .and_then(|value| value.to_str().ok());
    let greeting = if wanted.is_some_and(|value| value.starts_with("de")) {
        "Hallo"
    } else {
        "Hello"
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((VARY, "Accept-Language"));
    json_response(response, &json!({ "message": greeting }))
}

async fn login() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((SET_COOKIE, "session=1234; HttpOnly"));
    json_response(response, &json!({ "message": "here is a cookie" }))
}

async fn moved() -> HttpResponse {
    HttpResponse::MovedPermanently()
        .insert_header((LOCATION, "/products"))
        .finish()
}

async fn image() -> HttpResponse {
    HttpResponse::Ok().content_type("image/png").body(&DOT[..])
}

async fn broken() -> HttpResponse {
    json_response(
        HttpResponse::InternalServerError(),
        &json!({ "message": "broken on purpose" }),
    )
}

async fn nothing_here() -> HttpResponse {
    json_response(
        HttpResponse::NotFound(),
        &json!({ "message": "try /products" }),
    )
}

fn json_response(mut response: HttpResponseBuilder, body: &Value) -> HttpResponse {
    response
        .content_type("application/json")
        .body(format!("{body}\n"))
}

/// GET and HEAD; the server sends no body for HEAD.
fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Serves the API on `listener` until the process ends.
pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| {
            App::new()
                .wrap_fn(|request, app| {
                    let response = actix_web::dev::Service::call(app, request);
                    async move {
                        actix_web::rt::time::sleep(DELAY).await;
                        response.await
                    }
                })
                .configure(routes)
        });
        // The proxy's own signals end the process.
        let server = server.workers(1).disable_signals().listen(listener)?;
        server.run().await
    })
}

fn routes(app: &mut web::ServiceConfig) {
    app.route("/products", get_or_head().to(products))
        .route("/products", web::post().to(add_product))
        .route("/products/{id}", get_or_head().to(one_product))
        .route("/slow", get_or_head().to(slow))
        .route("/no-store", get_or_head().to(no_store))
        .route("/no-cache", get_or_head().to(no_cache))
        .route("/me", get_or_head().to(me))
        .route("/hello", get_or_head().to(hello))
        .route("/login", get_or_head().to(login))
        .route("/moved", get_or_head().to(moved))
        .route("/image", get_or_head().to(image))
        .route("/broken", get_or_head().to(broken))
        .default_service(web::to(nothing_here));
}
