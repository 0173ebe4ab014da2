//! `why` and `show` with the real binary.

use serde_json::{Value, json};

use crate::{
    client::Client,
    harness::http_date,
    instance::{Finished, Home, Instance},
    origin::{Gate, Origin},
};

#[track_caller]
fn run(home: &Home, args: &[&str]) -> String {
    let Finished {
        code,
        stdout,
        stderr,
    } = home.run(args);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?} {stdout}");
    stdout
}

#[track_caller]
fn why(home: &Home, args: &[&str]) -> Value {
    let args: Vec<_> = ["why", "--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&run(home, &args)).unwrap()
}

/// The outcome that is told, and its sentence.
#[track_caller]
fn told(home: &Home, args: &[&str]) -> (String, String) {
    let told = why(home, args);
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("outcome"), text("summary"))
}

/// A proxy before an origin that answers with these fields.
fn before(home: &Home, origin: &Origin, file: &str) -> Instance {
    home.write("config/proxy.toml", file);
    home.start(&origin.url(), &[])
}

#[test]
fn a_hit_is_told_with_the_time_left_and_nothing_is_touched() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get("/a");
    let url = format!("http://127.0.0.1:{}/a", proxy.port);
    for path in ["/a", &url] {
        let (outcome, summary) = told(&home, &[path]);
        assert_eq!(outcome, "hit");
        assert!(
            summary.starts_with("Would be answered from the cache (HIT): fresh for another "),
            "{summary}"
        );
    }
    assert_eq!(origin.count(), 1);
    let listed: Value = serde_json::from_str(&run(&home, &["ls", "--json"])).unwrap();
    assert_eq!(listed["entries"][0]["hits"], 0);
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
}

#[test]
fn what_is_said_is_what_happens() {
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
fn nothing_stored_names_the_nearest_key_and_where_it_differs() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get("/products/1?b");
    proxy.get("/zebra");
    let text = run(&home, &["why", "/products/1?B"]);
    assert!(
        text.starts_with("Would be forwarded: nothing is stored for it.\n"),
        "{text}"
    );
    assert!(text.contains("/products/1?b\n"), "{text}");
    assert!(
        text.contains("differs at byte 13: stored \"b\", asked \"B\""),
        "{text}"
    );
    let told = why(&home, &["/products/1", "-H", "Authorization: S3CR3T"]);
    assert_eq!(told["credentials"], json!(["authorization"]));
    assert_eq!(told["nearest"]["differs_at"], 12);
    assert!(!told.to_string().contains("S3CR3T"));
    let told = why(&home, &["/zebra", "-H", "Cookie: sid=1"]);
    assert_eq!(told["partition"], "own");
    assert_eq!(told["nearest"]["differs_at"], Value::Null);
    assert_eq!(told["nearest"]["path"], "/zebra");
}

#[test]
fn a_variant_for_another_request_is_named_by_its_field() {
    let origin = Origin::counting("Vary: Accept-Encoding\r\n");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get_with("/a", "Accept-Encoding: gzip\r\n");
    let text = run(&home, &["why", "/a", "-H", "accept-encoding: br"]);
    assert!(
        text.starts_with("Would be forwarded: it is stored, but for another Accept-Encoding.\n"),
        "{text}"
    );
    assert!(text.contains("(RFC 9111, 4.1)"), "{text}");
    assert!(
        text.contains("stored for \"gzip\", asked with \"br\""),
        "{text}"
    );
}

#[test]
fn why_the_last_answer_was_not_stored_is_told_with_what_would_change_it() {
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
            "remedy": "--policy always keeps it",
        })
    );
    assert_eq!(refusal("/cookie")["name"], "set-cookie");
    assert_eq!(
        refusal("/api/me")["remedy"],
        "policy = \"always\" in the [[rules]] entry for /api/* keeps it"
    );
    let text = run(&home, &["why", "/api/me"]);
    assert!(
        text.contains("strict, under the [[rules]] entry for /api/*"),
        "{text}"
    );
    assert_eq!(refusal("/other"), Value::Null);
}

#[test]
fn a_fetch_that_would_be_joined_is_told_of() {
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
fn methods_and_refusals_are_told() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = before(&home, &origin, "");
    let (outcome, summary) = told(&home, &["/a", "-X", "DELETE"]);
    assert_eq!(
        (outcome.as_str(), summary.as_str()),
        (
            "forward",
            "Would be forwarded: DELETE is not answered from the cache."
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
        .refused(2, &["no method"]);
}

#[test]
fn what_a_rule_takes_out_of_a_query_is_not_looked_for() {
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
fn a_stored_answer_is_shown_with_how_it_was_understood() {
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
    let text = run(&home, &["show", "/a?token=S3CR3T"]);
    for words in [
        "GET /a?token=***\n",
        "status      200\n",
        "accept-language: fr\n",
        "accept-language: de\n",
        "1m: the origin's max-age (RFC 9111, 5.2.2.1)\n",
        "must-revalidate, public, max-age=60\n",
        "never used without validation",
        "tags        a, b\n",
        "body        5 B\n",
        "set-cookie: sid=***\n",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    assert!(
        !text.contains("S3CR3T") && !text.contains(is_control),
        "{text}"
    );
    let shown: Value =
        serde_json::from_str(&run(&home, &["show", "/a?token=S3CR3T", "--json"])).unwrap();
    let answers = shown["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["lifetime_from"], "max-age");
    assert_eq!(answers[0]["stale_since"], Value::Null);
    assert!(answers[0]["age_seconds"].as_u64().unwrap() >= 10);
}

#[test]
fn what_is_stored_for_one_identity_is_shown_as_its_own_and_what_is_stale_since_when() {
    let origin = Origin::counting("Cache-Control: max-age=1\r\nAge: 5\r\n");
    let home = Home::new();
    let proxy = before(&home, &origin, "");
    proxy.get_with("/a", "Authorization: S3CR3T\r\n");
    let text = run(&home, &["show", "/a"]);
    assert!(text.contains("own: those whose credentials"), "{text}");
    assert!(text.contains("stale since "), "{text}");
    assert!(!text.contains("S3CR3T"));
    assert_eq!(
        run(&home, &["show", "/b"]),
        "nothing is stored for /b; `caching-proxy why /b` says why\n"
    );
    home.run(&["show", "b"]).refused(2, &["begins with \"/\""]);
}
