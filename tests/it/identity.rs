//! A response for one identity is never served to another.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
};

const ANNA: &str = "Authorization: Bearer anna\r\n";
const BERT: &str = "Authorization: Bearer bert\r\n";

/// The user that the credentials of the request name.
fn user_of(exchange: &Exchange<'_>) -> String {
    let names = [
        "authorization",
        "cookie",
        "x-api-key",
        "x-auth-user",
        "x-csrf-token",
        "apikey",
    ];
    let values = names.iter().filter_map(|name| exchange.request.field(name));
    values.collect::<Vec<_>>().join("|")
}

/// An origin that responds with the name of the user and the number of the request.
fn personal(fields: &'static str) -> Origin {
    Origin::start(move |exchange| {
        exchange.ok(
            fields,
            format!("for <{}> #{}", user_of(exchange), exchange.nth),
        )
    })
}

#[test]
fn each_identity_has_its_own_partition() {
    for mode in [Standard, Always] {
        let origin = personal("");
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy.expect_gets(
            "/me",
            &[
                (ANNA, "MISS", "for <Bearer anna> #0"),
                (BERT, "MISS", "for <Bearer bert> #1"),
                ("", "MISS", "for <> #2"),
                (ANNA, "HIT", "for <Bearer anna> #0"),
                (BERT, "HIT", "for <Bearer bert> #1"),
                ("", "HIT", "for <> #2"),
            ],
        );
    }
}

#[test]
fn cookies_and_api_keys_are_credentials_too() {
    for (one, other) in [
        ("Cookie: sid=1\r\n", "Cookie: sid=2\r\n"),
        ("X-Api-Key: 1\r\n", "X-Api-Key: 2\r\n"),
        ("X-Csrf-Token: 1\r\n", "X-Csrf-Token: 2\r\n"),
        ("X-Auth-User: 1\r\n", "X-Auth-User: 2\r\n"),
        // The same value in another header is another identity.
        ("X-Api-Key: 1\r\n", "X-Auth-User: 1\r\n"),
        (
            "Authorization: 1\r\nCookie: 2\r\n",
            "Authorization: 2\r\nCookie: 1\r\n",
        ),
    ] {
        let origin = personal("");
        let proxy = TestProxy::to(&origin);
        let first = proxy.get_with("/", one).text();
        assert_eq!(proxy.get_with("/", other).x_cache(), "MISS", "{one}{other}");
        assert_eq!(proxy.get("/").x_cache(), "MISS", "{one}");
        proxy.get_with("/", one).expect(200, "HIT", &first);
    }
}

#[test]
fn headers_of_users_and_tenants_make_an_identity_by_default() {
    for name in [
        "AccessKey",
        "Remote-User",
        "X-Remote-Group",
        "X-WEBAUTH-USER",
        "X-Tenant-Id",
        "X-User",
        "X-UserId",
        "X-Amzn-Oidc-Identity",
        "X-Goog-Authenticated-User-Email",
        "Impersonate-User",
        "CF-Access-Client-Id",
        "X-MS-Client-Principal",
        "X-Hasura-Role",
        "X_User_Id",
        "Sudo",
    ] {
        let origin = Origin::counting("");
        let proxy = TestProxy::to(&origin);
        let header = |value: &str| format!("{name}: {value}\r\n");
        let (anna, bert) = (header("anna"), header("bert"));
        proxy.expect_gets(
            "/",
            &[
                (&anna, "MISS", "GET / #0"),
                (&bert, "MISS", "GET / #1"),
                ("", "MISS", "GET / #2"),
                (&anna, "HIT", "GET / #0"),
            ],
        );
    }
}

#[test]
fn keys_that_are_new_for_each_request_make_no_identity() {
    for name in ["Idempotency-Key", "X-Idempotency-Key", "Sec-WebSocket-Key"] {
        let origin = Origin::counting("");
        let proxy = TestProxy::to(&origin);
        let header = format!("{name}: 1\r\n");
        proxy.expect_gets(
            "/",
            &[(&header, "MISS", "GET / #0"), ("", "HIT", "GET / #0")],
        );
    }
}

#[test]
fn a_miss_because_of_the_identity_says_so() {
    for mode in [Standard, Always] {
        let origin = Origin::counting("");
        let proxy = TestProxy::with_mode(&origin, mode);
        let status = |method: &str, fields: &str| {
            let answer = proxy.request(method, "/", fields, b"");
            answer.field("cache-status").unwrap().to_owned()
        };
        let plain = "caching-proxy; fwd=uri-miss; fwd-status=200; stored";
        assert_eq!(status("GET", ""), plain);
        for fields in [ANNA, BERT, "Cookie: sid=1\r\n"] {
            assert_eq!(
                status("GET", fields),
                format!("{plain}; detail=own-partition")
            );
            assert_eq!(status("GET", fields), "caching-proxy; hit");
        }
    }
    let origin = Origin::counting("");
    let proxy = TestProxy::with_mode(&origin, Strict);
    let answer = proxy.get_with("/", "Cookie: sid=1\r\n");
    assert!(
        !answer
            .field("cache-status")
            .unwrap()
            .contains("own-partition")
    );
}

#[test]
fn identity_headers_are_configurable() {
    let origin = Origin::counting("");
    let tenants = |config: &mut caching_proxy::config::Config| {
        config.policy.identity_headers = caching_proxy::policy::Patterns::new(["x-tenant"]);
    };
    let proxy = TestProxy::builder(&origin).with(tenants).start();
    proxy.expect_gets(
        "/",
        &[
            ("X-Tenant: 1\r\n", "MISS", "GET / #0"),
            ("X-Tenant: 2\r\n", "MISS", "GET / #1"),
            ("X-Tenant: 1\r\n", "HIT", "GET / #0"),
        ],
    );
}

#[test]
fn private_responses_are_stored_for_their_identity_only() {
    let origin = personal("Cache-Control: private, max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.expect_gets(
        "/",
        &[
            (ANNA, "MISS", "for <Bearer anna> #0"),
            (ANNA, "HIT", "for <Bearer anna> #0"),
            (BERT, "MISS", "for <Bearer bert> #1"),
            ("", "MISS", "for <> #2"),
            ("", "MISS", "for <> #3"),
        ],
    );
}

#[test]
fn public_responses_are_shared_by_all() {
    for fields in [
        "Cache-Control: public, max-age=60\r\n",
        "Cache-Control: s-maxage=60\r\n",
    ] {
        let origin = personal(fields);
        let proxy = TestProxy::to(&origin);
        proxy.expect_gets(
            "/",
            &[
                (ANNA, "MISS", "for <Bearer anna> #0"),
                (BERT, "HIT", "for <Bearer anna> #0"),
                ("", "HIT", "for <Bearer anna> #0"),
            ],
        );
    }
}

#[test]
fn private_takes_precedence_over_public() {
    for fields in [
        "Cache-Control: public, private, max-age=60\r\n",
        "Cache-Control: s-maxage=60, private\r\n",
    ] {
        let origin = personal(fields);
        let proxy = TestProxy::to(&origin);
        proxy.expect_gets(
            "/",
            &[
                (ANNA, "MISS", "for <Bearer anna> #0"),
                (BERT, "MISS", "for <Bearer bert> #1"),
                ("", "MISS", "for <> #2"),
            ],
        );
    }
}

#[test]
fn strict_stores_authorized_responses_only_with_permission_of_the_origin() {
    let origin = Origin::start(|exchange| {
        let fields = format!("Cache-Control: {}\r\n", &exchange.target()[1..]);
        exchange.ok(&fields, "body");
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let rows = [
        ("max-age=60", "MISS"),
        ("max-age=60,public", "HIT"),
        ("s-maxage=60", "HIT"),
    ];
    for (directives, outcome) in rows
        .into_iter()
        .chain([("max-age=60,must-revalidate", "HIT")])
    {
        let target = format!("/{directives}");
        assert_eq!(
            proxy.get_with(&target, ANNA).x_cache(),
            "MISS",
            "{directives}"
        );
        assert_eq!(
            proxy.get_with(&target, ANNA).x_cache(),
            outcome,
            "{directives}"
        );
    }
}

#[test]
fn identities_never_share_a_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.ok("", format!("for <{}>", user_of(exchange)));
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut anna = proxy.begin("/", ANNA);
    let mut bert = proxy.begin("/", BERT);
    let mut anonymous = proxy.begin("/", "");
    origin.wait_for(3);
    gate.open();
    anna.answer().expect(200, "MISS", "for <Bearer anna>");
    bert.answer().expect(200, "MISS", "for <Bearer bert>");
    anonymous.answer().expect(200, "MISS", "for <>");
}

#[test]
fn ranges_heads_and_conditions_leak_nothing_to_other_identities() {
    let origin = Origin::start(|exchange| match user_of(exchange).as_str() {
        "Bearer anna" => exchange.ok("ETag: \"anna\"\r\nX-Secret: anna\r\n", "for anna"),
        _ => exchange.answer("403 Forbidden", "", ""),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get_with("/", ANNA).expect(200, "MISS", "for anna");
    for credentials in ["", BERT] {
        let range = proxy.get_with("/", &format!("{credentials}Range: bytes=0-3\r\n"));
        let condition = proxy.get_with("/", &format!("{credentials}If-None-Match: \"anna\"\r\n"));
        let head = proxy.request("HEAD", "/", credentials, b"");
        for answer in [range, condition, head] {
            assert_eq!((answer.status(), answer.field("x-secret")), (403, None));
        }
    }
    let own = proxy.get_with("/", &format!("{ANNA}Range: bytes=4-\r\n"));
    own.expect(206, "HIT", "anna");
}

#[test]
fn analytics_cookies_make_no_identity_and_are_not_forwarded() {
    for mode in [Standard, Always] {
        let origin = personal("");
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy.expect_gets(
            "/",
            &[
                ("Cookie: _ga=GA1.2; __cf_bm=x\r\n", "MISS", "for <> #0"),
                ("Cookie: _ga_ABC=3; _gid=4\r\n", "HIT", "for <> #0"),
                ("", "HIT", "for <> #0"),
            ],
        );
        // The relevant cookies stay, in their own partition.
        proxy
            .get_with("/", "Cookie: _ga=1; sid=7; AWSALBCORS=2\r\n")
            .expect(200, "MISS", "for <sid=7> #1");
        proxy
            .get_with("/", "Cookie: sid=7\r\n")
            .expect(200, "HIT", "for <sid=7> #1");
    }
}

#[test]
fn analytics_cookies_are_forwarded_with_uncacheable_requests() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.request("POST", "/", "Cookie: _ga=1; sid=2\r\n", b"x");
    assert_eq!(
        origin.only().field("cookie").as_deref(),
        Some("_ga=1; sid=2")
    );
}

#[test]
fn ignored_cookies_are_forwarded_where_the_last_response_was_not_storable() {
    // A load balancer that knows its own server only by the cookie.
    let origin = Origin::start(|exchange| {
        let cookie = exchange.request.field("cookie").unwrap_or_default();
        let body = format!("<{cookie}>");
        match exchange.target().as_str() {
            target if target.contains("kept") => exchange.ok("", body),
            target if target.contains("lost") => exchange.answer("400 Bad Request", "", body),
            _ => exchange.ok("Cache-Control: no-store\r\n", body),
        }
    });
    let proxy = TestProxy::to(&origin);
    let sticky = "Cookie: AWSALB=1; _ga=2\r\n";
    let get = |query: &str| proxy.get_with(&format!("/socket.io/?{query}"), sticky);
    get("t=1").expect(200, "MISS", "<>");
    // The query does not matter, the path does.
    get("t=2").expect(200, "MISS", "<AWSALB=1; _ga=2>");
    proxy
        .get_with("/other?kept", sticky)
        .expect(200, "MISS", "<>");
    // What was shaped by the cookies is not stored. The next response may be.
    let unkept = get("kept");
    unkept.expect(200, "MISS", "<AWSALB=1; _ga=2>");
    let status = unkept.field("cache-status").unwrap();
    assert!(status.ends_with("detail=ignored-cookies"), "{status}");
    get("kept").expect(200, "MISS", "<>");
    get("kept").expect(200, "HIT", "<>");
    // An error is not storable either.
    get("lost").expect(400, "MISS", "<>");
    get("lost").expect(400, "MISS", "<AWSALB=1; _ga=2>");
    get("kept").expect(200, "HIT", "<>");
    proxy.clear();
    get("kept").expect(200, "MISS", "<>");
}

#[test]
fn ignored_cookies_are_forwarded_with_requests_that_pass_the_cache_by() {
    let origin = personal("");
    let proxy = TestProxy::to(&origin);
    let fields = "Cookie: AWSALB=1\r\nCache-Control: no-store\r\n";
    proxy.expect_gets("/", &[(fields, "MISS", "for <AWSALB=1> #0")]);
    proxy.get("/").expect(200, "MISS", "for <> #1");
}

#[test]
fn a_private_response_with_a_new_session_is_not_stored() {
    let origin = personal("Set-Cookie: sid=new\r\n");
    let proxy = TestProxy::to(&origin);
    proxy
        .get_with("/", ANNA)
        .expect(200, "MISS", "for <Bearer anna> #0");
    proxy
        .get_with("/", ANNA)
        .expect(200, "MISS", "for <Bearer anna> #1");
}
