//! Point 28: targeted cache control (RFC 9213).

use caching_proxy::policy::Mode::{Standard, Strict};

use crate::{
    harness::{TestProxy, http_date},
    origin::Origin,
    points::check_ok,
};

#[test]
fn point_28a_cdn_cache_control_replaces_cache_control_and_expires() {
    let past = format!("Expires: {}\r\n", http_date(-600));
    let future = format!("Expires: {}\r\n", http_date(600));
    let rows: Vec<(String, &str)> = [
        ("max-age=60", "Cache-Control: no-store\r\n", "HIT"),
        ("max-age=60", "Cache-Control: private, max-age=0\r\n", "HIT"),
        ("max-age=60", &*past, "HIT"),
        ("max-age=60", "", "HIT"),
        ("max-age=0", "Cache-Control: max-age=60\r\n", "MISS"),
        ("max-age=0", &*future, "MISS"),
        ("no-store", "Cache-Control: max-age=60\r\n", "MISS"),
        ("private", "Cache-Control: max-age=60\r\n", "MISS"),
        ("foo", "Cache-Control: max-age=60\r\n", "MISS"),
        ("foo", &*future, "MISS"),
        ("s-maxage=60, max-age=0", "", "HIT"),
        ("max-age=60;foo=bar", "Cache-Control: no-store\r\n", "HIT"),
        (
            "max-age=60 , foo=(1 \"b\" c);d, e=:aGk=:, f=?1, g=1.5",
            "Cache-Control: no-store\r\n",
            "HIT",
        ),
        (
            "max-age=0, max-age=60",
            "Cache-Control: no-store\r\n",
            "HIT",
        ),
        (
            "max-age=60, max-age=0",
            "Cache-Control: max-age=60\r\n",
            "MISS",
        ),
        (
            "foo\r\nCDN-Cache-Control: max-age=60",
            "Cache-Control: no-store\r\n",
            "HIT",
        ),
        (
            "max-age=60\r\nCDN-Cache-Control: no-store",
            "Cache-Control: max-age=60\r\n",
            "MISS",
        ),
    ]
    .into_iter()
    .map(|(targeted, others, second)| {
        (format!("{others}CDN-Cache-Control: {targeted}\r\n"), second)
    })
    .collect();
    check_ok(Strict, "", &rows);
    check_ok(Standard, "", &rows);
}

#[test]
fn point_28b_an_empty_or_malformed_header_is_ignored() {
    let malformed = [
        "",
        " ",
        "max-age=60,",
        ",max-age=60",
        "max-age=60,,foo",
        "MAX-AGE=60",
        "max-age=60, No-Store",
        "max-age=60 foo",
        "max-age= 60",
        "max-age =60",
        "max-age=",
        "max-age=\"60",
        "max-age='60'",
        "max-age=60, &foo",
        "max-age=60; ;",
        "max-age=60, foo=(1 2",
        "max-age=60, foo=?2",
        "max-age=60, foo=:?:",
        "max-age=60.",
        "max-age=1234567890123456",
        "max-age=60\r\nCDN-Cache-Control: No-Store",
    ];
    let rows: Vec<(String, &str)> = malformed
        .iter()
        .flat_map(|targeted| {
            ["max-age=60", "no-store"].map(|others| {
                let second = if others == "no-store" { "MISS" } else { "HIT" };
                let fields =
                    format!("Cache-Control: {others}\r\nCDN-Cache-Control: {targeted}\r\n");
                (fields, second)
            })
        })
        .collect();
    check_ok(Strict, "", &rows);
}

#[test]
fn point_28c_the_header_is_forwarded() {
    for field in ["max-age=60, foo=1", "max-age=60, "] {
        let fields =
            format!("ETag: \"v\"\r\nCache-Control: max-age=60\r\nCDN-Cache-Control: {field}x\r\n");
        let origin = Origin::start(move |exchange| exchange.ok(&fields, "body"));
        let proxy = TestProxy::with_mode(&origin, Strict);
        for outcome in ["MISS", "HIT"] {
            let answer = proxy.get("/");
            answer.expect(200, outcome, "body");
            let found = ["cdn-cache-control", "cache-control"].map(|name| answer.field(name));
            assert_eq!(found, [Some(&*format!("{field}x")), Some("max-age=60")]);
        }
    }
}
