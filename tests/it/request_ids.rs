//! `--request-id`, and the headers of traces.

use crate::{client::Client, instance::Home, origin::Origin};

const ON: &[&str] = &["--request-id", "X-Request-Id"];

#[test]
fn a_request_without_an_id_gets_one_that_is_forwarded_logged_and_sent_back() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), ON);
    let mut ids = Vec::new();
    for (index, x_cache) in ["MISS", "HIT", "HIT"].into_iter().enumerate() {
        let response = proxy.get("/a");
        response.expect(200, x_cache, "GET /a #0");
        let id = response.field("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 32, "{id}");
        assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
        if index == 0 {
            assert_eq!(origin.only().field("x-request-id"), Some(id.clone()));
        }
        proxy.log_line(&[x_cache, "GET /a ", &format!("  id {id}")]);
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_clients_own_id_is_kept_unless_it_is_long_or_unprintable() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let args = [ON, &["--log-format", "json"]].concat();
    let proxy = home.start(&origin.url(), &args);
    let long = "x".repeat(129);
    for (sent, is_kept) in [
        ("abc-1_2:3/4", true),
        (&long, false),
        ("a b", false),
        ("\u{e4}", false),
    ] {
        let response = proxy.get_with("/a", &format!("X-Request-ID: {sent}\r\n"));
        let id = response.field("x-request-id").unwrap();
        assert_eq!(id == sent, is_kept, "{id}");
        assert_eq!(origin.last().fields("x-request-id"), [id]);
        proxy.log_line(&[&format!("\"request_id\":\"{id}\"")]);
    }
    let response = proxy.get_with("/a", "X-Request-Id: a\r\nX-Request-Id: b\r\n");
    assert_eq!(response.field("x-request-id").unwrap().len(), 32);
}

#[test]
fn a_request_that_is_refused_for_its_head_gets_an_id() {
    let origin = Origin::counting("");
    let home = Home::new();
    let args = [ON, &["--log-format", "json"]].concat();
    let proxy = home.start(&origin.url(), &args);
    let without = home.start(&origin.url(), &[]);
    for (head, status) in [
        ("GET / HTTP/1.1\r\nX-Request-Id: own\r\n\r\n", 400),
        (
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
            405,
        ),
        (
            "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
            421,
        ),
    ] {
        let mut client = Client::connect(proxy.port);
        client.send(head);
        let response = client.answer();
        assert_eq!(response.status(), status, "{head}");
        let id = response.field("x-request-id").unwrap();
        assert!(id.len() == 32 && !response.text().is_empty(), "{id}");
        let line = proxy.log_line(&[&format!("\"request_id\":\"{id}\"")]);
        let status = format!("\"status\":{status}");
        for part in [&*status, "\"client\":\"127.0.0.1\""] {
            assert!(line.contains(part), "{line}");
        }
        let mut client = Client::connect(without.port);
        client.send(head);
        assert_eq!(client.answer().field("x-request-id"), None);
    }
}

#[test]
fn the_id_is_neither_in_the_key_nor_an_identity() {
    let origin = Origin::counting("X-Session-Request: of the origin\r\n");
    let home = Home::new();
    // A name that counts as a credential.
    let proxy = home.start(&origin.url(), &["--request-id", "X-Session-Request"]);
    proxy
        .get_with("/a", "X-Session-Request: one\r\n")
        .expect(200, "MISS", "GET /a #0");
    let hit = proxy.get_with("/a", "X-Session-Request: two\r\n");
    hit.expect(200, "HIT", "GET /a #0");
    assert_eq!(hit.field("x-session-request"), Some("two"));
    assert_eq!(proxy.get("/a").x_cache(), "HIT");
    // Errors carry it as well.
    let error = proxy.get_with(
        "/b",
        "X-Session-Request: three\r\nCache-Control: only-if-cached\r\n",
    );
    assert_eq!(
        (error.status(), error.field("x-session-request")),
        (504, Some("three"))
    );
}

#[test]
fn a_response_that_varies_by_the_id_is_not_stored() {
    let origin = Origin::counting("Vary: X-Request-Id\r\n");
    let home = Home::new();
    let proxy = home.start(&origin.url(), ON);
    for index in 0..2 {
        let response = proxy.get_with("/a", "X-Request-Id: same\r\n");
        response.expect(200, "MISS", &format!("GET /a #{index}"));
        assert!(
            response
                .field("cache-status")
                .unwrap()
                .contains("vary-star")
        );
    }
    let always = home.start(&origin.url(), &[ON, &["--policy", "always"]].concat());
    assert_eq!(always.get("/b").x_cache(), "MISS");
    assert_eq!(always.get("/b").x_cache(), "HIT");
}

#[test]
fn without_the_option_ids_are_ordinary_headers() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let response = proxy.get_with("/a", "X-Request-Id: mine\r\n");
    assert_eq!(response.field("x-request-id"), None);
    assert_eq!(origin.only().fields("x-request-id"), ["mine"]);
    assert_eq!(proxy.get("/a").x_cache(), "HIT");
}

#[test]
fn the_headers_of_traces_pass_unchanged_and_are_not_in_the_key() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), ON);
    let lines = format!("traceparent: {PARENT}\r\ntracestate: a=1,b=2\r\n");
    proxy
        .get_with("/a", &lines)
        .expect(200, "MISS", "GET /a #0");
    assert_eq!(origin.only().fields("traceparent"), [PARENT]);
    assert_eq!(origin.only().fields("tracestate"), ["a=1,b=2"]);
    let other = lines.replace("b7ad", "c7ad");
    proxy.get_with("/a", &other).expect(200, "HIT", "GET /a #0");
}

#[test]
fn headers_with_a_meaning_of_their_own_are_refused() {
    let home = Home::new();
    for name in [
        "Host",
        "Cookie",
        "Content-Length",
        "If-Match",
        "a b",
        "X-Forwarded-For",
    ] {
        let finished = home.run(&["--origin", "http://127.0.0.1:9", "--request-id", name]);
        finished.refused(2, &["--request-id", name, "X-Request-Id"]);
    }
}
