//! `why` and `show` with the real binary.

use serde_json::{Value, json};

use crate::{
    client::Client,
    harness::http_date,
    instance::{Home, Instance},
    origin::{Gate, Origin},
};

#[track_caller]
fn why(home: &Home, args: &[&str]) -> Value {
    let args: Vec<_> = ["why", "--json"].iter().chain(args).copied().collect();
    home.run_json(&args)
}

/// The predicted outcome, and its sentence.
#[track_caller]
fn told(home: &Home, args: &[&str]) -> (String, String) {
    let told = why(home, args);
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("outcome"), text("summary"))
}

/// A proxy for an origin that responds with these headers.
fn before(home: &Home, origin: &Origin, file: &str) -> Instance {
    home.write("config/proxy.toml", file);
    home.start(&origin.url(), &[])
}

#[test]
fn a_hit_is_explained_with_its_remaining_lifetime_and_changes_nothing() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get("/a");
    let url = format!("http://127.0.0.1:{}/a", proxy.port);
    for path in ["/a", &url] {
        let (outcome, summary) = told(&home, &[path]);
        assert_eq!(outcome, "hit");
        assert!(
            summary.starts_with("Would be served from the cache (HIT): fresh for another "),
            "{summary}"
        );
    }
    assert_eq!(origin.count(), 1);
    let listed: Value = home.run_json(&["ls", "--json"]);
    assert_eq!(listed["entries"][0]["hits"], 0);
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
}

#[test]
fn every_explanation_matches_the_outcome_of_the_request() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target().as_str() {
            "/vary" => "Vary: Accept-Language\r\n",
            "/no-cache" => "Cache-Control: no-cache\r\nETag: \"a\"\r\n",
            "/old" => "Cache-Control: max-age=1\r\nAge: 5\r\n",
            "/swr" => "Cache-Control: max-age=1, stale-while-revalidate=600\r\nAge: 5\r\n",
            "/no-store" => "Cache-Control: no-store\r\n",
            _ => "",
        };
        exchange.ok(fields, "x");
    });
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    for target in ["/vary", "/no-cache", "/old", "/swr", "/no-store", "/plain"] {
        proxy.get_with(target, "Accept-Language: de\r\n");
    }
    for (target, field, outcome, x_cache) in [
        ("/plain", "", "hit", "HIT"),
        ("/plain", "Cache-Control: no-cache", "validate", "MISS"),
        ("/plain", "Authorization: me", "forward", "MISS"),
        ("/plain", "If-Match: \"x\"", "forward", "MISS"),
        ("/vary", "Accept-Language: de", "hit", "HIT"),
        ("/vary", "Accept-Language: fr", "forward", "MISS"),
        ("/no-cache", "", "validate", "MISS"),
        ("/old", "", "validate", "MISS"),
        ("/swr", "", "stale-hit", "HIT"),
        ("/no-store", "", "forward", "MISS"),
        ("/other", "Cache-Control: only-if-cached", "refuse", "MISS"),
    ] {
        let args = match field {
            "" => vec![target],
            field => vec![target, "-H", field],
        };
        let said = why(&home, &args);
        assert_eq!(said["outcome"], outcome, "{target} {field}: {said:#}");
        let lines = match field {
            "" => String::new(),
            field => format!("{field}\r\n"),
        };
        let answer = proxy.get_with(target, &lines);
        assert_eq!(answer.x_cache(), x_cache, "{target} {field}");
        if let Some(forward) = said["forward"]["name"].as_str() {
            let status = answer.field("cache-status").unwrap_or_default();
            assert!(
                status.contains(&format!("fwd={forward}")),
                "{target} {field}: {status}"
            );
        }
    }
}

#[test]
fn a_missing_entry_is_explained_by_the_nearest_key_and_its_difference() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get("/products/1?b");
    proxy.get("/zebra");
    let text = home.run_ok(&["why", "/products/1?B"]);
    assert!(
        text.starts_with("Would be forwarded (MISS): nothing is cached for this request.\n"),
        "{text}"
    );
    assert!(text.contains("/products/1?b\n"), "{text}");
    assert!(
        text.contains("differs at byte 13: cached \"b\", request \"B\""),
        "{text}"
    );
    let told = why(&home, &["/products/1", "-H", "Authorization: S3CR3T"]);
    assert_eq!(told["credentials"], json!(["authorization"]));
    assert_eq!(told["nearest"]["differs_at"], 12);
    assert!(!told.to_string().contains("S3CR3T"));
    let told = why(&home, &["/zebra", "-H", "Cookie: sid=1"]);
    assert_eq!(told["partition"], "own");
    assert_eq!(told["credentials"], json!(["cookie sid"]));
    assert_eq!(told["reason"]["name"], "own-partition");
    assert_eq!(
        told["reason"]["remedy"],
        "if it does not change the response, add !sid to identity_cookies"
    );
    assert_eq!(told["nearest"]["differs_at"], Value::Null);
    assert_eq!(told["nearest"]["path"], "/zebra");
}

#[test]
fn another_variant_is_explained_by_the_header_that_differs() {
    let origin = Origin::counting("Vary: Accept-Encoding\r\n");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get_with("/a", "Accept-Encoding: gzip\r\n");
    let text = home.run_ok(&["why", "/a", "-H", "accept-encoding: br"]);
    assert!(
        text.starts_with(
            "Would be forwarded (MISS): a response is cached, but for another Accept-Encoding.\n"
        ),
        "{text}"
    );
    assert!(text.contains("(RFC 9111, 4.1)"), "{text}");
    assert!(
        text.contains("cached for \"gzip\", request has \"br\""),
        "{text}"
    );
}

#[test]
fn a_response_that_was_not_stored_is_explained_with_a_remedy() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target().as_str() {
            "/cookie" => "Set-Cookie: sid=S3CR3T\r\n",
            _ => "Cache-Control: no-store\r\n",
        };
        exchange.ok(fields, "x");
    });
    let home = Home::new();
    let file = "[[rules]]\npath = \"/api/*\"\npolicy = \"strict\"\n";
    let proxy = before(&home, &origin, file);
    for target in ["/me", "/cookie", "/api/me"] {
        proxy.get(target);
    }
    let refusal = |target| why(&home, &[target])["last_refusal"]["cause"].clone();
    assert_eq!(
        refusal("/me"),
        json!({
            "name": "no-store",
            "words": "the origin says no-store",
            "clause": "RFC 9111, 5.2.2.5",
            "remedy": "policy = \"always\" in a [[rules]] entry for /me, or --policy always, caches it",
        })
    );
    assert_eq!(refusal("/cookie")["name"], "set-cookie");
    assert_eq!(
        refusal("/cookie")["remedy"],
        "if the cookie identifies nobody, add !NAME to identity_cookies; the log names it"
    );
    assert_eq!(
        refusal("/api/me")["remedy"],
        "policy = \"always\" in the [[rules]] entry for /api/* caches it"
    );
    let text = home.run_ok(&["why", "/api/me"]);
    assert!(
        text.contains("strict, by the [[rules]] entry for /api/*"),
        "{text}"
    );
    assert_eq!(refusal("/other"), Value::Null);
}

#[test]
fn a_fetch_in_progress_is_mentioned_if_the_request_would_join_it() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            gate.wait();
            exchange.send(" then");
        }
    });
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    let mut client = Client::connect(proxy.port);
    client.ask("/slow", "").wait_for("first");
    let (outcome, _) = told(&home, &["/slow"]);
    assert_eq!(outcome, "join");
    gate.open();
    client.answer();
    assert_eq!(told(&home, &["/slow"]).0, "hit");
}

#[test]
fn uncacheable_methods_and_refused_requests_are_explained() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = before(&home, &origin, "");
    let (outcome, summary) = told(&home, &["/a", "-X", "DELETE"]);
    assert_eq!(
        (outcome.as_str(), summary.as_str()),
        (
            "forward",
            "Would be forwarded (MISS): DELETE is not served from the cache."
        )
    );
    let (outcome, summary) = told(&home, &["/a", "-X", "CONNECT"]);
    assert_eq!(outcome, "refuse");
    assert!(summary.starts_with("Would be refused (405): "), "{summary}");
    assert_eq!(origin.count(), 0);
    home.run(&["why", "a"]).refused(2, &["begins with \"/\""]);
    home.run(&["why", "/a", "-H", "x"])
        .refused(2, &["'Accept: text/html'"]);
    home.run(&["why", "/a", "-X", "G T"])
        .refused(2, &["is not a method"]);
    home.run(&["why", "/a", "-X", ""])
        .refused(2, &["\"\" is not a method: a method is a word such as GET"]);
    for field in [
        "Accept: a\nX: b",
        "Accept: a\r\n",
        "\nAccept: a",
        "Accept: \u{1b}[2J",
    ] {
        home.run(&["why", "/a", "-H", field]).refused(
            2,
            &["line end or another control character", "a -H of its own"],
        );
    }
    let long = format!("Accept {}", "x".repeat(5000));
    let refused = home.run(&["why", "/a", "-H", &long]);
    refused.refused(2, &["...\" is not a header: write it as"]);
    assert!(refused.stderr.len() < 400, "{refused:?}");
    assert_eq!(told(&home, &["/a", "-H", "X-Name: \u{e4}"]).0, "forward");
}

#[test]
fn a_known_refusal_is_explained_without_the_nearest_key() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/products/12" => exchange.ok("Cache-Control: no-store\r\n", "x"),
        _ => exchange.ok("", "x"),
    });
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get("/products/1");
    assert_eq!(
        why(&home, &["/products/12"])["nearest"]["path"],
        "/products/1"
    );
    proxy.get("/products/12");
    let told = why(&home, &["/products/12"]);
    assert_eq!(told["last_refusal"]["cause"]["name"], "no-store");
    assert_eq!(told["nearest"], Value::Null);
}

#[test]
fn the_response_to_expect_from_a_failing_origin_is_explained() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/must" => exchange.ok(
            "Cache-Control: max-age=1, must-revalidate\r\nAge: 5\r\nETag: \"a\"\r\n",
            "x",
        ),
        _ => exchange.ok("Cache-Control: max-age=1\r\nAge: 5\r\nETag: \"a\"\r\n", "x"),
    });
    let home = Home::new();
    let mut origin = origin;
    let proxy = before(&home, &origin, "");
    for target in ["/old", "/must"] {
        proxy.get(target).expect(200, "MISS", "x");
    }
    assert_eq!(why(&home, &["/other"])["if_origin_fails"], Value::Null);
    let fallback = |args: &[&str]| why(&home, args)["if_origin_fails"].clone();
    assert_eq!(
        fallback(&["/old"]),
        json!({ "is_served": true, "cause": null })
    );
    let forbidden = |args: &[&str]| {
        let fallback = fallback(args);
        assert_eq!(fallback["is_served"], false, "{args:?}");
        fallback["cause"]["name"].clone()
    };
    assert_eq!(forbidden(&["/must"]), "must-revalidate");
    let no_cache = ["/old", "-H", "Cache-Control: no-cache"];
    assert_eq!(forbidden(&no_cache), "client-no-cache");
    let text = home.run_ok(&["why", "/old"]);
    assert!(
        text.contains("on failure  if the origin fails, the cached response is served"),
        "{text}"
    );
    let text = home.run_ok(&["why", "/must"]);
    assert!(
        text.contains(
            "on failure  if the origin fails, the cached response is not served: must-revalidate"
        ),
        "{text}"
    );
    // The request has the predicted outcome.
    origin.stop();
    proxy.get("/old").expect(200, "HIT", "x");
    assert_eq!(proxy.get("/must").status(), 504);
    let field = "Cache-Control: no-cache\r\n";
    assert_eq!(proxy.get_with("/old", field).status(), 504);
}

#[test]
fn the_explanation_of_a_cached_post_depends_on_its_body() {
    let origin = Origin::counting("");
    let home = Home::new();
    let file = "[[rules]]\npath = \"/search\"\nstore_post = true\n";
    let proxy = before(&home, &origin, file);
    proxy.get("/search");
    let said = why(&home, &["/search", "-X", "POST"]);
    assert_eq!(said["outcome"], "depends");
    assert_eq!(
        said["summary"],
        "Depends on the request body: responses to POST requests for this path are cached by body."
    );
    assert_eq!(
        said["notes"],
        json!([
            "the request body is part of the cache key, and it is not known here",
            "bodies that may change something, that cannot be read, or that are too large are forwarded: the detail of \
             Cache-Status and the log say why"
        ])
    );
    for name in ["forward", "nearest", "last_refusal"] {
        assert_eq!(said[name], Value::Null, "{name}");
    }
    let large = ["/search", "-X", "POST", "-H", "Content-Length: 100000"];
    let reason = &why(&home, &large)["reason"];
    assert_eq!(reason["name"], "large-body");
    assert_eq!(
        reason["remedy"],
        "raise store_post in the [[rules]] entry for /search, to at most 1MiB"
    );
    assert_eq!(said["stored"], 0);
    assert_eq!(told(&home, &["/other", "-X", "POST"]).0, "forward");
}

#[test]
fn parameters_ignored_by_a_rule_are_not_looked_up() {
    let origin = Origin::counting("");
    let home = Home::new();
    let file = "[[rules]]\npath = \"/shop/*\"\nignore_query = [\"utm_*\"]\n";
    let proxy = before(&home, &origin, file);
    proxy.get("/shop/a");
    let told = why(&home, &["/shop/a?utm_source=x"]);
    assert_eq!(
        (&told["outcome"], &told["path"]),
        (&json!("hit"), &json!("/shop/a"))
    );
    assert_eq!(told["rule"], "/shop/*");
}

#[test]
fn a_stored_response_is_shown_with_its_interpretation() {
    let date = http_date(-10);
    let origin = Origin::start(move |exchange| {
        let fields = format!(
            "Cache-Control: public, max-age=60, must-revalidate\r\nDate: {date}\r\nVary: Accept-Language\r\n\
             Cache-Tag: a,b\r\nX-Evil: \x1b[2J\r\nSet-Cookie: sid=S3CR3T; Path=/\r\n"
        );
        exchange.ok(&fields.replace('\x1b', "\u{9b}"), "hello");
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--policy", "strict"]);
    proxy.get_with("/a?token=S3CR3T", "Accept-Language: de\r\n");
    proxy.get_with("/a?token=S3CR3T", "Accept-Language: fr\r\n");
    let text = home.run_ok(&["show", "/a?token=S3CR3T"]);
    for words in [
        "GET /a?token=***\n",
        "status      200\n",
        "accept-language: fr\n",
        "accept-language: de\n",
        "1m: the origin's max-age (RFC 9111, 5.2.2.1)\n",
        "must-revalidate, public, max-age=60\n",
        "never served without validation",
        "tags        a, b\n",
        "body        5 B\n",
        "Set-Cookie: sid=***\n",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    assert!(
        !text.contains("S3CR3T") && !text.contains(is_control),
        "{text}"
    );
    let shown: Value = home.run_json(&["show", "/a?token=S3CR3T", "--json"]);
    let answers = shown["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["lifetime_from"], "max-age");
    assert_eq!(answers[0]["stale_since"], Value::Null);
    assert!(answers[0]["age_seconds"].as_u64().unwrap() >= 10);
}

#[test]
fn identities_are_numbered_without_revealing_credentials() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/me" => exchange.ok("Vary: Accept\r\n", "x"),
        _ => exchange.ok("", "x"),
    });
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get("/me");
    for (user, accept) in [("S3CR3T1", "a"), ("S3CR3T1", "b"), ("S3CR3T2", "a")] {
        let fields = format!("Authorization: {user}\r\nAccept: {accept}\r\n");
        proxy.get_with("/me", &fields).expect(200, "MISS", "x");
    }
    let shown: Value = home.run_json(&["show", "/me", "--json"]);
    assert_eq!(shown["identities"], 2);
    let answers = shown["answers"].as_array().unwrap();
    let count = |audience: &str, identity: Value| {
        let is_it =
            |answer: &&Value| answer["audience"] == audience && answer["identity"] == identity;
        answers.iter().filter(is_it).count()
    };
    assert_eq!(count("no-credentials", Value::Null), 1);
    let mut counts = [count("own", json!(1)), count("own", json!(2))];
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
    let text = home.run_ok(&["show", "/me"]);
    for number in [1, 2] {
        assert!(
            text.contains(&format!("(identity {number} of 2)")),
            "{text}"
        );
    }
    assert!(!text.contains("S3CR3T") && !shown.to_string().contains("S3CR3T"));
}

#[test]
fn a_response_for_one_identity_and_a_stale_one_are_marked() {
    let origin = Origin::counting("Cache-Control: max-age=1\r\nAge: 5\r\n");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get_with("/a", "Authorization: S3CR3T\r\n");
    let text = home.run_ok(&["show", "/a"]);
    assert!(
        text.contains("one user: requests with the same credentials"),
        "{text}"
    );
    assert!(text.contains("stale since "), "{text}");
    assert!(!text.contains("S3CR3T"));
    assert_eq!(
        home.run_ok(&["show", "/b"]),
        "nothing is cached for /b; to find out why: caching-proxy why /b\n"
    );
    home.run(&["show", "b"]).refused(2, &["begins with \"/\""]);
}
