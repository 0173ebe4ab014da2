//! CORS: what the origin says reaches the page; with `--cors` the proxy opens every response itself.

use crate::{
    client::{Answer, Client},
    instance::{Home, Instance},
    origin::Origin,
    ports::free_port,
};

const PAGE: &str = "Origin: http://app.test:3000\r\n";

fn preflight(proxy: &Instance, target: &str, lines: &str) -> Answer {
    let mut client = Client::connect(proxy.port);
    client.send(format!(
        "OPTIONS {target} HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n{lines}\r\n"
    ));
    client.answer_to("OPTIONS")
}

#[track_caller]
fn is_open_to(response: &Answer, page: &str) {
    for (name, value) in [
        ("access-control-allow-origin", page),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(response.field(name), Some(value), "{:?}", response.head);
    }
    varies(response);
}

#[track_caller]
fn varies(response: &Answer) {
    let vary = response.all("vary").join(", ").to_ascii_lowercase();
    let count = vary.split(", ").filter(|name| *name == "origin").count();
    assert_eq!(count, 1, "{:?}", response.head);
}

#[test]
fn without_cors_a_hit_and_a_304_carry_what_the_origin_says() {
    let origin = Origin::counting(
        "ETag: \"v\"\r\nVary: Origin\r\nAccess-Control-Allow-Origin: http://app.test:3000\r\n\
         Access-Control-Expose-Headers: ETag\r\n",
    );
    let proxy = Home::new().start(&origin.url(), &[]);
    for (x_cache, condition, status) in [
        ("MISS", "", 200),
        ("HIT", "", 200),
        ("HIT", "", 200),
        ("HIT", "If-None-Match: \"v\"\r\n", 304),
    ] {
        let response = proxy.get_with("/", &format!("{PAGE}{condition}"));
        assert_eq!((response.status(), response.x_cache()), (status, x_cache));
        for (name, value) in [
            ("access-control-allow-origin", "http://app.test:3000"),
            ("access-control-expose-headers", "ETag"),
            ("vary", "Origin"),
        ] {
            assert_eq!(response.field(name), Some(value));
        }
        assert_eq!(response.field("access-control-allow-credentials"), None);
    }
    let asked = format!("{PAGE}Access-Control-Request-Method: PUT\r\n");
    assert_eq!(preflight(&proxy, "/", &asked).status(), 200);
    assert_eq!(origin.last().method(), "OPTIONS");
}

#[test]
fn a_response_for_the_site_of_one_page_is_not_reused_for_another() {
    let origin = Origin::start(|exchange| {
        let site = exchange.request.field("origin");
        let lines = site.map(|site| format!("Access-Control-Allow-Origin: {site}\r\n"));
        let lines = lines.unwrap_or_default();
        exchange.ok(&format!("Cache-Control: max-age=60\r\n{lines}"), "body");
    });
    let proxy = Home::new().start(&origin.url(), &[]);
    for x_cache in ["MISS", "HIT", "HIT"] {
        for site in ["http://evil.test", "http://app.test:3000", "null"] {
            let response = proxy.get_with("/", &format!("Origin: {site}\r\n"));
            assert_eq!(response.x_cache(), x_cache, "{site}");
            assert_eq!(response.field("access-control-allow-origin"), Some(site));
        }
        // The one without a page is stored last.
        let response = proxy.get_with("/", "");
        assert_eq!(response.field("access-control-allow-origin"), None);
    }
}

#[test]
fn with_cors_preflights_are_answered_here() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write("cors.toml", "cors = true\n");
    let by_flag = home.start(&origin.url(), &["--cors"]);
    let by_variable = home.start_with(&origin.url(), &[], &[("CACHING_PROXY_CORS", "true")]);
    let by_key = home.start(&origin.url(), &["--config", "cors.toml"]);
    for proxy in [&by_flag, &by_variable, &by_key] {
        let response = preflight(
            proxy,
            "/items/1",
            &format!(
                "{PAGE}Access-Control-Request-Method: PURGE\r\n\
                 Access-Control-Request-Headers: x-token,content-type\r\n"
            ),
        );
        assert_eq!((response.status(), response.text()), (204, String::new()));
        is_open_to(&response, "http://app.test:3000");
        let names = response.field("access-control-allow-headers");
        assert_eq!(names, Some("content-type, x-token"));
        let methods = response.field("access-control-allow-methods").unwrap();
        let methods: Vec<&str> = methods.split(", ").collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"] {
            assert!(methods.contains(&method), "{methods:?}");
        }
    }
    assert_eq!(origin.count(), 0);
    // Any other OPTIONS is for the origin.
    assert_eq!(preflight(&by_flag, "/", PAGE).status(), 200);
    let asked = "Access-Control-Request-Method: PUT\r\n";
    assert_eq!(preflight(&by_flag, "/", asked).status(), 200);
    let no_page = format!("Origin: rubbish\r\n{asked}");
    assert_eq!(preflight(&by_flag, "/", &no_page).status(), 200);
    assert_eq!(origin.count(), 3);
}

#[test]
fn with_cors_every_response_is_open_to_the_page_that_asks() {
    let origin = Origin::start(|exchange| {
        match exchange.target().as_str() {
        "/error" => exchange.answer("500 Internal Server Error", "", "sorry"),
        "/chunked" => exchange.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        _ => exchange.ok(
            "ETag: \"v\"\r\nAccess-Control-Allow-Origin: https://other.test\r\nVary: Accept\r\nX-Total: 7\r\n",
            "body",
        ),
    }
    });
    let proxy = Home::new().start(&origin.url(), &["--cors", "--request-id", "X-Request-Id"]);
    for (x_cache, page) in [
        ("MISS", "http://app.test:3000"),
        ("HIT", "http://app.test:3000"),
        ("HIT", "http://second.test"),
        ("HIT", "null"),
        ("HIT", "http://app.test:3000"),
    ] {
        let response = proxy.get_with("/", &format!("Origin: {page}\r\n"));
        response.expect(200, x_cache, "body");
        is_open_to(&response, page);
        let exposed = response.field("access-control-expose-headers").unwrap();
        let exposed: Vec<&str> = exposed.split(", ").collect();
        for name in ["etag", "x-cache", "x-request-id", "x-total"] {
            assert!(exposed.contains(&name), "{exposed:?}");
        }
        let not_modified =
            proxy.get_with("/", &format!("Origin: {page}\r\nIf-None-Match: \"v\"\r\n"));
        assert_eq!(not_modified.status(), 304);
        is_open_to(&not_modified, page);
    }
    for target in ["/error", "/chunked", "/chunked"] {
        is_open_to(&proxy.get_with(target, PAGE), "http://app.test:3000");
    }
    let response = proxy.get_with("/", "Cache-Control: only-if-cached\r\nAccept: other\r\n");
    varies(&response);
    assert_eq!(response.field("access-control-allow-credentials"), None);
}

#[test]
fn with_cors_an_error_of_the_proxy_is_open_too() {
    let proxy = Home::new().start(&format!("http://127.0.0.1:{}", free_port()), &["--cors"]);
    let response = proxy.get_with("/", PAGE);
    assert_eq!(response.status(), 502);
    is_open_to(&response, "http://app.test:3000");
    varies(&proxy.get("/"));
}

#[test]
fn a_reload_switches_cors() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write("config/proxy.toml", "cors = true\n");
    let proxy = home.start(&origin.url(), &[]);
    for _ in 0..3 {
        is_open_to(&proxy.get_with("/", PAGE), "http://app.test:3000");
    }
    home.write("config/proxy.toml", "cors = false\n");
    let reloaded = home.run(&["reload"]);
    assert_eq!(
        (reloaded.code, reloaded.stderr.as_str()),
        (Some(0), "changed: cors\n")
    );
    let response = proxy.get_with("/", PAGE);
    response.expect(200, "HIT", "GET / #0");
    assert_eq!(response.field("access-control-allow-origin"), None);
    assert_eq!(response.field("vary"), None);
}
