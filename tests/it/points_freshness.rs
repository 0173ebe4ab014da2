//! Points 10 to 15: freshness lifetime and age of a response.

use std::time::{Duration, Instant};

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    harness::{TestProxy, http_date, until},
    origin::Origin,
    points::{age, check_ok},
};

/// The time `offset_secs` seconds from now, in any date format.
fn written(offset_secs: i64, form: &str) -> String {
    let moment = chrono::Utc::now() + chrono::Duration::seconds(offset_secs);
    moment.format(form).to_string()
}

#[test]
fn point_10_s_maxage_else_max_age_else_expires_minus_date() {
    let (past, future) = (http_date(-600), http_date(600));
    let at = |date: i64, expires: i64| {
        format!(
            "Date: {}\r\nExpires: {}\r\n",
            http_date(date),
            http_date(expires)
        )
    };
    let rows = [
        ("Cache-Control: s-maxage=60, max-age=0\r\n".into(), "HIT"),
        ("Cache-Control: s-maxage=0, max-age=60\r\n".into(), "MISS"),
        (
            format!("Cache-Control: max-age=0, s-maxage=60\r\nExpires: {past}\r\n"),
            "HIT",
        ),
        (
            format!("Cache-Control: max-age=60\r\nExpires: {past}\r\n"),
            "HIT",
        ),
        ("Cache-Control: max-age=60\r\nExpires: 0\r\n".into(), "HIT"),
        (
            format!("Cache-Control: max-age=0\r\nExpires: {future}\r\n"),
            "MISS",
        ),
        (
            format!("Cache-Control: s-maxage=x, max-age=60\r\nExpires: {future}\r\n"),
            "MISS",
        ),
        (
            format!("Cache-Control: public\r\nExpires: {future}\r\n"),
            "HIT",
        ),
        (format!("Expires: {future}\r\n"), "HIT"),
        (format!("Expires: {past}\r\n"), "MISS"),
        // Expires counts from Date and not from now.
        (at(1800, 1800), "MISS"),
        (at(3600, 1800), "MISS"),
        (at(3600, 7200), "HIT"),
        (at(-3600, -10), "MISS"),
        (at(-3600, 60), "HIT"),
        // Without a valid Date, the time of receipt counts.
        (format!("Date: yesterday\r\nExpires: {future}\r\n"), "HIT"),
        (format!("Date: 0\r\nExpires: {past}\r\n"), "MISS"),
        // An explicit lifetime has precedence over a heuristic one.
        (
            format!(
                "Expires: {past}\r\nLast-Modified: {}\r\n",
                http_date(-864_000)
            ),
            "MISS",
        ),
        (format!("Last-Modified: {}\r\n", http_date(-864_000)), "HIT"),
    ];
    check_ok(Strict, "", &rows);
    check_ok(Standard, "", &rows);
    check_ok(Always, "", &rows.map(|(fields, _)| (fields, "HIT")));
}

#[test]
fn point_11a_delta_seconds_are_digits_only() {
    let good = [
        "60",
        "0060",
        "00000000000000000000060",
        "\"60\"",
        "2147483647",
        "2147483648",
        "4294967296",
        "18446744073709551676",
        "99999999999999999999999999",
    ];
    let bad = [
        "-1", "3600.0", "'3600'", "a1", "1a", "+60", " 60", "\" 60\"", "", "\"\"", "6e3", "0x60",
        "\"60", "60\"", "60 60", "60;a", "=60", "0", "00", "\"-60\"", "\\60",
    ];
    let expires = http_date(600);
    let mut rows = Vec::new();
    for name in ["max-age", "s-maxage", "MAX-AGE"] {
        for (values, second) in [(&good[..], "HIT"), (&bad[..], "MISS")] {
            rows.extend(values.iter().map(|value| {
                // A malformed lifetime is stale; Expires is not used.
                let fields = format!("Cache-Control: {name}={value}\r\nExpires: {expires}\r\n");
                (fields, second)
            }));
        }
        rows.push((
            format!("Cache-Control: {name}\r\nExpires: {expires}\r\n"),
            "MISS",
        ));
    }
    check_ok(Strict, "", &rows);
    check_ok(Standard, "", &rows);
}

#[test]
fn point_11b_saturated_seconds_can_be_compared() {
    let lasting = "Cache-Control: max-age=99999999999\r\n";
    check_ok(
        Strict,
        "",
        &[
            (format!("{lasting}Age: 2147483000\r\n"), "HIT"),
            (format!("{lasting}Age: 99999999999999999999999\r\n"), "MISS"),
        ],
    );
}

#[test]
fn point_12a_cache_control_headers_form_one_list() {
    let hit = [
        "Cache-Control: mAx-aGe=60\r\n",
        "cache-control: foo\r\nCACHE-CONTROL: max-age=60\r\n",
        "Cache-Control: max-age=60, max-age=0\r\n",
        "Cache-Control: max-age=60\r\nCache-Control: max-age=0\r\n",
        "Cache-Control: foo=\"no-store\", max-age=60\r\n",
        "Cache-Control: foo=\"a, no-store, max-age=0, b\", max-age=60\r\n",
        "Cache-Control: foo=\"\\\", no-store, \", max-age=60\r\n",
        "Cache-Control: foo=\"private\", bar='x', max-age=60\r\n",
        "Cache-Control: ,, max-age=60,\t,\r\n",
        "Cache-Control: foo ,\tmax-age=60 \r\n",
        "Cache-Control: no-storee, xno-store, no-cache2, max-age=60\r\n",
        "Cache-Control: max-age=60, immutable, foo=1, no-transform\r\n",
        "Cache-Control: max-age=60, max-agee=0\r\n",
        "Cache-Control: \r\nCache-Control: max-age=60\r\n",
    ];
    let miss = [
        "Cache-Control: max-age=0, max-age=60\r\n",
        "Cache-Control: max-age=0\r\nCache-Control: max-age=60\r\n",
        "Cache-Control: foo=\"max-age=60\"\r\n",
        "Cache-Control: max-age=60\r\nCache-Control: foo, NO-STORE\r\n",
        "Cache-Control: max-age =60\r\n",
        "Cache-Control: max-age= 60\r\n",
        "Cache-Control: max-age = 60\r\n",
        "Cache-Control: max-age:60\r\n",
        "Cache-Control: foo=\"\\\"\", no-store, max-age=60\r\n",
    ];
    let rows: Vec<_> = hit
        .iter()
        .map(|fields| (*fields, "HIT"))
        .chain(miss.iter().map(|fields| (*fields, "MISS")))
        .collect();
    check_ok(Strict, "", &rows);
    // `standard` ignores a directive without meaning.
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|(fields, _)| !fields.contains("\"max-age=60\"") && !fields.contains("max-age:60"))
        .collect();
    check_ok(Standard, "", &rows);
}

#[test]
fn point_12b_cache_control_of_requests_is_parsed_the_same_way() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/");
    for directives in [
        "foo, bar=\"no-cache, no-store, max-age=0\"",
        "no-cachee, max-agee=0",
        ",,max-age=3600,",
        "max-age=3600, max-age=0",
        "max-age=\"3600\"",
    ] {
        let answer = proxy.get_with("/", &format!("Cache-Control: {directives}\r\n"));
        assert_eq!(answer.x_cache(), "HIT", "{directives}");
    }
    assert_eq!(origin.count(), 1);
    for directives in [
        "foo\r\nCache-Control: NO-CACHE",
        "max-age=0, max-age=3600",
        "max-age=\"0\"",
        "max-age=-1",
        "max-age=x",
    ] {
        let answer = proxy.get_with("/", &format!("Cache-Control: {directives}\r\n"));
        assert_eq!(answer.x_cache(), "MISS", "{directives}");
    }
}

#[test]
fn point_13a_the_first_age_counts_if_it_is_valid() {
    let fresh = "Cache-Control: max-age=100\r\n";
    let rows: Vec<_> = [
        ("Age: 50\r\n", "HIT"),
        ("Age: 0\r\n", "HIT"),
        ("Age: 0050\r\n", "HIT"),
        ("Age: 101\r\n", "MISS"),
        ("Age: 000101\r\n", "MISS"),
        ("Age: 5, 101\r\n", "HIT"),
        ("Age: 101, 5\r\n", "MISS"),
        ("Age: 5\r\nAge: 101\r\n", "HIT"),
        ("Age: 101\r\nAge: 5\r\n", "MISS"),
        ("Age: 99999999999999999999999\r\n", "MISS"),
        ("Age: 4294967297\r\n", "MISS"),
        ("Age: abc\r\n", "HIT"),
        ("Age: -101\r\n", "HIT"),
        ("Age: +101\r\n", "HIT"),
        ("Age: 101.5\r\n", "HIT"),
        ("Age: \"101\"\r\n", "HIT"),
        ("Age: 101;a\r\n", "HIT"),
        ("Age: 101 5\r\n", "HIT"),
        ("Age: \r\n", "HIT"),
    ]
    .into_iter()
    .map(|(line, second)| (format!("{fresh}{line}"), second))
    .collect();
    check_ok(Strict, "", &rows);
    check_ok(Standard, "", &rows);
}

#[test]
fn point_13b_a_miss_has_an_unchanged_age_and_a_hit_has_exactly_one() {
    let rows: [(&str, &[&str], u64); 6] = [
        ("", &[], 40),
        ("Age: 50\r\n", &["50"], 50),
        ("Age: 50, 7\r\n", &["50, 7"], 50),
        ("Age: 50\r\nAge: 7\r\n", &["50", "7"], 50),
        ("Age: x\r\n", &["x"], 40),
        ("Age: 3\r\n", &["3"], 40),
    ];
    for (lines, relayed, least) in rows {
        let (date, expires) = (http_date(-40), http_date(600));
        let fields = format!("Date: {date}\r\nExpires: {expires}\r\nETag: \"v\"\r\n{lines}");
        let origin = Origin::start(move |exchange| exchange.ok(&fields, "body"));
        let proxy = TestProxy::with_mode(&origin, Strict);
        let miss = proxy.get("/");
        miss.expect(200, "MISS", "body");
        assert_eq!(miss.all("age"), relayed, "{lines}");
        for request in ["", "Range: bytes=0-1\r\n", "If-None-Match: \"v\"\r\n"] {
            let hit = proxy.get_with("/", request);
            assert_eq!(hit.x_cache(), "HIT");
            assert!(
                (least..least + 20).contains(&age(&hit)),
                "{lines} {request}: {:?}",
                hit.head
            );
            assert_eq!(
                (hit.field("date"), hit.field("expires")),
                (Some(&*date), Some(&*expires)),
                "{request}"
            );
        }
        let head = proxy.request("HEAD", "/", "", b"");
        assert!(age(&head) >= least);
    }
}

const IMF: &str = "%a, %d %b %Y %H:%M:%S GMT";
const RFC_850: &str = "%A, %d-%b-%y %H:%M:%S GMT";
const ASCTIME: &str = "%a %b %e %H:%M:%S %Y";

#[test]
fn point_14a_three_forms_of_dates_in_any_case_of_names() {
    const YEAR: i64 = 31_557_600;
    let mut rows = Vec::new();
    for form in [IMF, RFC_850, ASCTIME] {
        let upper_names = |text: String| text.to_uppercase();
        let lower_names = |text: String| text.to_lowercase().replace("gmt", "GMT");
        for (offset, second) in [(600, "HIT"), (-600, "MISS")] {
            let text = written(offset, form);
            for text in [text.clone(), upper_names(text.clone()), lower_names(text)] {
                rows.push((format!("Expires: {text}\r\n"), second));
            }
        }
    }
    // RFC 9110, 5.6.7: a two-digit year more than 50 years ahead is in the past.
    rows.push((
        format!("Expires: {}\r\n", written(49 * YEAR, RFC_850)),
        "HIT",
    ));
    rows.push((
        format!("Expires: {}\r\n", written(52 * YEAR, RFC_850)),
        "MISS",
    ));
    rows.push((format!("Expires: {}\r\n", written(52 * YEAR, IMF)), "HIT"));
    // The same for Date and Last-Modified.
    for form in [IMF, RFC_850, ASCTIME] {
        let date = written(1800, form);
        rows.push((
            format!("Date: {date}\r\nExpires: {}\r\n", http_date(1800)),
            "MISS",
        ));
        rows.push((
            format!("Last-Modified: {}\r\n", written(-864_000, form)),
            "HIT",
        ));
    }
    check_ok(Strict, "", &rows);
}

#[test]
fn point_14b_every_other_form_of_date_is_invalid() {
    let good = http_date(600);
    let mut rows: Vec<String> = [
        "%a, %d %b %Y %H:%M:%S UTC",
        "%a, %d %b %Y %H:%M:%S AEST",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%a, %d %b %Y %H:%M:%S",
        "%a, %d %b %Y %H:%M:%SGMT",
        "%a, %d %b %y %H:%M:%S GMT",
        "%a %d %b %Y %H:%M:%S GMT",
        "%a, %d  %b %Y %H:%M:%S GMT",
        "%a,  %d %b %Y %H:%M:%S GMT",
        "%a,%d %b %Y %H:%M:%S GMT",
        "%a, %d %b %Y  %H:%M:%S GMT",
        "%a, %d-%b-%Y %H:%M:%S GMT",
        "%a, %d %b %Y 1:%M:%S GMT",
        "%a, %d %b %Y %H:%M GMT",
        "%a, %d %b %Y %H.%M.%S GMT",
        "%a, %d %b %Y 24:%M:%S GMT",
        "%a, %d %b %Y %H:60:%S GMT",
        "%a, 32 %b %Y %H:%M:%S GMT",
        "%a, %d Foo %Y %H:%M:%S GMT",
        "Foo, %d %b %Y %H:%M:%S GMT",
        "%a, %d %b %Y %H:%M:%S GMT x",
        "\"%a, %d %b %Y %H:%M:%S GMT\"",
        "%A, %d-%b-%Y %H:%M:%S GMT",
        "%A, %d %b %y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S UTC",
        "%a %b %e %H:%M:%S %y",
        "%a %b %e %H:%M:%S GMT %Y",
        "%Y-%m-%dT%H:%M:%SZ",
        "%s",
    ]
    // Two years ahead, so no wrong reading is in the past by chance.
    .map(|form| format!("Expires: {}\r\n", written(63_115_200, form)))
    .into();
    rows.extend(["0", "-1", "", "never", "60"].map(|text| format!("Expires: {text}\r\n")));
    rows.push(format!("Expires: {good}\r\nExpires: {good}\r\n"));
    rows.push(format!("Expires: {good}, {good}\r\n"));
    let modified = format!("Last-Modified: {}\r\n", http_date(-864_000));
    let rows: Vec<_> = rows
        .into_iter()
        .flat_map(|row| [(format!("{row}{modified}"), "MISS"), (row, "MISS")])
        .collect();
    check_ok(Strict, "", &rows);
    check_ok(Standard, "", &rows);
}

#[test]
fn point_15_the_delay_of_the_origin_counts_and_the_clock_is_read_for_each_request() {
    // The origin causes the delay; the test does not wait for a response to age.
    let origin = Origin::start(|exchange| {
        if exchange.target() != "/quick" {
            let begin = Instant::now();
            until("the origin's delay", || {
                begin.elapsed() > Duration::from_millis(2100)
            });
        }
        match exchange.target().as_str() {
            "/short" => exchange.ok("Cache-Control: max-age=2\r\n", "body"),
            "/aged" => exchange.ok("Cache-Control: max-age=60\r\nAge: 30\r\n", "body"),
            _ => exchange.ok("Cache-Control: max-age=60\r\n", "body"),
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let mut client = proxy.connect();
    client
        .ask("/quick", "")
        .answer()
        .expect(200, "MISS", "body");
    let mut others = ["/short", "/aged", "/slow"].map(|target| proxy.begin(target, ""));
    for other in &mut others {
        other.answer().expect(200, "MISS", "body");
    }
    // The same connection at a later time.
    assert!(age(&client.ask("/quick", "").answer()) >= 2);
    assert!((2..30).contains(&age(&client.ask("/slow", "").answer())));
    assert!((32..60).contains(&age(&client.ask("/aged", "").answer())));
    client
        .ask("/short", "")
        .answer()
        .expect(200, "MISS", "body");
}
