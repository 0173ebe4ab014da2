//! Cacheable POSTs: looked up, coalesced and stored by their bodies if a rule allows it.

use caching_proxy::policy::Mode;

use crate::{
    client::{Answer, Ending},
    harness::TestProxy,
    origin::{Exchange, Gate, Origin, latin1},
};

const SEARCH: &str = "[[rules]]\npath = \"/search\"\nstore_post = true\n";
const JSON: &str = "Content-Type: application/json\r\n";

/// An origin that responds with the request and the number of requests for the target.
fn echo(exchange: &mut Exchange<'_>, fields: &str) {
    let body = format!("{} #{}", latin1(&exchange.request.body), exchange.nth);
    exchange.ok(fields, body);
}

fn echoing(fields: &'static str) -> Origin {
    Origin::start(move |exchange| echo(exchange, fields))
}

fn start(origin: &Origin) -> TestProxy {
    TestProxy::builder(origin).file(SEARCH).start()
}

fn post(proxy: &TestProxy, fields: &str, body: &str) -> Answer {
    proxy.request("POST", "/search", fields, body.as_bytes())
}

#[test]
fn the_same_body_is_forwarded_once() {
    let origin = echoing("");
    let proxy = start(&origin);
    post(&proxy, JSON, "{\"a\":1}").expect(200, "MISS", "{\"a\":1} #0");
    post(&proxy, JSON, "{\"a\":1}").expect(200, "HIT", "{\"a\":1} #0");
    post(&proxy, JSON, "{\"a\":2}").expect(200, "MISS", "{\"a\":2} #1");
    post(&proxy, JSON, "").expect(200, "MISS", " #2");
    post(&proxy, JSON, "").expect(200, "HIT", " #2");
    // GET and HEAD of the same target have another key.
    proxy.get("/search").expect(200, "MISS", " #3");
    proxy.get("/search").expect(200, "HIT", " #3");
    post(&proxy, JSON, "").expect(200, "HIT", " #2");
    assert_eq!(origin.count(), 4);
}

#[test]
fn spellings_of_the_same_json_share_a_response_and_are_forwarded_unchanged() {
    let origin = echoing("");
    let proxy = start(&origin);
    let written = "{ \"b\": \"\\u0078\",\r\n \"a\": 1.0 }";
    post(&proxy, JSON, written).expect(200, "MISS", &format!("{written} #0"));
    assert_eq!(latin1(&origin.only().body), written);
    assert_eq!(
        origin.only().field("content-length"),
        Some(written.len().to_string())
    );
    for body in ["{\"a\":1.0,\"b\":\"x\"}", " {\"b\":\"x\" ,\"a\":1.0}\n"] {
        assert_eq!(post(&proxy, JSON, body).x_cache(), "HIT", "{body}");
    }
}

#[test]
fn bodies_that_an_origin_can_distinguish_never_share_a_response() {
    let origin = echoing("");
    let proxy = start(&origin);
    let text = "Content-Type: text/plain\r\n";
    for (fields, body) in [
        (JSON, "{\"a\":1}"),
        (JSON, "{\"a\":1.0}"),
        (JSON, "{\"a\":1e0}"),
        (JSON, "{\"a\":\"1\"}"),
        (JSON, "{\"a\":1,\"a\":2}"),
        (JSON, "{\"a\":2,\"a\":1}"),
        (JSON, "\"a\":1,"),
        (JSON, "{\"a\":[1,2]}"),
        (JSON, "{\"a\":[2,1]}"),
        (text, "{\"a\":1}"),
        (text, "{ \"a\":1}"),
        ("", "{\"a\":1}"),
        (
            "Content-Type: application/json; charset=utf-8\r\n",
            "{\"a\":1}",
        ),
        ("Content-Type: application/json; v=2\r\n", "{\"a\":1}"),
        (
            "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
            "{\"a\":1}",
        ),
        (
            "Content-Type: application/json\r\nContent-Language: de\r\n",
            "{\"a\":1}",
        ),
        // The header does not reach the origin, so it is not in the key.
        (
            "Content-Type: application/json\r\nConnection: content-type\r\n",
            "{ \"a\":1}",
        ),
    ] {
        let own = post(&proxy, fields, body);
        let expected = format!("{body} #{}", origin.count() - 1);
        own.expect(200, "MISS", &expected);
        post(&proxy, fields, body).expect(200, "HIT", &expected);
    }
}

#[test]
fn a_chunked_body_has_the_same_key() {
    let origin = echoing("");
    let proxy = start(&origin);
    post(&proxy, JSON, "[1,2]").expect(200, "MISS", "[1,2] #0");
    let mut client = proxy.connect();
    client.send(
        "POST /search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n\
         2\r\n[1\r\n4\r\n , 2\r\n1\r\n]\r\n0\r\n\r\n",
    );
    client.answer_to("POST").expect(200, "HIT", "[1,2] #0");
}

#[test]
fn a_body_over_the_limit_is_forwarded_whole_as_an_ordinary_post() {
    let origin = echoing("");
    let proxy = TestProxy::builder(&origin)
        .file("[[rules]]\npath = \"/search\"\nstore_post = \"8B\"\n")
        .start();
    post(&proxy, "", "12345678").expect(200, "MISS", "12345678 #0");
    post(&proxy, "", "12345678").expect(200, "HIT", "12345678 #0");
    post(&proxy, "", "123456789").expect(200, "MISS", "123456789 #1");
    // The request may have changed something.
    post(&proxy, "", "12345678").expect(200, "MISS", "12345678 #2");
    let mut client = proxy.connect();
    client.send(
        "POST /search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
    );
    client.send("5\r\n56789\r\n3\r\nabc\r\n0\r\n\r\n");
    client
        .answer_to("POST")
        .expect(200, "MISS", "123456789abc #3");
    assert_eq!(
        origin.last().field("transfer-encoding").as_deref(),
        Some("chunked")
    );
    let large = "x".repeat(300_000);
    post(&proxy, "", &large).expect(200, "MISS", &format!("{large} #4"));
    post(&proxy, "", &large).expect(200, "MISS", &format!("{large} #5"));
}

#[test]
fn a_post_without_a_rule_is_forwarded_and_invalidates() {
    let origin = echoing("");
    let proxy = start(&origin);
    for nth in 0..2 {
        let answer = proxy.request("POST", "/other", JSON, b"{}");
        answer.expect(200, "MISS", &format!("{{}} #{nth}"));
        assert_eq!(
            answer
                .field("cache-status")
                .map(|status| status.contains("fwd=method")),
            Some(true)
        );
    }
}

#[test]
fn a_cacheable_post_invalidates_nothing() {
    let origin = echoing("");
    let proxy = start(&origin);
    proxy.get("/search").expect(200, "MISS", " #0");
    post(&proxy, JSON, "[1]").expect(200, "MISS", "[1] #1");
    post(&proxy, JSON, "[2]").expect(200, "MISS", "[2] #2");
    proxy.get("/search").expect(200, "HIT", " #0");
    // A POST that is not stored because of its conditions does not invalidate either.
    post(&proxy, "If-Match: \"a\"\r\n", "[2]").expect(200, "MISS", "[2] #3");
    proxy.get("/search").expect(200, "HIT", " #0");
    post(&proxy, JSON, "[1]").expect(200, "HIT", "[1] #1");
}

#[test]
fn an_unsafe_request_invalidates_the_responses_to_every_body() {
    for method in ["PUT", "DELETE", "PATCH"] {
        let origin = echoing("");
        let proxy = start(&origin);
        for (nth, body) in ["[1]", "[2]"].iter().enumerate() {
            post(&proxy, JSON, body).expect(200, "MISS", &format!("{body} #{nth}"));
        }
        proxy.request(method, "/search", "", b"x");
        for (nth, body) in ["[1]", "[2]"].iter().enumerate() {
            post(&proxy, JSON, body).expect(200, "MISS", &format!("{body} #{}", nth + 3));
        }
    }
}

#[test]
fn an_invalidation_voids_a_fetch_in_progress() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.request.method() == "POST" && exchange.nth == 0 {
                gate.wait();
            }
            echo(exchange, "");
        }
    });
    let proxy = start(&origin);
    let mut client = proxy.connect();
    client.send("POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    origin.wait_for(1);
    proxy.request("PUT", "/search", "", b"x");
    gate.open();
    client.answer_to("POST").expect(200, "MISS", "1 #0");
    post(&proxy, "", "1").expect(200, "MISS", "1 #2");
}

#[test]
fn only_posts_with_the_same_body_share_a_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            echo(exchange, "");
        }
    });
    let proxy = start(&origin);
    let begin = |body: &str| {
        let mut client = proxy.connect();
        client.send(format!(
            "POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{JSON}\r\n{body}",
            body.len()
        ));
        client
    };
    let mut one = begin("[1]");
    origin.wait_for(1);
    let mut other = begin("[2]");
    origin.wait_for(2);
    let mut same = begin("[ 1 ]");
    gate.open();
    one.answer_to("POST").expect(200, "MISS", "[1] #0");
    other.answer_to("POST").expect(200, "MISS", "[2] #1");
    assert_eq!(same.answer_to("POST").text(), "[1] #0");
    assert_eq!(origin.count(), 2);
}

#[test]
fn posts_with_conditions_or_ranges_go_to_the_origin() {
    let origin = echoing("ETag: \"a\"\r\nLast-Modified: Mon, 23 Nov 2026 03:20:00 GMT\r\n");
    let proxy = start(&origin);
    post(&proxy, JSON, "[1]").expect(200, "MISS", "[1] #0");
    for (nth, line) in [
        "If-None-Match: \"a\"",
        "If-Match: \"b\"",
        "If-Modified-Since: Mon, 23 Nov 2026 03:20:00 GMT",
        "If-Unmodified-Since: Mon, 23 Nov 2026 03:20:00 GMT",
        "Range: bytes=0-0",
        "If-Range: \"a\"",
    ]
    .iter()
    .enumerate()
    {
        let answer = post(&proxy, &format!("{JSON}{line}\r\n"), "[1]");
        answer.expect(200, "MISS", &format!("[1] #{}", nth + 1));
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(origin.last().field(name).as_deref(), Some(value));
    }
    post(&proxy, JSON, "[1]").expect(200, "HIT", "[1] #0");
}

#[test]
fn a_stale_post_response_is_fetched_without_conditions_and_replaces_a_failure() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => echo(
            exchange,
            "Cache-Control: max-age=1\r\nAge: 9\r\nETag: \"a\"\r\n",
        ),
        1 => exchange.answer("503 Service Unavailable", "", "down"),
        2 => exchange.answer("304 Not Modified", "ETag: \"a\"\r\n", ""),
        _ => echo(exchange, "Cache-Control: max-age=60\r\n"),
    });
    let proxy = start(&origin);
    post(&proxy, JSON, "[1]").expect(200, "MISS", "[1] #0");
    post(&proxy, JSON, "[1]").expect(200, "HIT", "[1] #0");
    assert_eq!(post(&proxy, JSON, "[1]").status(), 502);
    post(&proxy, JSON, "[1]").expect(200, "MISS", "[1] #3");
    post(&proxy, JSON, "[1]").expect(200, "HIT", "[1] #3");
    for seen in origin.seen() {
        assert_eq!(
            (seen.field("if-none-match"), seen.body),
            (None, b"[1]".to_vec())
        );
    }
}

#[test]
fn stale_while_revalidate_sends_the_same_body() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => echo(
            exchange,
            "Cache-Control: max-age=1, stale-while-revalidate=99\r\nAge: 9\r\n",
        ),
        _ => echo(exchange, "Cache-Control: max-age=60\r\n"),
    });
    let proxy = start(&origin);
    post(&proxy, JSON, "[1]");
    post(&proxy, JSON, "[1]").expect(200, "HIT", "[1] #0");
    origin.wait_for(2);
    crate::harness::until("the new answer is stored", || {
        post(&proxy, JSON, "[1]").text() == "[1] #1"
    });
    assert_eq!(origin.last().body, b"[1]");
}

#[test]
fn mutations_are_never_stored_and_invalidate() {
    let origin = echoing("");
    let proxy = start(&origin);
    let query = "{\"query\":\"{ a }\"}";
    for change in [
        "{\"query\":\"mutation { a }\"}",
        "{\"query\":\"\\u006dutation { a }\"}",
        "[{\"query\":\"{ a }\"},{\"query\":\"subscription { a }\"}]",
        "{\"query\":\"{ a }\",\"query\":\"mutation { a }\"}",
        "{\"operationName\":\"A\",\"query\":\"query A { a } mutation B { b }\"}",
    ] {
        assert_eq!(post(&proxy, JSON, query).x_cache(), "MISS");
        assert_eq!(post(&proxy, JSON, query).x_cache(), "HIT");
        for _ in 0..2 {
            let nth = origin.count();
            post(&proxy, JSON, change).expect(200, "MISS", &format!("{change} #{nth}"));
        }
    }
    let text = "Content-Type: application/graphql\r\n";
    post(&proxy, text, "mutation { a }");
    assert_eq!(post(&proxy, text, "mutation { a }").x_cache(), "MISS");
    post(&proxy, text, "{ mutation }");
    assert_eq!(post(&proxy, text, "{ mutation }").x_cache(), "HIT");
    // A body with a content coding cannot be parsed.
    let coded = format!("{JSON}Content-Encoding: gzip\r\n");
    post(&proxy, &coded, "xyz");
    assert_eq!(post(&proxy, &coded, "xyz").x_cache(), "MISS");
}

#[test]
fn ignored_cookies_are_removed_from_a_cacheable_post_and_forwarded_with_others() {
    let origin = echoing("");
    let proxy = start(&origin);
    post(&proxy, "Cookie: _ga=1\r\n", "1").expect(200, "MISS", "1 #0");
    assert_eq!(origin.last().field("cookie"), None);
    post(&proxy, "Cookie: _ga=2\r\n", "1").expect(200, "HIT", "1 #0");
    post(
        &proxy,
        "Cookie: _ga=1; a=1\r\n",
        "{\"query\":\"mutation{a}\"}",
    );
    assert_eq!(origin.last().field("cookie").as_deref(), Some("_ga=1; a=1"));
}

#[test]
fn a_truncated_request_body_is_not_forwarded() {
    let origin = echoing("");
    let proxy = TestProxy::builder(&origin)
        .file(SEARCH)
        .with(|config| config.client_timeout = std::time::Duration::from_millis(200))
        .start();
    for (rest, status) in [
        ("Content-Length: 9\r\n\r\n1234", 408),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n", 408),
    ] {
        let mut client = proxy.connect();
        client.send(format!("POST /search HTTP/1.1\r\nHost: a\r\n{rest}"));
        let answer = client.answer_to("POST");
        assert_eq!(
            (answer.status(), answer.ending),
            (status, Ending::Whole),
            "{rest}"
        );
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn two_requests_on_one_connection_keep_their_own_bodies() {
    let origin = echoing("");
    let proxy = start(&origin);
    let mut client = proxy.connect();
    let request = |body: &str| {
        format!(
            "POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (body, expected) in [("one", "one #0"), ("two", "two #1"), ("one", "one #0")] {
        client.send(request(body));
        assert_eq!(client.answer_to("POST").text(), expected);
    }
}

#[test]
fn invalid_chunks_get_400_as_without_a_rule() {
    let origin = echoing("");
    let proxy = start(&origin);
    for target in ["/search", "/other"] {
        let mut client = proxy.connect();
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\nnonsense\r\n"
        ));
        assert_eq!(client.answer_to("POST").status(), 400, "{target}");
        assert!(client.is_closed(), "{target}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn persisted_queries_are_forwarded_unless_the_rule_says_that_they_only_read() {
    let persisted = r#"{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}"#;
    for body in [persisted, r#"{"documentId":"x"}"#, r#"{"id":"x"}"#] {
        let origin = echoing("");
        let proxy = start(&origin);
        proxy.get("/search").expect(200, "MISS", " #0");
        post(&proxy, JSON, body).expect(200, "MISS", &format!("{body} #1"));
        post(&proxy, JSON, body).expect(200, "MISS", &format!("{body} #2"));
        // It may have changed something.
        proxy.get("/search").expect(200, "MISS", " #3");

        let origin = echoing("");
        let file =
            "[[rules]]\npath = \"*\"\nstore_post = true\npersisted_queries = \"read-only\"\n";
        let proxy = TestProxy::builder(&origin).file(file).start();
        post(&proxy, JSON, body).expect(200, "MISS", &format!("{body} #0"));
        post(&proxy, JSON, body).expect(200, "HIT", &format!("{body} #0"));
    }
}

#[test]
fn a_document_that_cannot_be_read_to_its_end_is_never_stored() {
    for document in [
        "{ a { b }",
        "{ a(b: \\\"x) } mutation { c }",
        "{ a } } mutation { c }",
    ] {
        let origin = echoing("");
        let proxy = start(&origin);
        let body = format!("{{\"query\":\"{document}\"}}");
        for nth in 0..2 {
            let expected = format!("{body} #{nth}");
            post(&proxy, JSON, &body).expect(200, "MISS", &expected);
        }
    }
}

#[test]
fn a_response_with_graphql_errors_is_not_stored() {
    let origin = Origin::start(|exchange| {
        let asked = latin1(&exchange.request.body);
        let coded = exchange.request.field("accept-encoding").as_deref() != Some("identity");
        let fields = match coded {
            true => "Content-Encoding: gzip\r\nCache-Control: max-age=60\r\n",
            false => "Cache-Control: max-age=60\r\n",
        };
        let body = match asked.contains("fail") {
            true => "{\"data\":null,\"errors\":[{\"message\":\"busy\"}]}".to_owned(),
            false => format!("{{\"data\":{{\"errors\":[{}]}}}}", exchange.nth),
        };
        match asked.contains("slow") {
            false => exchange.ok(fields, body),
            true => {
                exchange.send(format!(
                    "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
                ));
                for byte in body.bytes() {
                    exchange.chunk([byte]);
                }
                exchange.send("0\r\n\r\n");
            }
        }
    });
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        let proxy = TestProxy::builder(&origin)
            .file("[[rules]]\npath = \"*\"\nstore_post = true\n")
            .mode(mode)
            .start();
        let fields = format!("{JSON}Accept-Encoding: gzip, br\r\n");
        let outcome = |body: &str| post(&proxy, &fields, body).x_cache().to_owned();
        for body in ["{\"query\":\"{ fail }\"}", "{\"query\":\"{ fail slow }\"}"] {
            assert_eq!([outcome(body), outcome(body)], ["MISS", "MISS"], "{body}");
        }
        for body in ["{\"query\":\"{ fine }\"}", "{\"query\":\"{ fine slow }\"}"] {
            assert_eq!([outcome(body), outcome(body)], ["MISS", "HIT"], "{body}");
        }
        // Without GraphQL, `errors` means nothing.
        let search = "{\"search\":\"fail\"}";
        assert_eq!([outcome(search), outcome(search)], ["MISS", "HIT"]);
    }
}

#[test]
fn a_post_that_is_forwarded_under_store_post_says_why() {
    let origin = echoing("");
    let file = "[[rules]]\npath = \"/small\"\nstore_post = 8\n[[rules]]\npath = \"*\"\nstore_post = true\n";
    let proxy = TestProxy::builder(&origin).file(file).start();
    let mutation = r#"{"query":"mutation { a }"}"#;
    let graphql = "Content-Type: application/graphql\r\n";
    for (target, fields, body, reason) in [
        ("/a", JSON, mutation, "graphql-mutation"),
        ("/a", graphql, "subscription { a }", "graphql-mutation"),
        ("/a", "", "query=mutation", "graphql-mutation"),
        ("/a", JSON, r#"{"id":"x"}"#, "persisted-query"),
        ("/a", "", "documentId=x", "persisted-query"),
        ("/a", JSON, r#"{"query":"{ a { b }"}"#, "unreadable-body"),
        ("/a", graphql, "{ a", "unreadable-body"),
        ("/a", JSON, "{\"a\":1,}", "unreadable-body"),
        (
            "/a",
            "Content-Type: text/plain; charset=utf-16\r\n",
            "a",
            "unreadable-body",
        ),
        ("/a", "Content-Encoding: gzip\r\n", "a", "encoded-body"),
        ("/small", JSON, "{\"a\":1234}", "large-body"),
        (
            "/a",
            "X-HTTP-Method-Override: PUT\r\n",
            "{}",
            "method-override",
        ),
    ] {
        let answer = proxy.request("POST", target, fields, body.as_bytes());
        assert_eq!(
            answer.field("cache-status").unwrap(),
            format!("caching-proxy; fwd=method; fwd-status=200; detail={reason}"),
            "{body}"
        );
    }
    let mut client = proxy.connect();
    client.send("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n");
    let answer = client.answer_to("POST");
    let status = answer.field("cache-status").unwrap();
    assert!(status.ends_with("; detail=large-body"), "{status}");
    // A rule that does not cache POSTs has nothing to say about one.
    let proxy = TestProxy::to(&origin);
    let answer = post(&proxy, JSON, mutation);
    let status = answer.field("cache-status").unwrap();
    assert_eq!(status, "caching-proxy; fwd=method; fwd-status=200");
}
