//! `purge` and `ls` with the real binary.

use crate::{
    client::Client,
    harness::until,
    instance::{Home, Instance},
    origin::{Gate, Origin},
};

#[track_caller]
fn is_hit(proxy: &Instance, target: &str) -> bool {
    proxy.get(target).x_cache() == "HIT"
}

fn fill(proxy: &Instance, targets: &[&str]) {
    for target in targets {
        proxy.get(target);
        assert!(is_hit(proxy, target), "{target}");
    }
}

#[test]
fn an_exact_path_is_purged_with_its_query_and_nothing_else() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    fill(&proxy, &["/a", "/a?b=1", "/ab"]);
    let told = home.run_ok(&["purge", "/a"]);
    assert!(told.starts_with("1 response purged, "), "{told}");
    assert!(told.ends_with("\n  /a\n"), "{told}");
    assert!(is_hit(&proxy, "/a?b=1") && is_hit(&proxy, "/ab"));
    proxy.get("/a").expect(200, "MISS", "GET /a #1");
    let told = home.run_ok(&["purge", "https://shop.example/a?b=1#part"]);
    assert!(told.ends_with("\n  /a?b=1\n"), "{told}");
    proxy.get("/a?b=1").expect(200, "MISS", "GET /a?b=1 #1");
}

#[test]
fn a_purge_without_matches_is_reported_and_succeeds() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let told = home.run_ok(&["purge", "/a", "--tag", "x"]);
    assert_eq!(
        told,
        "0 responses purged: no cached response matches /a, tag x (`caching-proxy ls` lists them)\n"
    );
}

#[test]
fn an_invalid_filter_is_refused_with_a_correction() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    home.run(&["purge"]).refused(2, &["PATH"]);
    home.run(&["purge", "products"])
        .refused(2, &["\"products\"", "begins with \"/\""]);
    home.run(&["purge", "/a b"]).refused(2, &["%20"]);
    home.run(&["purge", "--tag", ""])
        .refused(2, &["is not a tag"]);
    home.run(&["ls", "a"]).refused(2, &["begins with \"/\""]);
    home.run(&["ls", "--limit", "1000000"])
        .refused(2, &["at most 10000"]);
}

#[test]
fn a_pattern_purges_all_matches_and_a_star_can_be_literal() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    fill(&proxy, &["/p/1", "/p/2?q", "/p/*", "/p", "/other"]);
    let told = home.run_ok(&["purge", "--exact", "/p/*"]);
    assert!(told.starts_with("1 response purged, "), "{told}");
    assert!(is_hit(&proxy, "/p/1"));
    let told = home.run_json(&["purge", "/p/*", "--json"]);
    assert_eq!(told["answers"], 2);
    assert_eq!(told["paths"], serde_json::json!(["/p/1", "/p/2?q"]));
    assert!(!is_hit(&proxy, "/p/1") && !is_hit(&proxy, "/p/2?q"));
    assert!(is_hit(&proxy, "/p") && is_hit(&proxy, "/other"));
    let told = home.run_json(&["purge", "*", "--json"]);
    assert_eq!(told["answers"], 4);
    assert_eq!(home.run_ok(&["ls"]), "the cache is empty\n");
}

#[test]
fn all_variants_and_identities_of_a_path_are_purged() {
    let origin = Origin::counting("Vary: Accept-Language\r\n");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let requests = [
        "Accept-Language: de\r\n",
        "Accept-Language: fr\r\n",
        "Authorization: a\r\n",
        "Authorization: b\r\n",
    ];
    for fields in requests {
        proxy.get_with("/a", fields);
        assert_eq!(proxy.get_with("/a", fields).x_cache(), "HIT");
    }
    let told = home.run_json(&["purge", "/a", "--json"]);
    assert_eq!(told["answers"], 4);
    for fields in requests {
        assert_eq!(proxy.get_with("/a", fields).x_cache(), "MISS");
    }
}

#[test]
fn responses_to_posts_are_purged_with_their_path() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        "[[rules]]\npath = \"/q\"\nstore_post = \"1KiB\"\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    let post = || {
        let mut client = Client::connect(proxy.port);
        client.send("POST /q HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        client.answer()
    };
    post();
    assert_eq!(post().x_cache(), "HIT");
    let listed = home.run_json(&["ls", "--json"]);
    assert_eq!(listed["entries"][0]["method"], "POST");
    assert_eq!(home.run_json(&["purge", "/q", "--json"])["answers"], 1);
    assert_eq!(post().x_cache(), "MISS");
}

#[test]
fn tags_of_both_headers_are_purged() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target().as_str() {
            "/1" => "Surrogate-Key: products sale\r\n",
            "/2" => "Cache-Tag: sale items,products\r\n",
            "/3" => "Surrogate-Key: product\r\n",
            _ => "",
        };
        exchange.ok(fields, format!("#{}", exchange.nth));
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    fill(&proxy, &["/1", "/2", "/3", "/4"]);
    let told = home.run_json(&["purge", "--tag", "products", "--dry-run", "--json"]);
    assert_eq!(told["paths"], serde_json::json!(["/1", "/2"]));
    assert!(is_hit(&proxy, "/1"));
    let told = home.run_ok(&["purge", "--tag", "sale items", "--tag", "product"]);
    assert!(told.ends_with("\n  /2\n  /3\n"), "{told}");
    assert!(is_hit(&proxy, "/1") && is_hit(&proxy, "/4"));
    proxy.get("/2").expect(200, "MISS", "#1");
    proxy.get("/3").expect(200, "MISS", "#1");
}

#[test]
fn a_softly_purged_response_is_validated_or_replaces_a_failure() {
    let origin = Origin::start(|exchange| {
        let is_asked_about = exchange.request.field("if-none-match").is_some();
        match (exchange.target().as_str(), exchange.nth) {
            ("/valid", _) if is_asked_about => {
                exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n\r\n");
            }
            ("/failing", 1) => exchange.answer("503 Service Unavailable", "", "no"),
            (_, nth) => exchange.ok(
                "ETag: \"v\"\r\nCache-Control: max-age=600\r\n",
                format!("#{nth}"),
            ),
        }
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    fill(&proxy, &["/valid", "/failing"]);
    let told = home.run_ok(&["purge", "--soft", "/*"]);
    assert!(told.starts_with("2 responses marked as stale, "), "{told}");
    let listed = home.run_json(&["ls", "--json"]);
    assert_eq!(listed["entries"][1]["is_stale"], true);
    let validated = proxy.get("/valid");
    validated.expect(200, "HIT", "#0");
    assert_eq!(
        origin.last().field("if-none-match").as_deref(),
        Some("\"v\"")
    );
    // After the validation the response is fresh again.
    let requests = origin.count();
    assert!(is_hit(&proxy, "/valid"));
    assert_eq!(origin.count(), requests);
    proxy.get("/failing").expect(200, "HIT", "#0");
}

#[test]
fn a_rule_applies_to_a_purged_path_as_to_requests() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        "[[rules]]\npath = \"/shop/*\"\nignore_query = [\"utm_*\"]\nsort_query = true\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    fill(&proxy, &["/shop/a?b=1&c=2"]);
    let told = home.run_ok(&["purge", "/shop/a?utm_x=9&c=2&b=1"]);
    assert!(told.ends_with("\n  /shop/a?b=1&c=2\n"), "{told}");
    assert!(!is_hit(&proxy, "/shop/a?b=1&c=2"));
}

/// An origin with the tag `t` on every response. The first one to `/slow` waits at the gate in the middle of its body.
fn slow(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(
        move |exchange| match (exchange.target().as_str(), exchange.nth) {
            ("/slow", 0) => {
                exchange.send("HTTP/1.1 200 OK\r\nCache-Tag: t\r\nContent-Length: 10\r\n\r\nfirst");
                gate.wait();
                exchange.send(" old.");
            }
            (_, nth) => exchange.ok("Cache-Tag: t\r\n", format!("#{nth}")),
        },
    )
}

fn assert_fetch_is_voided(args: &[&str]) {
    let gate = Gate::default();
    let origin = slow(&gate);
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let mut first = Client::connect(proxy.port);
    first.ask("/slow", "").wait_for("first");
    let told = home.run_ok(args);
    // No request joins the fetch now.
    proxy.get("/slow").expect(200, "MISS", "#1");
    gate.open();
    first.answer().expect(200, "MISS", "first old.");
    assert_ne!(proxy.get("/slow").text(), "first old.", "{told}");
    proxy.get("/slow").expect(200, "HIT", "#1");
}

#[test]
fn a_fetch_started_before_a_purge_is_neither_joined_nor_stored() {
    assert_fetch_is_voided(&["purge", "/slow"]);
    assert_fetch_is_voided(&["purge", "/s*"]);
    assert_fetch_is_voided(&["purge", "--tag", "t"]);
    assert_fetch_is_voided(&["purge", "--tag", "t", "--soft"]);
}

#[test]
fn a_fetch_in_progress_with_another_tag_is_stored() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let mut first = Client::connect(proxy.port);
    first.ask("/slow", "").wait_for("first");
    home.run_ok(&["purge", "--tag", "other"]);
    gate.open();
    first.answer().expect(200, "MISS", "first old.");
    proxy.get("/slow").expect(200, "HIT", "first old.");
}

#[test]
fn a_purge_applies_to_every_worker() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--workers", "4"]);
    for (round, args) in [
        &["purge", "/a"][..],
        &["purge", "/*"],
        &["purge", "--soft", "/a"],
    ]
    .into_iter()
    .enumerate()
    {
        // Connections are distributed over the workers.
        for _ in 0..16 {
            proxy.get("/a");
        }
        assert!(is_hit(&proxy, "/a"));
        home.run_ok(args);
        let mut seen = Vec::new();
        for _ in 0..16 {
            seen.push(proxy.get("/a").text());
        }
        let expected = format!("GET /a #{}", round + 1);
        assert!(seen.iter().all(|body| *body == expected), "{seen:?}");
    }
}

#[test]
fn stored_responses_are_listed_with_their_hits() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--workers", "2"]);
    assert_eq!(home.run_ok(&["ls"]), "the cache is empty\n");
    for _ in 0..4 {
        proxy.get("/much?api_key=S3CR3T&a=1");
    }
    proxy.get("/little");
    proxy.get_with("/mine", "Authorization: x\r\n");
    let hits = || home.run_json(&["ls", "/much*", "--json"])["entries"][0]["hits"].clone();
    until("hits are told of", || hits() == 3);
    let told = home.run_ok(&["ls", "--sort", "hits"]);
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("STATUS"), "{told}");
    assert!(lines[1].ends_with("/much?api_key=***&a=1"), "{told}");
    assert!(lines[2].contains(" all  /little"), "{told}");
    assert!(lines[3].contains(" own  /mine"), "{told}");
    assert!(!told.contains("S3CR3T"));
    // A list does not count as a use.
    assert_eq!(hits(), 3);
}

#[test]
fn a_list_is_limited_and_shows_the_number_of_omitted_entries() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for number in 0..7 {
        proxy.get(&format!("/{number}"));
    }
    let listed = home.run(&["ls", "--limit", "3", "--offset", "2"]);
    let paths: Vec<_> = listed
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(paths, ["/2", "/3", "/4"]);
    assert!(
        listed
            .stderr
            .starts_with("2 more; list them with --offset 5"),
        "{listed:?}"
    );
    let listed = home.run_json(&["ls", "--limit", "3", "--json"]);
    assert_eq!((&listed["total"], &listed["more"]), (&7.into(), &4.into()));
    assert_eq!(
        home.run_ok(&["ls", "/x*"]),
        "no cached response matches /x*\n"
    );
}
