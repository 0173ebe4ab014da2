//! Cookies and forms of applications that know themselves by the origin's address.

use crate::{
    client::{Answer, Client},
    instance::{Home, Instance},
    origin::{Exchange, Origin, Seen},
    tls::by_private_ca,
};

const SHARED: &str = "Cache-Control: public, max-age=60\r\n";

/// Sends what `/?HEADER` names as a Set-Cookie, with spaces for `+`, in a response that is shared by all.
fn cookie_origin(exchange: &mut Exchange<'_>) {
    let target = exchange.target();
    let cookie = target
        .split_once('?')
        .unwrap_or_default()
        .1
        .replace('+', " ");
    exchange.ok(&format!("{SHARED}Set-Cookie: {cookie}\r\n"), "body");
}

/// A proxy for an origin with TLS whose certificate it trusts.
fn over_tls(
    home: &Home,
    policy: &str,
    origin: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
) -> (Origin, Instance) {
    let identity = by_private_ca("localhost");
    home.write("ca.pem", &identity.trusted_pem);
    let origin = Origin::tls(identity.server, origin);
    let flags = ["--origin-ca", "ca.pem", "--policy", policy];
    let proxy = home.start(&origin.url(), &flags);
    (origin, proxy)
}

#[track_caller]
fn expect_cookie(response: &Answer, expected: &str) {
    assert_eq!(response.field("set-cookie"), Some(expected));
}

#[test]
fn a_cookie_of_the_origins_domain_becomes_one_of_the_proxy() {
    let origin = Origin::start(cookie_origin);
    let home = Home::new();
    let url = format!("http://localhost:{}/app", origin.port());
    // `standard` sends no cookies from the cache.
    let proxy = home.start(&url, &["--policy", "strict"]);
    for (cookie, expected) in [
        (
            "a=1; Domain=localhost; Path=/app/x; HttpOnly",
            "a=1; Path=/x; HttpOnly",
        ),
        (
            "a=1; Domain=other.test; Path=/",
            "a=1; Domain=other.test; Path=/",
        ),
        ("a=1; Secure; SameSite=None", "a=1; Secure; SameSite=None"),
    ] {
        // From the origin, and from the cache, which has the cookie as the origin sent it.
        for x_cache in ["MISS", "HIT", "HIT", "HIT"] {
            let response = proxy.get(&format!("/?{}", cookie.replace(' ', "+")));
            assert_eq!(response.x_cache(), x_cache);
            expect_cookie(&response, expected);
        }
    }
    let shown = home.run_ok(&["show", "/?a=1;+Domain=localhost;+Path=/app/x;+HttpOnly"]);
    assert!(shown.contains("Domain=localhost"), "{shown}");
}

#[test]
fn secure_is_relaxed_for_direct_clients_of_this_machine_only() {
    let home = Home::new();
    let (_origin, proxy) = over_tls(&home, "strict", cookie_origin);
    let target = "/?a=1;+Secure;+HttpOnly;+SameSite=None";
    let (relaxed, as_sent) = (
        "a=1; HttpOnly; SameSite=Lax",
        "a=1; Secure; HttpOnly; SameSite=None",
    );
    for _ in 0..3 {
        expect_cookie(&proxy.get(target), relaxed);
        for line in [
            "X-Forwarded-Proto: https\r\n",
            "X-Forwarded-For: 203.0.113.7\r\n",
            "Forwarded: proto=https\r\n",
            "Via: 1.1 front\r\n",
        ] {
            expect_cookie(&proxy.get_with(target, line), as_sent);
        }
    }
    let named = "/?__Host-a=1;+Secure;+Path=/";
    expect_cookie(&proxy.get(named), "__Host-a=1; Secure; Path=/");
}

#[test]
fn cookies_stay_with_preserve_host_and_with_no_rewrite() {
    let origin = Origin::start(cookie_origin);
    let url = format!("http://localhost:{}/app", origin.port());
    let home = Home::new();
    for flag in ["--preserve-host", "--no-rewrite"] {
        let proxy = home.start(&url, &[flag, "--policy", "strict"]);
        for _ in 0..3 {
            let response = proxy.get("/?a=1;+Domain=localhost;+Path=/app");
            expect_cookie(&response, "a=1; Domain=localhost; Path=/app");
        }
    }
}

/// What the origin gets in a POST to `/form` with these headers, from a client that addresses the proxy as
/// `localhost:8000`.
fn posted(proxy: &Instance, origin: &Origin, lines: &str) -> Seen {
    let mut client = Client::connect(proxy.port);
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: localhost:8000\r\nConnection: close\r\n{lines}Content-Length: 0\r\n\r\n"
    ));
    assert_eq!(client.answer_to("POST").status(), 200);
    origin.last()
}

#[test]
fn a_form_of_a_page_of_the_proxy_comes_from_a_page_of_the_origin() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&format!("{}/app", origin.url()), &[]);
    for (name, value, expected) in [
        ("Origin", "http://localhost:8000", origin.url()),
        (
            "Referer",
            "http://localhost:8000/a?b=c",
            format!("{}/app/a?b=c", origin.url()),
        ),
        ("Origin", "http://evil.test", "http://evil.test".to_owned()),
        (
            "Origin",
            "http://localhost:8001",
            "http://localhost:8001".to_owned(),
        ),
        (
            "Origin",
            "https://localhost:8000",
            "https://localhost:8000".to_owned(),
        ),
        ("Origin", "null", "null".to_owned()),
        (
            "Referer",
            "http://evil.test/?http://localhost:8000",
            "http://evil.test/?http://localhost:8000".to_owned(),
        ),
    ] {
        let seen = posted(&proxy, &origin, &format!("{name}: {value}\r\n"));
        assert_eq!(seen.field(name), Some(expected));
        assert_eq!(
            seen.field("host"),
            Some(format!("127.0.0.1:{}", origin.port()))
        );
        assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(seen.field("x-forwarded-host"), None);
        assert_eq!(seen.field("x-forwarded-port"), None);
    }
}

#[test]
fn an_origin_with_tls_believes_to_be_reached_over_tls() {
    let home = Home::new();
    let (origin, proxy) = over_tls(&home, "standard", |exchange| exchange.ok("", "body"));
    let seen = posted(&proxy, &origin, "Origin: http://localhost:8000\r\n");
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.field("origin"), Some(origin.url()));
}

#[test]
fn with_preserve_host_the_origin_learns_how_the_client_addressed_the_proxy() {
    let home = Home::new();
    let identity = by_private_ca("localhost");
    home.write("ca.pem", &identity.trusted_pem);
    let origin = Origin::tls(identity.server, |exchange| exchange.ok("", "body"));
    let flags = ["--origin-ca", "ca.pem", "--preserve-host"];
    let proxy = home.start(&origin.url(), &flags);
    let page = "http://localhost:8000";
    let lines = format!("Origin: {page}\r\nReferer: {page}/a\r\n");
    let seen = posted(&proxy, &origin, &lines);
    for (name, expected) in [
        ("host", "localhost:8000"),
        ("x-forwarded-host", "localhost:8000"),
        ("x-forwarded-port", "8000"),
        ("x-forwarded-proto", "http"),
        ("origin", page),
        ("referer", "http://localhost:8000/a"),
    ] {
        assert_eq!(seen.field(name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn a_response_that_varies_by_page_is_selected_by_what_is_forwarded() {
    let origin = Origin::start(|exchange| {
        let page = exchange.request.field("origin").unwrap_or_default();
        exchange.ok(&format!("{SHARED}Vary: Origin\r\n"), page);
    });
    let proxy = Home::new().start(&origin.url(), &[]);
    let own = "Origin: http://proxy.test\r\n";
    let foreign = "Origin: http://evil.test\r\n";
    for x_cache in ["MISS", "HIT", "HIT", "HIT"] {
        proxy.get_with("/", own).expect(200, x_cache, &origin.url());
        proxy
            .get_with("/", foreign)
            .expect(200, x_cache, "http://evil.test");
        proxy.get("/").expect(200, x_cache, "");
    }
    // The same page by its other name.
    let by_name = format!("Origin: {}\r\n", origin.url());
    proxy
        .get_with("/", &by_name)
        .expect(200, "HIT", &origin.url());
}

/// A session like those of Rails and Express: a cookie, a check of Origin, and redirects to absolute URLs.
fn session_origin(exchange: &mut Exchange<'_>) {
    let request = &exchange.request;
    let host = request.field("host").unwrap_or_default();
    let scheme = request.field("x-forwarded-proto").unwrap_or_default();
    let base = format!("{scheme}://{host}");
    let user = request
        .field("cookie")
        .unwrap_or_default()
        .replace("sid=", "");
    let is_foreign = request.field("origin").is_some_and(|origin| origin != base);
    match (request.method().as_str(), exchange.target().as_str()) {
        ("POST", _) if is_foreign => exchange.answer("403 Forbidden", "", "foreign"),
        ("POST", "/login") => {
            let user = String::from_utf8(exchange.request.body.clone()).unwrap();
            let cookie =
                format!("Set-Cookie: sid={user}; Domain=localhost; Path=/; Secure; HttpOnly\r\n");
            exchange.answer("302 Found", &format!("Location: {base}/me\r\n{cookie}"), "");
        }
        ("POST", "/logout") => {
            let cookie = "Set-Cookie: sid=; Max-Age=0; Path=/; Secure\r\n";
            exchange.answer("302 Found", &format!("Location: {base}/me\r\n{cookie}"), "");
        }
        _ => exchange.ok("", format!("user {user}")),
    }
}

#[test]
fn users_log_in_and_out_and_are_kept_apart() {
    let home = Home::new();
    let (_origin, proxy) = over_tls(&home, "standard", session_origin);
    let page = format!("http://localhost:{}", proxy.port);
    let post = |target: &str, page: &str, lines: &str, body: &str| {
        let mut client = Client::connect(proxy.port);
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nOrigin: {page}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            proxy.port,
            body.len()
        ));
        client.answer_to("POST")
    };
    for user in ["ann", "ben"] {
        let response = post("/login", &page, "", user);
        assert_eq!(
            (response.status(), response.field("location")),
            (302, Some("/me"))
        );
        expect_cookie(&response, &format!("sid={user}; Path=/; HttpOnly"));
    }
    for x_cache in ["MISS", "HIT", "HIT"] {
        for user in ["ann", "ben"] {
            let cookie = format!("Cookie: sid={user}\r\n");
            let response = proxy.get_with("/me", &cookie);
            response.expect(200, x_cache, &format!("user {user}"));
        }
    }
    let response = post("/logout", &page, "Cookie: sid=ann\r\n", "");
    expect_cookie(&response, "sid=; Max-Age=0; Path=/");
    proxy.get("/me").expect(200, "MISS", "user ");
    assert_eq!(post("/login", "http://evil.test", "", "eve").status(), 403);
}
