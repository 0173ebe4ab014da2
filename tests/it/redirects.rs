//! Redirects and other references to the origin, which name the proxy on the side of the clients.

use crate::{
    client::Answer,
    instance::{Home, Instance},
    origin::{Exchange, Origin},
};

/// Responds with this header, in which `ORIGIN` stands for the URL of the origin without a path.
fn saying(exchange: &mut Exchange<'_>, status: &str, header: &str) {
    let host = exchange.request.field("host").unwrap_or_default();
    let header = header.replace("ORIGIN", &format!("http://{host}"));
    exchange.answer(status, &format!("{header}\r\n"), "body");
}

/// An origin whose response to `/at?HEADER` has that header, with spaces for `+`.
fn origin_by_query(status: &'static str) -> Origin {
    Origin::start(move |exchange| {
        let target = exchange.target();
        let header = target
            .split_once("?")
            .unwrap_or_default()
            .1
            .replace('+', " ");
        saying(exchange, status, &header);
    })
}

fn location<'a>(response: &'a Answer, expected: &str) -> Option<&'a str> {
    assert_eq!(
        response.field("location"),
        Some(expected),
        "{:?}",
        response.head
    );
    response.field("location")
}

fn request(proxy: &Instance, lines: &str) -> Answer {
    let mut client = crate::client::Client::connect(proxy.port);
    let method = lines.split(' ').next().unwrap_or_default();
    client.send(format!("{lines}Connection: close\r\n\r\n"));
    client.answer_to(method)
}

#[test]
fn a_redirect_to_the_origin_leads_to_the_proxy_from_the_cache_too() {
    let origin = origin_by_query("301 Moved Permanently");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    // The first hits on a copy are made in different ways.
    for x_cache in ["MISS", "HIT", "HIT", "HIT", "HIT"] {
        let response = proxy.get("/at?Location:+ORIGIN/login?next=/at");
        assert_eq!((response.status(), response.x_cache()), (301, x_cache));
        location(&response, "/login?next=/at");
    }
    let shown = home.run_ok(&["show", "/at?Location:+ORIGIN/login?next=/at"]);
    let stored = format!("{}/login", origin.url());
    assert!(shown.contains(&stored), "{shown}");
}

#[test]
fn content_location_and_refresh_lead_to_the_proxy() {
    let origin = origin_by_query("200 OK");
    let proxy = Home::new().start(&origin.url(), &[]);
    for (header, name, expected) in [
        (
            "Content-Location:+ORIGIN/items/7",
            "content-location",
            "/items/7",
        ),
        ("Refresh:+0;url=ORIGIN/next", "refresh", "0;url=/next"),
        ("Refresh:+30", "refresh", "30"),
        (
            "Location:+http://other.test/x",
            "location",
            "http://other.test/x",
        ),
        ("Location:+http://user@ORIGIN/x", "location", ""),
    ] {
        for _ in 0..3 {
            let response = proxy.get(&format!("/at?{header}"));
            match expected {
                "" => assert!(response.field(name).unwrap().contains("user@")),
                expected => assert_eq!(response.field(name), Some(expected)),
            }
        }
    }
}

#[test]
fn a_redirect_after_a_post_leads_to_the_proxy() {
    let origin = origin_by_query("303 See Other");
    let proxy = Home::new().start(&origin.url(), &[]);
    let response = request(
        &proxy,
        "POST /at?Location:+ORIGIN/done HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 0\r\n",
    );
    location(&response, "/done");
}

#[test]
fn a_redirect_loses_the_path_prefix_of_the_origin() {
    let origin = origin_by_query("302 Found");
    let proxy = Home::new().start(&format!("{}/app", origin.url()), &[]);
    let outside = |path: &str| format!("{}{path}", origin.url());
    for (reference, expected) in [
        ("ORIGIN/app/x", "/x".to_owned()),
        ("/app/x?y", "/x?y".to_owned()),
        ("/app", "/".to_owned()),
        ("x", "x".to_owned()),
        ("../x", "/x".to_owned()),
        ("/app//evil.test/", "/.//evil.test/".to_owned()),
        ("ORIGIN/app/\\evil.test/", "/./\\evil.test/".to_owned()),
        ("/other", outside("/other")),
        ("../../other", outside("/other")),
        ("ORIGIN/apple", outside("/apple")),
    ] {
        location(
            &proxy.get(&format!("/a/b?Location:+{reference}")),
            &expected,
        );
    }
}

#[test]
fn with_preserve_host_a_redirect_to_the_clients_host_loses_the_prefix() {
    let origin = origin_by_query("301 Moved Permanently");
    let proxy = Home::new().start(&format!("{}/app", origin.url()), &["--preserve-host"]);
    for _ in 0..3 {
        location(&proxy.get("/at?Location:+ORIGIN/app/x"), "/x");
        location(&proxy.get("/at?Location:+/app/x"), "/x");
        let other = proxy.get("/at?Location:+http://other.test/app/x");
        location(&other, "http://other.test/app/x");
    }
}

#[test]
fn no_rewrite_leaves_all_alone() {
    let origin = origin_by_query("301 Moved Permanently");
    let url = format!("{}/app", origin.url());
    let home = Home::new();
    let by_flag = home.start(&url, &["--no-rewrite"]);
    let by_variable = home.start_with(&url, &[], &[("CACHING_PROXY_NO_REWRITE", "true")]);
    home.write("other.toml", "no_rewrite = true\n");
    let by_key = home.start(&url, &["--config", "other.toml"]);
    for proxy in [by_flag, by_variable, by_key] {
        for _ in 0..3 {
            let response = proxy.get("/at?Location:+ORIGIN/app/x");
            location(&response, &format!("{}/app/x", origin.url()));
            location(&proxy.get("/at?Location:+/app/x"), "/app/x");
        }
        let lines =
            "MOVE /at?X:+1 HTTP/1.1\r\nHost: proxy.test\r\nDestination: http://proxy.test/b\r\n";
        request(&proxy, lines);
        let seen = origin.last().field("destination");
        assert_eq!(seen.as_deref(), Some("http://proxy.test/b"));
    }
}

#[test]
fn a_destination_at_the_proxy_is_one_at_the_origin() {
    let origin = Origin::counting("");
    let home = Home::new();
    let plain = home.start(&origin.url(), &[]);
    let prefixed = home.start(&format!("{}/dav", origin.url()), &[]);
    let preserving = home.start(&format!("{}/dav", origin.url()), &["--preserve-host"]);
    let seen = |proxy: &Instance, destination: &str| {
        let lines =
            format!("MOVE /a HTTP/1.1\r\nHost: proxy.test:8000\r\nDestination: {destination}\r\n");
        assert_eq!(request(proxy, &lines).status(), 200, "{destination}");
        origin.last().field("destination").unwrap_or_default()
    };
    let at_origin = |path: &str| format!("{}{path}", origin.url());
    for (proxy, destination, expected) in [
        (&plain, "http://proxy.test:8000/b%20c", at_origin("/b%20c")),
        (&plain, "/b", "/b".to_owned()),
        (
            &plain,
            "http://proxy.test/b",
            "http://proxy.test/b".to_owned(),
        ),
        (
            &plain,
            "http://other.test/b",
            "http://other.test/b".to_owned(),
        ),
        (&prefixed, "http://PROXY.test:8000/b", at_origin("/dav/b")),
        (&prefixed, "/b/../c", "/dav/b/../c".to_owned()),
        (
            &preserving,
            "http://proxy.test:8000/b",
            "http://proxy.test:8000/dav/b".to_owned(),
        ),
    ] {
        assert_eq!(seen(proxy, destination), expected);
    }
    let before = origin.count();
    for destination in ["/../b", "http://proxy.test:8000/..%2fb", "/%2e%2e/b"] {
        let lines =
            format!("MOVE /a HTTP/1.1\r\nHost: proxy.test:8000\r\nDestination: {destination}\r\n");
        assert_eq!(request(&prefixed, &lines).status(), 400, "{destination}");
    }
    assert_eq!(origin.count(), before);
}

#[test]
fn dot_segments_that_lead_out_of_the_prefix_are_refused() {
    let origin = Origin::counting("");
    let home = Home::new();
    let prefixed = home.start(&format!("{}/app", origin.url()), &[]);
    for target in [
        "/..",
        "/../secret",
        "/a/../../secret",
        "/%2e%2E/secret",
        "/a/..%2f..%2fsecret",
        "/..\\secret",
        "/%5c..%5csecret",
        "/..;x/secret",
    ] {
        let response = prefixed.get(target);
        assert_eq!(response.status(), 400, "{target}");
        let sentence = "The path has dot segments that lead out";
        assert!(response.text().starts_with(sentence), "{}", response.text());
    }
    assert_eq!(origin.count(), 0);
    let inside = "/a/../b?x=/../../c";
    prefixed
        .get(inside)
        .expect(200, "MISS", &format!("GET /app{inside} #0"));
    // Without a prefix they arrive as they were sent.
    home.start(&origin.url(), &[])
        .get("/../secret")
        .expect(200, "MISS", "GET /../secret #0");
}

#[test]
fn dot_segments_that_lead_out_of_the_paths_of_a_route_are_refused() {
    let (last, routed) = (Origin::counting(""), Origin::counting(""));
    let home = Home::new();
    let route = format!("/api/*={}", routed.url());
    let proxy = home.start(&last.url(), &["--route", &route]);
    for target in ["/api/../secret", "/api/x/..%2F../secret", "/api/..;/secret"] {
        assert_eq!(proxy.get(target).status(), 400, "{target}");
    }
    for destination in ["/api/../b", "http://proxy.test/api/%2e%2e/b"] {
        let lines =
            format!("MOVE /api/a HTTP/1.1\r\nHost: proxy.test\r\nDestination: {destination}\r\n");
        assert_eq!(request(&proxy, &lines).status(), 400, "{destination}");
    }
    assert_eq!((last.count(), routed.count()), (0, 0));
    let inside = "/api/a/../b?x=/../../c";
    proxy
        .get(inside)
        .expect(200, "MISS", &format!("GET {inside} #0"));
    // The last route has all paths.
    proxy
        .get("/x/../../api")
        .expect(200, "MISS", "GET /x/../../api #0");
    assert_eq!((last.count(), routed.count()), (1, 1));
}

#[test]
fn redirects_between_the_origins_of_routes_stay_with_the_proxy() {
    let [last, stripped, whole] = [(); 3].map(|()| origin_by_query("301 Moved Permanently"));
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        &format!(
            "[[routes]]\npath = \"/api/*\"\norigin = \"{}/v1\"\nstrip_prefix = true\n\
             [[routes]]\npath = \"/shop/*\"\norigin = \"{}\"\n",
            stripped.url(),
            whole.url()
        ),
    );
    let proxy = home.start(&last.url(), &[]);
    let url = |origin: &Origin, path: &str| format!("{}{path}", origin.url());
    for (from, reference, expected) in [
        ("/at", url(&last, "/login"), "/login".to_owned()),
        (
            "/at",
            url(&stripped, "/v1/next?x"),
            "/api/next?x".to_owned(),
        ),
        (
            "/at",
            url(&stripped, "/v2/next"),
            url(&stripped, "/v2/next"),
        ),
        ("/at", url(&whole, "/shop/cart"), "/shop/cart".to_owned()),
        ("/at", url(&whole, "/other"), url(&whole, "/other")),
        (
            "/at",
            "http://other.test/shop/x".to_owned(),
            "http://other.test/shop/x".to_owned(),
        ),
        ("/api/at", url(&stripped, "/v1/x"), "/api/x".to_owned()),
        ("/api/at", "/v1/x".to_owned(), "/api/x".to_owned()),
        ("/api/at", url(&last, "/login"), "/login".to_owned()),
        ("/shop/at", url(&whole, "/shop/x"), "/shop/x".to_owned()),
        ("/shop/at", url(&last, "/shop/x"), url(&last, "/shop/x")),
    ] {
        for _ in 0..3 {
            let response = proxy.get(&format!("{from}?Location:+{reference}"));
            location(&response, &expected);
        }
    }
}
