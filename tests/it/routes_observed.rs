//! What commands, metrics and the dashboard say of routes and of their origins.

use serde_json::{Value, json};

use crate::{
    chromium::Browser, client::Client, dashboard::DashboardProxy, harness::until, instance::Home,
    origin::Origin,
};

/// What `why` says of the route of a request.
#[track_caller]
fn route(home: &Home, args: &[&str]) -> Value {
    let args: Vec<_> = ["why", "--json"].iter().chain(args).copied().collect();
    home.run_json(&args)["route"].clone()
}

#[test]
fn why_names_the_route_with_its_place_its_origins_and_its_settings() {
    let (a, b, c) = (
        Origin::counting(""),
        Origin::counting(""),
        Origin::counting(""),
    );
    let (a, b, c) = (a.url(), b.url(), c.url());
    let home = Home::new();
    let file = format!(
        "[[rules]]\npath = \"/api/slow/*\"\nttl = \"1m\"\n\n\
         [[routes]]\npath = \"/api/*\"\nhost = \"*.example.test\"\norigin = [\"{b}\", \"{c}\"]\n\
         strip_prefix = true\nttl = \"10m\"\nstore = true\n"
    );
    home.write("config/proxy.toml", &file);
    let proxy = home.start(&a, &["--route", &format!("/other/*={c}")]);
    let settings = |settings: &[&str]| json!(settings);
    for (path, matches, origins, keys) in [
        (
            "http://www.example.test/api/x",
            "*.example.test/api/*",
            json!([b, c]),
            settings(&["strip_prefix = true", "ttl = \"10m\"", "store = true"]),
        ),
        (
            // The rule goes first.
            "http://www.example.test/api/slow/x",
            "*.example.test/api/*",
            json!([b, c]),
            settings(&["strip_prefix = true", "store = true"]),
        ),
        ("/other/x", "/other/*", json!([c]), settings(&[])),
    ] {
        let found = route(&home, &[path]);
        assert_eq!(found["matches"], matches, "{path}");
        assert_eq!(found["origins"], origins, "{path}");
        assert_eq!(found["settings"], keys, "{path}");
        let place = found["place"].as_str().unwrap();
        let expected = match matches {
            "/other/*" => "--route",
            _ => "proxy.toml:5",
        };
        assert!(place.ends_with(expected), "{place}");
    }
    let found = route(&home, &["/api/x"]);
    let expected =
        json!({ "matches": null, "place": null, "origins": json!([a]), "settings": json!([]) });
    assert_eq!(found, expected);
    let text = home.run_ok(&["why", "http://www.example.test/api/x"]);
    assert!(
        text.contains(&format!(
            "proxy.toml:5; the first healthy of {b}, {c}; sets strip_prefix = true, ttl = \"10m\", store = true\n"
        )),
        "{text}"
    );
    let text = home.run_ok(&["why", "/x"]);
    assert!(
        text.contains("  route       none matches: the request takes that of --origin\n"),
        "{text}"
    );
    drop(proxy);
}

#[test]
fn why_names_the_line_of_a_route_after_a_reload_that_moves_it() {
    let (a, b) = (Origin::counting(""), Origin::counting(""));
    let home = Home::new();
    let file = format!("[[routes]]\npath = \"/b/*\"\norigin = \"{}\"\n", b.url());
    home.write("config/proxy.toml", &file);
    let _proxy = home.start(&a.url(), &[]);
    for (comment, place) in [("", "proxy.toml:1"), ("# One.\n# Two.\n", "proxy.toml:3")] {
        home.write("config/proxy.toml", &format!("{comment}{file}"));
        assert_eq!(home.run(&["reload"]).code, Some(0));
        let found = route(&home, &["/b/x"]);
        assert!(found["place"].as_str().unwrap().ends_with(place), "{found}");
    }
}

#[test]
fn without_routes_why_names_none() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    assert_eq!(route(&home, &["/x"]), Value::Null);
    let text = home.run_ok(&["why", "/x"]);
    assert!(!text.contains("  route "), "{text}");
}

#[track_caller]
fn assert_has(metrics: &str, samples: &[String]) {
    for sample in samples {
        let line = format!("caching_proxy_{sample}");
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in\n{metrics}"
        );
    }
}

#[test]
fn metrics_count_the_requests_of_each_route_and_the_responses_of_each_origin() {
    let (a, b) = (Origin::counting(""), Origin::counting(""));
    let broken = Origin::start(|exchange| exchange.cut());
    let home = Home::new();
    let routes = [&b, &broken].map(Origin::url);
    let (api, bad) = (
        format!("/api/*={}", routes[0]),
        format!("/bad/*={}", routes[1]),
    );
    let watched = DashboardProxy::start_with(&home, &a, &["--route", &api, "--route", &bad]);
    let proxy = &watched.proxy;
    proxy.get("/x");
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(proxy.get("/api/x").x_cache(), x_cache);
    }
    assert_eq!(proxy.get("/bad/x").status(), 502);
    // Two requests that have no route.
    let mut client = Client::connect(proxy.port);
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().status(), 400);
    let mut client = Client::connect(proxy.port);
    client.send("OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    let metrics = watched.get("/metrics").text();
    let requests = |route: &str, outcome: &str, count: u64| {
        format!("route_requests_total{{route=\"{route}\",outcome=\"{outcome}\"}} {count}")
    };
    assert_has(
        &metrics,
        &[
            requests("default", "miss", 1),
            requests("default", "hit", 0),
            requests("/api/*", "miss", 1),
            requests("/api/*", "hit", 1),
            requests("/bad/*", "failed", 1),
            requests("none", "failed", 1),
            requests("none", "own", 1),
            "route_responses_total{route=\"/bad/*\",class=\"5xx\"} 1".to_owned(),
            "route_responses_total{route=\"/api/*\",class=\"2xx\"} 2".to_owned(),
        ],
    );
    assert!(!metrics.contains("route=\"other\""), "{metrics}");
    let [of_a, of_b, of_broken] =
        [&a, &b, &broken].map(|origin| format!("origin=\"{}\"", origin.url()));
    assert_has(
        &metrics,
        &[
            format!("origin_seconds_count{{{of_a}}} 1"),
            format!("origin_seconds_count{{{of_b}}} 1"),
            format!("origin_seconds_bucket{{le=\"+Inf\",{of_b}}} 1"),
            format!("origin_seconds_count{{{of_broken}}} 0"),
            format!("origin_requests_total{{{of_broken},outcome=\"failed\"}} 1"),
            format!("origin_failures_total{{{of_broken},kind=\"origin-cut\"}} 1"),
            format!("origin_failures_total{{{of_b},kind=\"origin-cut\"}} 0"),
        ],
    );
}

#[test]
fn a_reload_keeps_the_counts_of_routes() {
    let (a, b) = (Origin::counting(""), Origin::counting(""));
    let home = Home::new();
    let route = |path: &str| format!("[[routes]]\npath = \"{path}\"\norigin = \"{}\"\n", b.url());
    home.write("config/proxy.toml", &(route("/one/*") + &route("/two/*")));
    let proxy = home.start(&a.url(), &[]);
    for target in ["/one/x", "/one/x", "/two/x", "/x"] {
        proxy.get(target);
    }
    home.write("config/proxy.toml", &(route("/three/*") + &route("/one/*")));
    home.run(&["reload"]);
    for target in ["/three/x", "/one/x", "/two/x"] {
        proxy.get(target);
    }
    let stats = home.run_json(&["stats", "--json"]);
    let counts: Vec<_> = stats["routes"].as_array().unwrap().iter().collect();
    let counted = |name: &str| counts.iter().find(|it| it["route"] == name).unwrap();
    for (name, requests) in [
        ("default", 2),
        ("/one/*", 3),
        ("/two/*", 1),
        ("/three/*", 1),
    ] {
        assert_eq!(counted(name)["requests"], requests, "{stats}");
    }
    assert_eq!(counts.len(), 4, "{stats}");
    let text = home.run_ok(&["stats"]);
    assert!(
        text.contains("\nRequests of each route\n          3  /one/*  "),
        "{text}"
    );
}

#[test]
fn stats_say_that_one_of_several_origins_is_avoided() {
    let broken = Origin::start(|exchange| exchange.cut());
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let list = format!(
        "[[routes]]\npath = \"/list/*\"\norigin = [\"{}\", \"{}\"]\n",
        broken.url(),
        origin.url()
    );
    home.write("config/proxy.toml", &list);
    let proxy = home.start("http://127.0.0.1:9", &[]);
    // Each failure makes the pause longer.
    until("the origin that fails is avoided", || {
        assert_eq!(proxy.get("/list/x").status(), 200);
        let stats = home.run_json(&["stats", "--json"]);
        let origins = stats["origins"].as_array().unwrap();
        let avoided = origins.iter().filter(|it| it["is_avoided"] == true);
        avoided.map(|it| it["origin"].clone()).collect::<Vec<_>>() == [broken.url()]
    });
}

#[test]
fn without_routes_stats_count_none() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/x");
    let stats = home.run_json(&["stats", "--json"]);
    assert_eq!(
        (&stats["routes"], &stats["origins"]),
        (&json!([]), &json!([]))
    );
    assert!(!home.run_ok(&["stats"]).contains(" of each "));
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn the_page_shows_every_origin_the_failing_ones_first() {
    let home = Home::new();
    let browser = Browser::open(&home);
    let (a, b) = (Origin::counting(""), Origin::counting(""));
    let broken = Origin::start(|exchange| exchange.cut());
    let routes = [&b, &broken].map(Origin::url);
    let (api, bad) = (
        format!("/api/*={}", routes[0]),
        format!("/bad/*={}", routes[1]),
    );
    let watched = DashboardProxy::start_with(&home, &a, &["--route", &api, "--route", &bad]);
    browser.go(&watched.link);
    browser.shows("#live-text", "Live");
    browser.shows("#origin-text", "No requests yet");
    let proxy = &watched.proxy;
    for target in ["/api/1", "/api/2"] {
        proxy.get(target);
    }
    browser.shows("#origin-text", "Responding");
    browser.shows("#origins li:first-child .name", &b.url());
    browser.shows("#origins li:first-child .count", "2");
    browser.shows("#origins li:first-child .hint", "Responding · median ");
    assert_eq!(proxy.get("/bad/x").status(), 502);
    browser.shows("#origin-text", "1 of 3 failing");
    browser.shows("#origins li:first-child .name", &broken.url());
    browser.shows("#origins li:first-child .hint", "Failing · 1 failure");
    browser.shows("#origins li:last-child .name", &a.url());
    browser.shows(
        "#origins li:last-child .hint",
        "No requests yet · 0 failures",
    );
    assert_eq!(
        browser.eval("document.querySelectorAll('#origins li').length"),
        3
    );
    assert_eq!(browser.complaints(), [""; 0]);
}
