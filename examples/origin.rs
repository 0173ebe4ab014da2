//! A small origin to try the proxy with, where there is no network: JSON products, made slowly.
//!
//! ```text
//! cargo run --example origin                    # listens on 127.0.0.1:3000; another port as argument
//! cargo run --release -- --port 8000 --origin http://127.0.0.1:3000
//! curl -i http://localhost:8000/products?limit=1
//! ```
//!
//! It prints each request it sees: what the proxy answers from its cache does not appear.
#![allow(
    clippy::print_stdout,
    reason = "what it prints is what it is for: to show which requests come through"
)]

use std::{collections::HashMap, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, Route, guard,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, SET_COOKIE, VARY},
    },
    web::{self, Path, Query},
};
use serde_json::{Value, json};

/// How long an answer takes to make: long enough to be felt.
const DELAY: Duration = Duration::from_millis(300);

const NAMES: [&str; 8] = [
    "Lamp", "Chair", "Table", "Shelf", "Mirror", "Carpet", "Clock", "Vase",
];

/// A red dot: a whole PNG of one pixel.
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
    json_answer(
        HttpResponse::Ok(),
        &json!({ "products": products, "limit": limit, "total": 100 }),
    )
}

/// Comes with a validator and a minute of life, and answers whoever has it already with 304.
async fn one_product(request: HttpRequest, id: Path<usize>) -> HttpResponse {
    let id = id.into_inner();
    if !(1..=100).contains(&id) {
        return json_answer(
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
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "max-age=60"));
    if known {
        answer.finish()
    } else {
        json_answer(answer, &product(id))
    }
}

/// Takes anything and says where it would be.
async fn add_product(body: String) -> HttpResponse {
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, "/products/101"));
    json_answer(answer, &json!({ "id": 101, "received_bytes": body.len() }))
}

async fn slow() -> HttpResponse {
    actix_web::rt::time::sleep(DELAY * 10).await;
    json_answer(
        HttpResponse::Ok(),
        &json!({ "message": "that took three seconds more" }),
    )
}

async fn no_store() -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    json_answer(answer, &json!({ "message": "never to be stored" }))
}

/// Stale as soon as it is made: every use has to be validated.
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
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((ETAG, "\"same\""))
        .insert_header((CACHE_CONTROL, "no-cache"));
    if known {
        answer.finish()
    } else {
        json_answer(answer, &json!({ "message": "ask each time" }))
    }
}

/// Differs by who asks.
async fn me(request: HttpRequest) -> HttpResponse {
    let credentials = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let name = credentials.map_or("nobody", |credentials| {
        credentials.trim_start_matches("Bearer ")
    });
    json_answer(HttpResponse::Ok(), &json!({ "you_are": name }))
}

/// Differs by language.
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
    let mut answer = HttpResponse::Ok();
    answer.insert_header((VARY, "Accept-Language"));
    json_answer(answer, &json!({ "message": greeting }))
}

async fn login() -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((SET_COOKIE, "session=1234; HttpOnly"));
    json_answer(answer, &json!({ "message": "here is a cookie" }))
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
    json_answer(
        HttpResponse::InternalServerError(),
        &json!({ "message": "broken on purpose" }),
    )
}

async fn nothing_here() -> HttpResponse {
    json_answer(
        HttpResponse::NotFound(),
        &json!({ "message": "try /products" }),
    )
}

fn json_answer(mut answer: HttpResponseBuilder, body: &Value) -> HttpResponse {
    answer
        .content_type("application/json")
        .body(format!("{body}\n"))
}

/// GET and HEAD; the server leaves the body out for the latter.
fn reading() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn main() -> std::io::Result<()> {
    let port = match std::env::args().nth(1) {
        Some(argument) => argument.parse().map_err(std::io::Error::other)?,
        None => 3000,
    };
    actix_web::rt::System::new().block_on(serve(port))
}

async fn serve(port: u16) -> std::io::Result<()> {
    let server = HttpServer::new(|| {
        App::new()
            .wrap_fn(|request, app| {
                println!("{} {}", request.method(), request.uri());
                let answer = actix_web::dev::Service::call(app, request);
                async move {
                    actix_web::rt::time::sleep(DELAY).await;
                    answer.await
                }
            })
            .route("/products", reading().to(products))
            .route("/products", web::post().to(add_product))
            .route("/products/{id}", reading().to(one_product))
            .route("/slow", reading().to(slow))
            .route("/no-store", reading().to(no_store))
            .route("/no-cache", reading().to(no_cache))
            .route("/me", reading().to(me))
            .route("/hello", reading().to(hello))
            .route("/login", reading().to(login))
            .route("/moved", reading().to(moved))
            .route("/image", reading().to(image))
            .route("/broken", reading().to(broken))
            .default_service(web::to(nothing_here))
    });
    let server = server.workers(2).bind(("127.0.0.1", port))?;
    println!("Origin listening on http://127.0.0.1:{port}");
    println!(
        "Try /products?limit=1 /products/1 /hello /me /image /slow /no-store /no-cache /login /moved /broken"
    );
    server.run().await
}
