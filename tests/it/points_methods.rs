//! Points 25 and 33: invalidation by unsafe methods, and responses of the proxy itself.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{harness::TestProxy, origin::Origin};

/// An origin that responds to GETs with "#n", and to other methods with `status` and `fields`.
fn changing(status: &'static str, fields: &'static str) -> Origin {
    Origin::start(move |exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok(
            "Cache-Control: max-age=60\r\nVary: X-V\r\n",
            format!("#{}", exchange.nth),
        ),
        "HEAD" | "OPTIONS" | "TRACE" => exchange.ok("", ""),
        _ => {
            let host = exchange.request.field("host").unwrap();
            exchange.answer(status, &fields.replace("{host}", &host), "");
        }
    })
}

#[test]
fn point_25a_which_methods_and_statuses_invalidate_all_variants_of_the_target() {
    let changed = [
        "200", "201", "202", "204", "299", "301", "302", "303", "307", "308", "399",
    ];
    let unchanged = ["400", "404", "409", "412", "499", "500", "503", "599"];
    for status in changed.iter().chain(&unchanged) {
        let origin = changing(status, "");
        let proxy = TestProxy::with_mode(&origin, Strict);
        for variant in ["X-V: 1\r\n", "X-V: 2\r\n", ""] {
            proxy.get_with("/a?b", variant);
            assert_eq!(proxy.get_with("/a?b", variant).x_cache(), "HIT");
        }
        proxy.get("/a");
        proxy.request("POST", "/a?b", "", b"x");
        let expected = if changed.contains(status) {
            "MISS"
        } else {
            "HIT"
        };
        for variant in ["X-V: 1\r\n", "X-V: 2\r\n", ""] {
            assert_eq!(
                proxy.get_with("/a?b", variant).x_cache(),
                expected,
                "{status}"
            );
        }
        assert_eq!(proxy.get("/a").x_cache(), "HIT", "{status}");
    }
    for mode in [Strict, Standard, Always] {
        let origin = changing("200 OK", "");
        let proxy = TestProxy::with_mode(&origin, mode);
        for method in [
            "POST", "PUT", "DELETE", "PATCH", "FOOBAR", "M-SEARCH", "PROPFIND", "QUERY", "post",
            "get",
        ] {
            proxy.get("/");
            assert_eq!(proxy.get("/").x_cache(), "HIT");
            let answer = proxy.request(method, "/", "", b"");
            assert_eq!(
                (answer.status(), answer.x_cache()),
                (200, "MISS"),
                "{method}"
            );
            assert_eq!(origin.last().method(), method);
            assert_eq!(proxy.get("/").x_cache(), "MISS", "{mode:?} {method}");
        }
        for method in ["HEAD", "OPTIONS", "TRACE"] {
            proxy.request(method, "/", "", b"");
            assert_eq!(proxy.get("/").x_cache(), "HIT", "{mode:?} {method}");
        }
    }
}

#[test]
fn point_25b_location_and_content_location_on_the_same_origin_are_invalidated() {
    for (status, fields, expected) in [
        ("201 Created", "Location: /a?b\r\n", "MISS"),
        ("303 See Other", "Location: http://{host}/a?b\r\n", "MISS"),
        ("200 OK", "Content-Location: //{host}/a?b\r\n", "MISS"),
        ("200 OK", "Content-Location: a?b#part\r\n", "MISS"),
        (
            "200 OK",
            "Location: /c\r\nContent-Location: /a?b\r\n",
            "MISS",
        ),
        ("200 OK", "Location: http://other.test/a?b\r\n", "HIT"),
        ("200 OK", "Content-Location: https://{host}/a?b\r\n", "HIT"),
        ("200 OK", "Location: http://{host}1/a?b\r\n", "HIT"),
        ("200 OK", "Location: http://127.0.0.1/a?b\r\n", "HIT"),
        ("200 OK", "Link: </a?b>\r\n", "HIT"),
        ("404 Not Found", "Location: /a?b\r\n", "HIT"),
        ("500 Broken", "Content-Location: /a?b\r\n", "HIT"),
    ] {
        let origin = changing(status, fields);
        let proxy = TestProxy::with_mode(&origin, Strict);
        for variant in ["X-V: 1\r\n", ""] {
            proxy.get_with("/a?b", variant);
        }
        proxy.request("POST", "/new", "", b"x");
        for variant in ["X-V: 1\r\n", ""] {
            assert_eq!(
                proxy.get_with("/a?b", variant).x_cache(),
                expected,
                "{status} {fields}"
            );
        }
    }
}

#[test]
fn point_33_trace_and_options_end_at_zero_and_are_otherwise_decremented() {
    for mode in [Strict, Always] {
        let origin = Origin::counting("");
        let proxy = TestProxy::with_mode(&origin, mode);
        let mut client = proxy.connect();
        for (method, target) in [("TRACE", "/a?b"), ("OPTIONS", "/a?b"), ("OPTIONS", "*")] {
            for zero in ["0", "000"] {
                client.send(format!(
                    "{method} {target} HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\nmax-forwards: {zero}\r\n\r\n"
                ));
                let answer = client.answer_to(method);
                assert_eq!((answer.status(), answer.x_cache()), (200, "MISS"));
                assert_eq!(answer.field("cache-status"), Some("caching-proxy"));
                if method == "TRACE" {
                    assert_eq!(answer.field("content-type"), Some("message/http"));
                    assert!(answer.text().starts_with("TRACE /a?b HTTP/1.1\r\n"));
                    assert!(answer.text().to_lowercase().contains("\r\nx-mine: 1\r\n"));
                } else {
                    assert!(answer.field("allow").is_some());
                }
            }
        }
        assert_eq!(origin.count(), 0);
        for (method, before, after) in [
            ("TRACE", "1", "0"),
            ("OPTIONS", "10", "9"),
            ("OPTIONS", "007", "6"),
            ("GET", "0", "0"),
            ("HEAD", "0", "0"),
            ("POST", "5", "5"),
            ("FOOBAR", "0", "0"),
        ] {
            let fields = format!("Max-Forwards: {before}\r\n");
            let answer = proxy.request(method, &format!("/{method}{before}"), &fields, b"");
            assert_eq!(answer.status(), 200, "{method}");
            let seen = origin.last();
            let sent = match method {
                "HEAD" if mode != Strict => "GET",
                method => method,
            };
            assert_eq!(
                (seen.method().as_str(), seen.fields("max-forwards")),
                (sent, vec![after.into()])
            );
        }
        proxy.request("OPTIONS", "/", "", b"");
        assert!(origin.last().fields("max-forwards").is_empty());
    }
}
