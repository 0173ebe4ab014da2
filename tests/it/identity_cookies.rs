//! Identity cookies, and the ways in which one user might get the response of another.

use caching_proxy::policy::Mode::{self, Always, Standard, Strict};

use crate::{
    client::Answer,
    harness::TestProxy,
    origin::{Exchange, Gate, Origin, latin1},
};

const ANNA: &str = "Cookie: lang=de; sid=anna; seen=1\r\n";
const BERT: &str = "Cookie: sid=bert; lang=fr\r\n";
/// Cookies that resemble Anna's and are not hers.
const FAKES: [&str; 7] = [
    "Cookie: lang=\"x\r\n",
    "Cookie: xsid=anna\r\n",
    "Cookie: lang=sid=anna\r\n",
    "Cookie: lang=x, sid=anna\r\n",
    "Cookie: sid%3Danna\r\n",
    "Set-Cookie: sid=anna\r\n",
    "X-Cookie: sid=anna\r\n",
];

const NAMED: &str = "identity_cookies = [\"sid\"]\n\
    [[rules]]\npath = \"/q/*\"\nignore_query = [\"user\"]\nsort_query = true\n\
    [[rules]]\npath = \"/search\"\nstore_post = true\n";

/// All cookies that reach the origin.
fn cookies_of(exchange: &Exchange<'_>) -> String {
    exchange.request.fields("cookie").join("; ")
}

/// An origin that responds with the user's cookies, the body of the request and its number.
fn personal(fields: &'static str) -> Origin {
    Origin::start(move |exchange| {
        let body = format!(
            "<{}> {}#{}",
            cookies_of(exchange),
            latin1(&exchange.request.body),
            exchange.nth
        );
        exchange.ok(fields, body);
    })
}

fn start(origin: &Origin) -> TestProxy {
    TestProxy::builder(origin).file(NAMED).start()
}

fn start_in(origin: &Origin, mode: Mode) -> TestProxy {
    TestProxy::builder(origin).file(NAMED).mode(mode).start()
}

/// The headers of all users except Anna.
fn other_users() -> impl Iterator<Item = &'static str> {
    FAKES.into_iter().chain(["", BERT])
}

#[track_caller]
fn assert_nothing_of_anna(answer: &Answer, who: &str) {
    let fields = format!("{:?}", answer.head.fields);
    assert!(
        !answer.text().contains("anna") && !fields.contains("anna"),
        "{who}: {answer:?}"
    );
}

#[test]
fn a_cookie_of_the_dashboard_makes_no_identity_and_does_not_reach_the_origin() {
    let own = "caching-proxy-8001=0123456789abcdef0123456789abcdef";
    for mode in [Standard, Strict, Always] {
        let origin = personal("Cache-Control: max-age=60\r\n");
        let proxy = TestProxy::with_mode(&origin, mode);
        let cookie = format!("Cookie: {own}\r\n");
        proxy.expect_gets("/", &[(&cookie, "MISS", "<> #0"), ("", "HIT", "<> #0")]);
        let both = format!("Cookie: sid=anna; {own}\r\n");
        let posted = proxy.request("POST", "/", &both, b"x");
        assert_eq!(posted.text(), "<sid=anna> x#1");
    }
}

#[test]
fn only_the_named_cookies_make_an_identity_and_reach_the_origin() {
    for mode in [Standard, Always] {
        let origin = personal("");
        let proxy = start_in(&origin, mode);
        proxy.expect_gets(
            "/",
            &[
                (ANNA, "MISS", "<sid=anna> #0"),
                ("Cookie: sid=anna\r\n", "HIT", "<sid=anna> #0"),
                (
                    "Cookie: a=1; sid=anna\r\nCookie: b=2\r\n",
                    "HIT",
                    "<sid=anna> #0",
                ),
                (BERT, "MISS", "<sid=bert> #1"),
                ("Cookie: lang=de\r\n", "MISS", "<> #2"),
                ("Cookie: lang=fr\r\n", "HIT", "<> #2"),
                ("", "HIT", "<> #2"),
            ],
        );
    }
}

#[test]
fn an_ignored_cookie_stays_ignored_if_it_is_an_identity_cookie() {
    let origin = personal("");
    let proxy = TestProxy::builder(&origin)
        .file("identity_cookies = [\"*\"]")
        .start();
    proxy.expect_gets(
        "/",
        &[
            ("Cookie: _ga=1\r\n", "MISS", "<> #0"),
            ("Cookie: _ga=2\r\n", "HIT", "<> #0"),
            ("Cookie: sid=2\r\n", "MISS", "<sid=2> #1"),
        ],
    );
}

#[test]
fn an_empty_list_makes_all_cookies_irrelevant() {
    let origin = personal("");
    let proxy = TestProxy::builder(&origin)
        .file("identity_cookies = []")
        .start();
    proxy.get_with("/", ANNA).expect(200, "MISS", "<> #0");
    proxy.get_with("/", BERT).expect(200, "HIT", "<> #0");
}

#[test]
fn strict_ignores_the_list_of_identity_cookies() {
    let origin = personal("Cache-Control: max-age=60\r\n");
    let proxy = start_in(&origin, Strict);
    let all = "<lang=de; sid=anna; seen=1> #0";
    proxy.get_with("/", ANNA).expect(200, "MISS", all);
    proxy.get_with("/", BERT).expect(200, "HIT", all);
}

#[test]
fn an_irrelevant_set_cookie_does_not_prevent_storing_and_is_not_replayed() {
    let origin = Origin::start(|exchange| {
        let cookie = exchange.target()[1..].to_owned();
        exchange.ok(&format!("Set-Cookie: {cookie}=1; Path=/\r\n"), "body");
    });
    let proxy = start(&origin);
    for (cookie, second) in [
        ("lang", "HIT"),
        ("sid", "MISS"),
        ("SID", "MISS"),
        ("xsid", "HIT"),
    ] {
        let target = format!("/{cookie}");
        assert!(proxy.get(&target).field("set-cookie").is_some());
        let answer = proxy.get(&target);
        assert_eq!(answer.x_cache(), second, "{cookie}");
        assert_eq!(
            answer.field("set-cookie").is_none(),
            second == "HIT",
            "{cookie}"
        );
    }
}

#[test]
fn an_uncacheable_request_is_forwarded_with_all_cookies() {
    let origin = personal("");
    let proxy = start(&origin);
    proxy
        .request("POST", "/", ANNA, b"x")
        .expect(200, "MISS", "<lang=de; sid=anna; seen=1> x#0");
    proxy
        .request("GET", "/", ANNA, b"x")
        .expect(200, "MISS", "<lang=de; sid=anna; seen=1> x#1");
}

#[test]
fn other_identities_get_no_part_headers_or_trace_of_a_stored_response() {
    for (mode, fields) in [
        (Standard, "ETag: \"anna\"\r\n"),
        (Always, "ETag: \"anna\"\r\nCache-Control: no-store\r\n"),
        (Standard, "ETag: \"anna\"\r\nVary: Cookie\r\n"),
        (
            Standard,
            "ETag: \"anna\"\r\nVary: Accept-Language, X-User\r\n",
        ),
        (
            Standard,
            "ETag: \"anna\"\r\nCache-Control: private, max-age=60\r\n",
        ),
    ] {
        let origin = Origin::start(move |exchange| match cookies_of(exchange).as_str() {
            "sid=anna" => exchange.ok(fields, "for anna"),
            _ => exchange.answer("403 Forbidden", "", ""),
        });
        let proxy = start_in(&origin, mode);
        proxy.get_with("/", ANNA).expect(200, "MISS", "for anna");
        proxy.get_with("/", ANNA).expect(200, "HIT", "for anna");
        for who in other_users() {
            for line in [
                "",
                "Range: bytes=0-3\r\n",
                "Range: bytes=0-3\r\nIf-Range: \"anna\"\r\n",
                "If-None-Match: \"anna\"\r\n",
                "If-None-Match: *\r\n",
                "If-Match: \"anna\"\r\n",
                "X-User: anna\r\nAccept-Language: de\r\n",
                "Cache-Control: only-if-cached, max-stale\r\n",
            ] {
                for method in ["GET", "HEAD"] {
                    let answer = proxy.request(method, "/", &format!("{who}{line}"), b"");
                    let status = answer.status();
                    let is_refused = status == 403 || (status == 504 && line.contains("only-if"));
                    assert!(is_refused, "{method} {who}{line}: {status}");
                    assert_nothing_of_anna(&answer, who);
                }
            }
        }
        proxy.get_with("/", ANNA).expect(200, "HIT", "for anna");
    }
}

#[test]
fn other_identities_get_no_stale_response() {
    for fields in [
        "Cache-Control: max-age=1, stale-if-error=999\r\nAge: 9\r\n",
        "Cache-Control: max-age=1, stale-while-revalidate=999\r\nAge: 9\r\n",
        "Cache-Control: max-age=1\r\nAge: 9\r\nETag: \"a\"\r\n",
    ] {
        let origin = Origin::start(move |exchange| match exchange.nth {
            0 => exchange.ok(fields, "for anna"),
            _ => exchange.answer("503 Service Unavailable", "", "down"),
        });
        let proxy = start(&origin);
        proxy.get_with("/", ANNA).expect(200, "MISS", "for anna");
        for who in other_users() {
            proxy.get_with("/", who).expect(503, "MISS", "down");
            let answer = proxy.get_with("/", &format!("{who}Cache-Control: max-stale\r\n"));
            answer.expect(503, "MISS", "down");
        }
        proxy.get_with("/", ANNA).expect(200, "HIT", "for anna");
    }
}

#[test]
fn other_identities_do_not_join_a_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.ok("", format!("<{}>", cookies_of(exchange)));
        }
    });
    let proxy = start(&origin);
    let mut anna = proxy.begin("/", ANNA);
    origin.wait_for(1);
    let mut bert = proxy.begin("/", BERT);
    origin.wait_for(2);
    let mut anonymous = proxy.begin("/", "Cookie: lang=de\r\n");
    origin.wait_for(3);
    let mut anna_too = proxy.begin("/", "Cookie: other=1; sid=anna\r\n");
    let mut second_anonymous = proxy.begin("/", "");
    gate.open();
    assert_eq!(anna.answer().text(), "<sid=anna>");
    assert_eq!(anna_too.answer().text(), "<sid=anna>");
    assert_eq!(bert.answer().text(), "<sid=bert>");
    assert_eq!(anonymous.answer().text(), "<>");
    assert_eq!(second_anonymous.answer().text(), "<>");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_304_to_a_foreign_validator_reveals_no_response() {
    // This origin has one ETag for all users: it responds with 304 to every request with it.
    let origin = Origin::start(|exchange| {
        let tag = exchange.request.field("if-none-match");
        match tag.as_deref() {
            Some("\"same\"") => exchange.answer("304 Not Modified", "ETag: \"same\"\r\n", ""),
            _ => {
                let body = format!("<{}>", cookies_of(exchange));
                exchange.ok(
                    "ETag: \"same\"\r\nCache-Control: max-age=1\r\nAge: 9\r\n",
                    body,
                );
            }
        }
    });
    let proxy = start(&origin);
    proxy.get_with("/", ANNA).expect(200, "MISS", "<sid=anna>");
    for who in other_users() {
        let answer = proxy.get_with("/", &format!("{who}If-None-Match: \"same\"\r\n"));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (304, ""),
            "{who}"
        );
        assert_nothing_of_anna(&proxy.get_with("/", who), who);
    }
    proxy.get_with("/", BERT).expect(200, "HIT", "<sid=bert>");
    proxy.get_with("/", ANNA).expect(200, "HIT", "<sid=anna>");
}

#[test]
fn an_invalidation_by_one_identity_makes_all_identities_fetch_again() {
    let origin = personal("");
    let proxy = start(&origin);
    for (nth, (who, name)) in [(ANNA, "sid=anna"), (BERT, "sid=bert"), ("", "")]
        .into_iter()
        .enumerate()
    {
        proxy
            .get_with("/", who)
            .expect(200, "MISS", &format!("<{name}> #{nth}"));
    }
    proxy.request("PUT", "/", BERT, b"x");
    for (nth, (who, name)) in [(ANNA, "sid=anna"), (BERT, "sid=bert"), ("", "")]
        .into_iter()
        .enumerate()
    {
        proxy
            .get_with("/", who)
            .expect(200, "MISS", &format!("<{name}> #{}", nth + 4));
        proxy
            .get_with("/", who)
            .expect(200, "HIT", &format!("<{name}> #{}", nth + 4));
    }
}

#[test]
fn an_ignored_parameter_makes_no_identity() {
    let origin = personal("");
    let proxy = start(&origin);
    let anna = "<sid=anna> #0";
    proxy
        .get_with("/q/me?user=anna&b&a", ANNA)
        .expect(200, "MISS", anna);
    assert_eq!(origin.last().target(), "/q/me?a&b");
    proxy
        .get_with("/q/me?a&b&user=bert", ANNA)
        .expect(200, "HIT", anna);
    for who in other_users() {
        for query in ["user=anna&b&a", "b&a", "a&b&user=anna&user=bert"] {
            assert_nothing_of_anna(&proxy.get_with(&format!("/q/me?{query}"), who), who);
        }
    }
}

#[test]
fn a_stored_post_belongs_to_its_identity() {
    let origin = personal("");
    let proxy = start(&origin);
    let post = |who: &str, body: &str| proxy.request("POST", "/search", who, body.as_bytes());
    let anna = "<sid=anna> secrets#0";
    post(ANNA, "secrets").expect(200, "MISS", anna);
    post("Cookie: sid=anna; x=1\r\n", "secrets").expect(200, "HIT", anna);
    for who in other_users() {
        assert_nothing_of_anna(&post(who, "secrets"), who);
        assert_nothing_of_anna(&proxy.get_with("/search", who), who);
        assert_nothing_of_anna(&post(&format!("{who}Range: bytes=0-3\r\n"), "secrets"), who);
        assert_nothing_of_anna(&post(&format!("{who}If-None-Match: *\r\n"), "secrets"), who);
    }
    post(ANNA, "secrets").expect(200, "HIT", anna);
}

#[test]
fn a_public_response_is_shared_without_its_set_cookie() {
    let origin = personal("Cache-Control: public, max-age=60\r\nSet-Cookie: sid=anna\r\n");
    let proxy = start(&origin);
    proxy
        .get_with("/", "Cookie: lang=de\r\n")
        .expect(200, "MISS", "<> #0");
    let shared = proxy.get_with("/", BERT);
    shared.expect(200, "HIT", "<> #0");
    assert_eq!(shared.field("set-cookie"), None);
}

#[test]
fn a_post_response_shaped_by_cookies_outside_the_key_is_not_stored_for_gets() {
    let origin = Origin::start(|exchange| {
        let body = format!("<{}> #{}", cookies_of(exchange), exchange.nth);
        exchange.ok(
            "Cache-Control: max-age=60\r\nContent-Location: /a\r\n",
            body,
        );
    });
    let proxy = start(&origin);
    proxy.request("POST", "/a", "Cookie: user=anna\r\n", b"x");
    assert_nothing_of_anna(&proxy.get("/a"), "nobody");
    // Without such cookies, or with cookies in the key, the response is stored for its identity.
    proxy.request("POST", "/a", "Cookie: sid=anna\r\n", b"x");
    assert_eq!(proxy.get("/a").x_cache(), "MISS");
    let own = proxy.get_with("/a", "Cookie: sid=anna\r\n");
    assert_eq!(own.x_cache(), "HIT");
    proxy.request("POST", "/a", "", b"x");
    assert_eq!(proxy.get("/a").x_cache(), "HIT");
}
