//! The dashboard: access, event stream and metrics.

use serde_json::Value;

use crate::{
    client::{Answer, Client},
    harness::until,
    instance::{Home, Instance},
    origin::Origin,
    ports::{self, free_port},
};

/// A proxy with a dashboard.
pub(crate) struct DashboardProxy {
    /// The proxy.
    pub(crate) proxy: Instance,
    /// The printed link.
    pub(crate) link: String,
    port: u16,
}

impl DashboardProxy {
    /// Starts a proxy with a dashboard.
    pub(crate) fn start(home: &Home, origin: &Origin) -> Self {
        Self::start_with(home, origin, &[])
    }

    /// Starts one with these arguments.
    pub(crate) fn start_with(home: &Home, origin: &Origin, args: &[&str]) -> Self {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let proxy = home.start(&origin.url(), &[&["--dashboard", &address], args].concat());
        let line = proxy.log_line(&["Dashboard: "]);
        assert!(line.len() < 80, "a terminal would break it: {line}");
        let link = line.strip_prefix("Dashboard: ").unwrap().to_owned();
        assert!(link.starts_with(&format!("http://{address}/#token=")));
        Self { proxy, link, port }
    }

    fn token(&self) -> &str {
        self.link.split_once("#token=").unwrap().1
    }

    /// Sends a request with these header lines, each with CRLF.
    fn ask(&self, line: &str, fields: &str, body: &str) -> Answer {
        let length = body.len();
        let mut client = Client::connect(self.port);
        client.send(format!(
            "{line} HTTP/1.1\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ));
        let method = line.split(' ').next().unwrap();
        client.answer_to(method)
    }

    fn host(&self) -> String {
        format!("Host: 127.0.0.1:{}\r\n", self.port)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), &self.host(), "")
    }

    /// Asks for the events, and leaves them unread.
    pub(crate) fn events(&self) -> Client {
        let mut stream = Client::connect(self.port);
        let headers = self.page_headers();
        stream.send(format!("GET /events HTTP/1.1\r\n{headers}\r\n"));
        stream
    }

    /// Host and token as the page sends them.
    fn page_headers(&self) -> String {
        format!("{}Authorization: Bearer {}\r\n", self.host(), self.token())
    }
}

#[test]
fn only_the_page_healthz_and_metrics_work_without_a_token() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    for open in ["/", "/app.js", "/style.css", "/healthz", "/metrics"] {
        assert_eq!(watched.get(open).status(), 200, "{open}");
    }
    assert_eq!(watched.get("/healthz").text(), "ok\n");
    for closed in ["/events", "/api/entries", "/nothing", "//", "/index.html"] {
        assert_eq!(watched.get(closed).status(), 403, "{closed}");
    }
    for closed in ["/api/clear", "/api/purge"] {
        let answer = watched.ask(&format!("POST {closed}"), &watched.host(), "{}");
        assert_eq!(answer.status(), 403, "{closed}");
    }
}

#[test]
fn head_gets_the_headers_of_get_and_a_wrong_method_gets_the_allowed_methods() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    let fields = watched.page_headers();
    let ask = |method: &str, target: &str| watched.ask(&format!("{method} {target}"), &fields, "");
    for target in ["/", "/app.js", "/style.css", "/healthz", "/api/entries"] {
        let (get, head) = (ask("GET", target), ask("HEAD", target));
        assert_eq!(
            (head.status(), head.text()),
            (200, String::new()),
            "{target}"
        );
        for name in ["content-type", "content-length", "cache-control"] {
            assert!(head.field(name).is_some(), "{target}: {name}");
            assert_eq!(head.field(name), get.field(name), "{target}: {name}");
        }
    }
    for (target, kind) in [
        ("/metrics", "application/openmetrics-text"),
        ("/events", "text/event-stream"),
    ] {
        let head = ask("HEAD", target);
        assert_eq!(head.status(), 200, "{target}");
        assert!(head.field("content-type").unwrap().starts_with(kind));
        assert!(head.text().is_empty());
    }
    for target in ["/", "/healthz", "/metrics", "/events", "/api/entries"] {
        for method in ["POST", "DELETE", "OPTIONS", "X"] {
            let answer = ask(method, target);
            assert_eq!(answer.status(), 405, "{method} {target}");
            assert_eq!(
                answer.field("allow"),
                Some("GET, HEAD"),
                "{method} {target}"
            );
        }
    }
    for target in ["/api/purge", "/api/clear"] {
        for method in ["GET", "HEAD", "PUT"] {
            let answer = ask(method, target);
            assert_eq!(answer.status(), 405, "{method} {target}");
            assert_eq!(answer.field("allow"), Some("POST"), "{method} {target}");
        }
    }
    assert_eq!(ask("GET", "/nothing").status(), 404);
}

#[test]
fn every_response_forbids_browser_features_that_the_page_does_not_use() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    for target in ["/", "/app.js", "/metrics", "/events"] {
        let answer = watched.get(target);
        assert_eq!(
            answer.field("content-security-policy").unwrap(),
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    let page = watched.get("/").text();
    for inline in ["<style", "style=", "onclick", "<script>", "http://cdn"] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[test]
fn the_dashboard_accepts_only_its_own_host_names() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    let port = watched.port;
    let status = |host: &str| watched.ask("GET /", host, "").status();
    assert_eq!(status(&format!("Host: localhost:{port}\r\n")), 200);
    for host in [
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        "Host: localhost\r\n".to_owned(),
        format!("Host: localhost:{}\r\n", watched.proxy.port),
    ] {
        assert_eq!(status(&host), 403, "{host}");
    }
    let foreign = watched
        .page_headers()
        .replace("Host: 127.0.0.1", "Host: evil.example");
    assert_eq!(watched.ask("GET /api/entries", &foreign, "").status(), 403);
}

#[test]
fn a_cross_site_request_is_refused() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    watched.proxy.get("/a");
    let fields = watched.page_headers();
    for other in ["http://evil.example", "null", "http://localhost:1"] {
        let fields = format!("{fields}Origin: {other}\r\n");
        assert_eq!(watched.ask("POST /api/clear", &fields, "{}").status(), 403);
    }
    assert_eq!(watched.proxy.get("/a").x_cache(), "HIT");
    let own = format!("{fields}Origin: http://127.0.0.1:{}\r\n", watched.port);
    let cleared = watched.ask("POST /api/clear", &own, "{}");
    assert_eq!(cleared.status(), 200);
    let cleared: Value = serde_json::from_slice(&cleared.body).unwrap();
    assert_eq!(cleared["entries"], 1);
    assert_eq!(watched.proxy.get("/a").x_cache(), "MISS");
}

#[test]
fn a_wrong_token_is_refused() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    let token = watched.token();
    let status = |credentials: &str| {
        let fields = format!("{}{credentials}", watched.host());
        watched.ask("GET /api/entries", &fields, "").status()
    };
    for wrong in [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer x\r\n".to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {}\r\n", &token[..16]),
        format!("Authorization: Bearer {token}0\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Cookie: caching-proxy-{}={token}\r\n", watched.port),
    ] {
        assert_eq!(status(&wrong), 403, "{wrong}");
    }
    assert_eq!(status(&format!("Authorization: bearer {token}\r\n")), 200);
    let long = "x".repeat(64 * 1024);
    let fields = format!(
        "{}Content-Type: application/json\r\n",
        watched.page_headers()
    );
    assert_eq!(watched.ask("POST /api/purge", &fields, &long).status(), 413);
}

#[test]
fn no_response_of_the_dashboard_sets_a_cookie() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    for fields in [watched.host(), watched.page_headers()] {
        for line in [
            "GET /",
            "GET /app.js",
            "HEAD /events",
            "GET /api/entries",
            "POST /session",
            "POST /api/clear",
        ] {
            let answer = watched.ask(line, &fields, "");
            assert_eq!(answer.field("set-cookie"), None, "{line}");
        }
    }
}

#[test]
fn the_event_stream_shows_requests_with_reasons_and_without_secrets() {
    let (origin, home) = (Origin::counting("Cache-Control: no-store\r\n"), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    watched.proxy.get("/a?token=HUSH");
    let mut stream = watched.events();
    stream.wait_for("content-type: text/event-stream");
    stream.wait_for("event: past\ndata: [");
    stream.wait_for("event: now\ndata: {");
    stream.wait_for("\"target\":\"/a?token=***\"");
    stream.wait_for(
        "\"outcome\":\"miss\",\"reason\":\"no-store\",\"remedy\":\"policy = \\\"always\\\" in a [[rules]] entry for /a, or --policy always, caches it\"",
    );
}

#[test]
fn the_number_of_event_streams_is_limited() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    let fields = watched.page_headers();
    let streams: Vec<Client> = (0..16)
        .map(|_| {
            let mut stream = Client::connect(watched.port);
            stream.send(format!("GET /events HTTP/1.1\r\n{fields}\r\n"));
            stream.wait_for("event: now");
            stream
        })
        .collect();
    assert_eq!(watched.ask("GET /events", &fields, "").status(), 503);
    drop(streams);
    until("a place is free again", || {
        let mut stream = Client::connect(watched.port);
        stream.send(format!("GET /events HTTP/1.1\r\n{fields}\r\n"));
        stream.head().status == 200
    });
}

#[test]
fn entries_are_found_and_purged_by_name() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    for target in ["/users/1", "/users/2", "/products?limit=1"] {
        watched.proxy.get(target);
    }
    let fields = watched.page_headers();
    let list = |query: &str| -> Value {
        let answer = watched.ask(&format!("GET /api/entries?{query}"), &fields, "");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    };
    assert_eq!(list("")["total"], 3);
    for (query, total) in [("/users/*", 2), ("limit", 1), ("/users/1", 1), ("none", 0)] {
        assert_eq!(
            list(&format!("q={query}&sort=path"))["total"],
            total,
            "{query}"
        );
    }
    assert_eq!(
        list("q=/users/*&sort=path&offset=1")["entries"][0]["path"],
        "/users/2"
    );
    let json = format!("{fields}Content-Type: application/json\r\n");
    let purged = watched.ask("POST /api/purge", &json, "{\"path\":\"/users/*\"}");
    assert_eq!(purged.status(), 200, "{}", purged.text());
    assert_eq!(list("")["total"], 1);
    for wrong in ["q=a%20b", "sort=colour", "offset=999999", "nothing=1"] {
        let answer = watched.ask(&format!("GET /api/entries?{wrong}"), &fields, "");
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    for wrong in [
        "",
        "{}",
        "{\"path\":\"\"}",
        "{\"path\":\"/a\",\"all\":true}",
    ] {
        assert_eq!(
            watched.ask("POST /api/purge", &json, wrong).status(),
            400,
            "{wrong}"
        );
    }
}

#[test]
fn the_metrics_for_prometheus_match_the_counters() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    watched.proxy.get("/a");
    watched.proxy.get("/a");
    let answer = watched.get("/metrics");
    assert_eq!(
        answer.field("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    let labels = format!("origin=\"{}\"", origin.url());
    for line in [
        "caching_proxy_requests_total{outcome=\"hit\",reason=\"\"} 1",
        "caching_proxy_requests_total{outcome=\"miss\",reason=\"uri-miss\"} 1",
        "caching_proxy_responses_total{class=\"2xx\"} 2",
        "caching_proxy_saved_requests_total 1",
        "caching_proxy_entries 1",
        "caching_proxy_memory_limit_bytes 268435456",
        &format!("caching_proxy_origin_seconds_count{{{labels}}} 1"),
        &format!("caching_proxy_origin_seconds_bucket{{le=\"+Inf\",{labels}}} 1"),
        "# TYPE caching_proxy_origin_seconds histogram",
        "# UNIT caching_proxy_saved_bytes bytes",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // Only reasons that can occur.
    for (metric, occurs, never) in [
        ("not_stored", "no-store", "client-no-cache"),
        ("not_stored", "too-large", "related-change"),
        ("not_reused", "client-no-cache", "no-store"),
        ("not_reused", "condition", "too-large"),
    ] {
        let sample = |reason| format!("caching_proxy_{metric}_total{{reason=\"{reason}\"}} 0");
        assert!(text.contains(&sample(occurs)), "{metric} {occurs}");
        assert!(!text.contains(&sample(never)), "{metric} {never}");
    }
}

#[test]
fn every_metric_of_the_grafana_dashboard_exists() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let watched = DashboardProxy::start(&home, &origin);
    let text = watched.get("/metrics").text();
    let there: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let shipped = include_str!("../../config/grafana.json");
    let dashboard: Value = serde_json::from_str(shipped).unwrap();
    assert!(
        dashboard["panels"]
            .as_array()
            .is_some_and(|panels| panels.len() > 5)
    );
    let mut named = 0;
    for (at, prefix) in shipped.match_indices("caching_proxy_") {
        let rest = &shipped[at..];
        let letters = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let end = rest.find(|letter| !letters(letter)).unwrap();
        assert!(there.contains(&&rest[..end]), "{prefix}: {}", &rest[..end]);
        named += 1;
    }
    assert!(named > 15);
}

#[test]
fn a_dashboard_address_beyond_loopback_is_refused() {
    let home = Home::new();
    for address in [
        "0.0.0.0:8001",
        "192.0.2.1:8001",
        "[::]:8001",
        "127.0.0.1",
        "127.0.0.1:0",
    ] {
        let args = ["--origin", "http://127.0.0.1:9", "--dashboard", address];
        home.run(&args)
            .refused(2, &["--dashboard", address, "127.0.0.1:8001"]);
    }
}

#[test]
fn a_dashboard_address_in_use_is_named() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let taken = ports::listener();
    let address = taken.local_addr().unwrap().to_string();
    let port = free_port().to_string();
    let args = [
        "--port",
        &port,
        "--origin",
        &origin.url(),
        "--dashboard",
        &address,
    ];
    home.run(&args)
        .refused(3, &["dashboard", &address, "--dashboard"]);
}

#[test]
fn the_dashboard_does_not_run_without_its_flag() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/");
    assert!(!proxy.whole_log().contains("Dashboard"));
}
