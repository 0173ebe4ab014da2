//! Several origins: routes by path and by host, each origin with keys and connections of its own.

use caching_proxy::cache::FilterSpec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    client::Client,
    harness::{TestProxy, until},
    instance::Home,
    origin::{Gate, Origin},
    ports,
};

/// An origin that responds with its name, the target and the number of the request for it.
fn named(name: &'static str) -> Origin {
    Origin::start(move |exchange| {
        let body = format!("{name} {} #{}", exchange.target(), exchange.nth);
        exchange.ok("", body);
    })
}

fn route(lines: &str, origin: &Origin) -> String {
    format!("[[routes]]\n{lines}\norigin = \"{}\"\n", origin.url())
}

/// A GET with this Host.
fn get(proxy: &TestProxy, host: &str, target: &str) -> crate::client::Answer {
    let mut client = Client::connect(proxy.port);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.answer()
}

#[test]
fn the_first_route_that_matches_chooses_the_origin() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let file = route("path = \"/api/v2/*\"", &c) + &route("path = \"/api/*\"", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    for (target, body) in [
        ("/api/v2/x", "c /api/v2/x #0"),
        ("/api/x?y=1", "b /api/x?y=1 #0"),
        ("/api/", "b /api/ #0"),
        ("/api", "a /api #0"),
        ("/API/x", "a /API/x #0"),
        ("/%61pi/x", "a /%61pi/x #0"),
    ] {
        proxy.get(target).expect(200, "MISS", body);
        proxy.get(target).expect(200, "HIT", body);
    }
    let host = format!("127.0.0.1:{}", b.port());
    assert_eq!(b.last().field("host"), Some(host));
}

#[test]
fn a_host_chooses_the_origin_whatever_its_case_and_port() {
    let (a, b) = (named("a"), named("b"));
    let file = route("host = \"*.example.test\"\npath = \"/x/*\"", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    for (host, target, body) in [
        ("www.example.test", "/x/1", "b /x/1 #0"),
        ("WWW.Example.TEST:8000", "/x/2", "b /x/2 #0"),
        ("www.example.test.", "/x/3", "b /x/3 #0"),
        ("www.example.test", "/y/1", "a /y/1 #0"),
        ("example.test.evil", "/x/3", "a /x/3 #0"),
    ] {
        get(&proxy, host, target).expect(200, "MISS", body);
        get(&proxy, host, target).expect(200, "HIT", body);
    }
}

#[test]
fn equal_targets_of_two_origins_are_two_responses() {
    let (a, b) = (named("a"), named("b"));
    let file = route("host = \"b.test\"", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    for x_cache in ["MISS", "HIT"] {
        get(&proxy, "a.test", "/same").expect(200, x_cache, "a /same #0");
        get(&proxy, "b.test", "/same").expect(200, x_cache, "b /same #0");
    }
    let purged = proxy.purge(FilterSpec {
        paths: vec!["/same".to_owned()],
        ..FilterSpec::default()
    });
    assert_eq!(purged.responses, 2);
    get(&proxy, "b.test", "/same").expect(200, "MISS", "b /same #1");
}

#[test]
fn routes_that_treat_a_target_differently_share_no_response() {
    let (a, b) = (named("a"), named("b"));
    let file = route(
        "host = \"cut.test\"\npath = \"/x/*\"\nstrip_prefix = true",
        &b,
    ) + &route("host = \"whole.test\"", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    get(&proxy, "cut.test", "/x/1").expect(200, "MISS", "b /1 #0");
    get(&proxy, "whole.test", "/x/1").expect(200, "MISS", "b /x/1 #0");
    get(&proxy, "cut.test", "/x/1").expect(200, "HIT", "b /1 #0");
}

#[test]
fn a_prefix_is_stripped_on_the_way_to_the_origin_only() {
    let (a, b) = (named("a"), named("b"));
    let file = format!(
        "[[routes]]\npath = \"/api/*\"\norigin = \"{}/base\"\nstrip_prefix = true\n",
        b.url()
    );
    let proxy = TestProxy::builder(&a).file(&file).start();
    for (target, forwarded) in [
        ("/api/x?y=1", "/base/x?y=1"),
        ("/api/", "/base/"),
        ("/api/?y", "/base/?y"),
        ("/api/a//b", "/base/a//b"),
        ("/api/api/x", "/base/api/x"),
    ] {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("b {forwarded} #0"));
        assert_eq!(b.last().target(), forwarded);
        proxy
            .get(target)
            .expect(200, "HIT", &format!("b {forwarded} #0"));
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn an_unsafe_request_invalidates_responses_of_its_own_origin_only() {
    let (a, b) = (named("a"), named("b"));
    let file =
        route("host = \"b.test\"", &b) + &route("path = \"/cut/*\"\nstrip_prefix = true", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    get(&proxy, "a.test", "/items").expect(200, "MISS", "a /items #0");
    get(&proxy, "b.test", "/items").expect(200, "MISS", "b /items #0");
    get(&proxy, "a.test", "/cut/items").expect(200, "MISS", "b /items #1");
    proxy.request("POST", "/items", "", b"x");
    get(&proxy, "a.test", "/items").expect(200, "MISS", "a /items #2");
    get(&proxy, "b.test", "/items").expect(200, "HIT", "b /items #0");
    // The same resource of the origin, through two routes.
    proxy.request("POST", "/cut/items", "", b"x");
    get(&proxy, "a.test", "/cut/items").expect(200, "MISS", "b /items #3");
    get(&proxy, "b.test", "/items").expect(200, "MISS", "b /items #4");
    get(&proxy, "a.test", "/items").expect(200, "HIT", "a /items #2");
}

#[test]
fn a_route_has_settings_of_its_own_and_rules_go_before_them() {
    let (a, b) = (
        Origin::counting("Cache-Control: no-store\r\n"),
        Origin::counting("Cache-Control: no-store\r\n"),
    );
    let file = route(
        "path = \"/api/*\"\npolicy = \"always\"\npreserve_host = true",
        &b,
    ) + "[[rules]]\npath = \"/api/live/*\"\nstore = false\n";
    let proxy = TestProxy::builder(&a).file(&file).start();
    proxy.get("/x").expect(200, "MISS", "GET /x #0");
    proxy.get("/x").expect(200, "MISS", "GET /x #1");
    proxy.get("/api/x").expect(200, "MISS", "GET /api/x #0");
    proxy.get("/api/x").expect(200, "HIT", "GET /api/x #0");
    assert_eq!(b.last().field("host").as_deref(), Some("proxy.test"));
    get(&proxy, "other.test", "/api/x").expect(200, "MISS", "GET /api/x #1");
    get(&proxy, "other.test", "/api/x").expect(200, "HIT", "GET /api/x #1");
    for nth in 0..2 {
        let body = format!("GET /api/live/x #{nth}");
        let response = proxy.get("/api/live/x");
        response.expect(200, "MISS", &body);
        let status = response.field("cache-status").unwrap();
        assert!(status.contains("detail=rule"), "{status}");
    }
}

#[test]
fn an_origin_that_hangs_takes_no_connection_from_another() {
    let gate = Gate::default();
    let hanging = {
        let gate = gate.clone();
        Origin::start(move |exchange| {
            gate.wait();
            exchange.ok("", "late");
        })
    };
    let good = named("good");
    let file = route("path = \"/hang/*\"", &hanging);
    let proxy = TestProxy::builder(&good).file(&file).start();
    let waiting: Vec<Client> = (0..200)
        .map(|number| proxy.begin(&format!("/hang/{number}"), ""))
        .collect();
    hanging.wait_for(waiting.len());
    for number in 0..50 {
        let target = format!("/{number}");
        proxy
            .get(&target)
            .expect(200, "MISS", &format!("good {target} #0"));
    }
    gate.open();
    for mut client in waiting {
        client.answer().expect(200, "MISS", "late");
    }
}

/// Lets this process open as many files as the system allows it.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn an_origin_whose_connections_are_all_in_use_takes_nothing_from_another() {
    /// Most connections to one origin at a time.
    const MAX_CONNECTIONS: usize = 1024;
    raise_file_limit();
    let hole = ports::BlackHole::new();
    let good = named("good");
    let home = Home::new();
    let route = format!("/hole/*={}", hole.url());
    let args = ["--route", &route, "--workers", "1", "--timeout", "10m"];
    let proxy = home.start(&good.url(), &args);
    let _waiting: Vec<Client> = (0..MAX_CONNECTIONS + 50)
        .map(|number| {
            let mut client = Client::connect(proxy.port);
            client.ask(&format!("/hole/{number}"), "");
            client
        })
        .collect();
    until("every permit of the origin is taken", || {
        hole.attempts() == MAX_CONNECTIONS
    });
    let load = (0..8).map(|number| {
        let port = proxy.port;
        std::thread::spawn(move || {
            let mut client = Client::connect(port);
            for nth in 0..50 {
                let target = format!("/{number}/{nth}");
                let body = format!("good {target} #0");
                for x_cache in ["MISS", "HIT"] {
                    client.ask(&target, "");
                    client.answer().expect(200, x_cache, &body);
                }
                let post = format!(
                    "POST {target}/new HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"
                );
                let body = format!("good {target}/new #0");
                client.send(post).answer().expect(200, "MISS", &body);
            }
        })
    });
    let load: Vec<_> = load.collect();
    for client in load {
        client.join().unwrap();
    }
    assert_eq!(good.count(), 8 * 50 * 2);
    until("every permit is still taken", || {
        hole.attempts() == MAX_CONNECTIONS
    });
}

#[test]
fn routes_of_the_command_line_and_the_environment_lead_to_their_origins() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let home = Home::new();
    let routes = [
        "--route",
        &format!("/api/*={}", b.url()),
        "--route",
        &format!("/img/*={}", c.url()),
    ];
    let proxy = home.start(&a.url(), &routes);
    for (target, name) in [("/api/x", "b"), ("/img/x", "c"), ("/x", "a")] {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("{name} {target} #0"));
    }
    let variable = [("CACHING_PROXY_ROUTE", &*format!("/api/*={}", c.url()))];
    let proxy = home.start_with(&a.url(), &[], &variable);
    proxy.get("/api/x").expect(200, "MISS", "c /api/x #0");
}

#[test]
fn a_redirect_to_another_origin_stays_with_the_proxy() {
    let b = named("b");
    let location = format!("Location: {}/api/next", b.url());
    let a = Origin::start(move |exchange| {
        exchange.send(format!(
            "HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n"
        ));
    });
    let file = route("path = \"/api/*\"", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    for _ in 0..3 {
        assert_eq!(proxy.get("/x").field("location"), Some("/api/next"));
    }
    let stripped = route("path = \"/b/*\"\nstrip_prefix = true", &b);
    let proxy = TestProxy::builder(&a).file(&stripped).start();
    assert_eq!(proxy.get("/x").field("location"), Some("/b/api/next"));
    // No path leads there.
    let elsewhere = route("path = \"/c/*\"", &b);
    let proxy = TestProxy::builder(&a).file(&elsewhere).start();
    let url = format!("{}/api/next", b.url());
    assert_eq!(proxy.get("/x").field("location"), Some(&*url));
}

#[test]
fn why_log_lists_and_statistics_name_the_origin() {
    let (a, b) = (named("a"), Origin::start(|exchange| exchange.cut()));
    let home = Home::new();
    let proxy = home.start(&a.url(), &["--route", &format!("/api/*={}", b.url())]);
    let port = proxy.port.to_string();
    let why = home.run_json(&["why", "/api/x", "--json", "--port", &port]);
    assert_eq!(why["origin"], b.url());
    let why = home.run_ok(&["why", "/x", "--port", &port]);
    assert!(why.contains(&a.url()) && !why.contains(&b.url()), "{why}");
    assert_eq!(proxy.get("/api/x").status(), 502);
    proxy.log_line(&["MISS 502 GET /api/x", &format!("from {}", b.url())]);
    proxy.get("/x").expect(200, "MISS", "a /x #0");
    proxy.log_line(&["MISS 200 GET /x", &format!("from {}", a.url())]);
    let stats = home.run_json(&["stats", "--json", "--port", &port]);
    for (index, origin, answers, failures) in [(0, &a, 1, 0), (1, &b, 0, 1)] {
        let counted = &stats["origins"][index];
        assert_eq!(counted["origin"], origin.url(), "{stats}");
        assert_eq!(counted["answers"], answers, "{stats}");
        assert_eq!(counted["failures"], failures, "{stats}");
        assert_eq!(counted["p50_millis"].is_number(), answers > 0, "{stats}");
    }
    assert_eq!(stats["origins"][1]["failures_by"][0]["name"], "origin-cut");
    let stats = home.run_ok(&["stats", "--port", &port]);
    let row = stats.lines().find(|line| line.contains(&b.url())).unwrap();
    assert!(row.ends_with("  median -, p99 -, 1 failure"), "{stats}");
}

#[test]
fn lists_name_the_origin_of_a_key() {
    let (a, b) = (named("a"), named("b"));
    let home = Home::new();
    let proxy = home.start(&a.url(), &["--route", &format!("/api/*={}", b.url())]);
    let port = proxy.port.to_string();
    proxy.get("/api/x").expect(200, "MISS", "b /api/x #0");
    proxy.get("/x").expect(200, "MISS", "a /x #0");
    let listed = home.run_ok(&["ls", "--port", &port]);
    assert!(
        listed.contains(&format!("/api/x  at {}\n", b.url())),
        "{listed}"
    );
    assert!(listed.contains("  /x\n"), "{listed}");
    let shown = home.run_json(&["show", "/api/x", "--json", "--port", &port]);
    assert_eq!(shown["answers"][0]["origin"], b.url());
    home.run_ok(&["purge", "/api/x", "--port", &port]);
    proxy.get("/api/x").expect(200, "MISS", "b /api/x #1");
}

#[test]
fn a_reload_changes_routes_but_not_the_set_of_origins() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let home = Home::new();
    home.write("config/proxy.toml", &route("path = \"/api/*\"", &b));
    let proxy = home.start(&a.url(), &[]);
    let reload = || home.run_json(&["reload", "--json", "--port", &proxy.port.to_string()]);
    proxy.get("/api/x").expect(200, "MISS", "b /api/x #0");
    home.write("config/proxy.toml", &route("path = \"/v2/*\"", &b));
    let reloaded = reload();
    assert_eq!(reloaded["changed"], serde_json::json!(["routes"]));
    assert_eq!(reloaded["cache_cleared"], true);
    proxy.get("/api/x").expect(200, "MISS", "a /api/x #0");
    proxy.get("/v2/x").expect(200, "MISS", "b /v2/x #0");
    home.write("config/proxy.toml", &route("path = \"/v2/*\"", &c));
    let reloaded = reload();
    assert_eq!(reloaded["needs_restart"], serde_json::json!(["routes"]));
    proxy.get("/v2/y").expect(200, "MISS", "b /v2/y #0");
}

#[test]
fn a_websocket_follows_its_route_without_the_stripped_prefix() {
    const OFFER: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (a, b) = (
        named("a"),
        Origin::start(|exchange| {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            exchange.close();
        }),
    );
    let file = route("path = \"/ws/*\"\nstrip_prefix = true", &b);
    let proxy = TestProxy::builder(&a).file(&file).start();
    assert_eq!(proxy.begin("/ws/chat", OFFER).head().status, 101);
    assert_eq!((b.only().target(), a.count()), ("/chat".to_owned(), 0));
}
