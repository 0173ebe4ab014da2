//! Points 16 and 17: the selection of a stored response.

use caching_proxy::policy::Mode::{self, Always, Standard, Strict};

use crate::{harness::TestProxy, origin::Origin};

/// A row has the headers of the response, of a first and of a second GET, and the X-Cache of the second response.
#[track_caller]
fn check_vary(mode: Mode, rows: &[(&str, &str, &str, &str)]) {
    for (fields, first, second, expected) in rows {
        let fields = format!("Cache-Control: max-age=60\r\n{fields}");
        let origin = Origin::start(move |exchange| {
            exchange.ok(&fields, format!("#{}", exchange.nth));
        });
        let proxy = TestProxy::with_mode(&origin, mode);
        let mut client = proxy.connect();
        client.ask("/", first).answer().expect(200, "MISS", "#0");
        let answer = client.ask("/", second).answer();
        assert_eq!(answer.x_cache(), *expected, "{mode:?} {first:?} {second:?}");
        if *expected == "MISS" {
            assert_eq!(origin.last().field("if-none-match"), None);
        }
    }
}

#[test]
fn point_16a_all_members_of_all_vary_headers_select() {
    let rows = [
        ("Vary: X-A\r\n", "X-A: 1\r\n", "X-A: 1\r\n", "HIT"),
        ("Vary: X-A\r\n", "X-A: 1\r\n", "X-A: 2\r\n", "MISS"),
        ("Vary: x-a\r\n", "X-A: 1\r\n", "x-A: 2\r\n", "MISS"),
        ("Vary: X-A\r\n", "", "", "HIT"),
        ("Vary: X-A\r\n", "X-A: 1\r\n", "", "MISS"),
        ("Vary: X-A\r\n", "", "X-A: 1\r\n", "MISS"),
        ("Vary: X-A\r\n", "", "X-A: \r\n", "MISS"),
        ("Vary: X-A\r\n", "X-A: a\r\n", "X-A: A\r\n", "MISS"),
        ("Vary: X-A\r\n", "X-B: 1\r\n", "X-B: 2\r\n", "HIT"),
        (
            "Vary: X-A, X-B\r\n",
            "X-A: 1\r\nX-B: 1\r\n",
            "X-B: 1\r\nX-A: 1\r\n",
            "HIT",
        ),
        (
            "Vary: X-A, X-B\r\n",
            "X-A: 1\r\nX-B: 1\r\n",
            "X-A: 1\r\nX-B: 2\r\n",
            "MISS",
        ),
        (
            "Vary: X-A\r\nVary: X-B\r\n",
            "X-B: 1\r\n",
            "X-B: 2\r\n",
            "MISS",
        ),
        ("Vary: ,, X-A ,\r\n", "X-A: 1\r\n", "X-A: 2\r\n", "MISS"),
        ("Vary: ,, X-A ,\r\n", "X-A: 1\r\n", "X-A: 1\r\n", "HIT"),
        (
            "Vary: X-A\r\n",
            "X-A: 1\r\nX-A: 2\r\n",
            "X-A: 1, 2\r\n",
            "HIT",
        ),
        (
            "Vary: X-A\r\n",
            "X-A: 1\r\nX-A: 2\r\n",
            "X-A: 2\r\nX-A: 1\r\n",
            "MISS",
        ),
        (
            "Vary: X-A\r\n",
            "X-A: 1\r\n",
            "X-A: 1\r\nX-A: 1\r\n",
            "MISS",
        ),
        ("Vary: \r\n", "X-A: 1\r\n", "X-A: 2\r\n", "HIT"),
        ("", "X-A: 1\r\n", "X-A: 2\r\n", "HIT"),
    ];
    for mode in [Strict, Standard, Always] {
        check_vary(mode, &rows);
    }
}

#[test]
fn point_16b_a_star_in_vary_never_matches() {
    for (mode, expected) in [(Strict, "MISS"), (Standard, "MISS"), (Always, "HIT")] {
        for fields in [
            "Vary: *\r\n",
            "Vary: X-A, *\r\n",
            "Vary: X-A\r\nVary: *\r\n",
            "Vary: *, X-A\r\n",
        ] {
            check_vary(mode, &[(fields, "X-A: 1\r\n", "X-A: 1\r\n", expected)]);
        }
    }
}

#[test]
fn point_16c_variants_live_side_by_side_in_bounded_number() {
    let origin = Origin::start(|exchange| {
        let variant = exchange.request.field("x-a").unwrap_or_default();
        exchange.ok("Cache-Control: max-age=60\r\nVary: X-A\r\n", variant);
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let ask = |number: usize| proxy.get_with("/", &format!("X-A: {number}\r\n"));
    for outcome in ["MISS", "HIT", "HIT"] {
        for number in 0..8 {
            let answer = ask(number);
            answer.expect(200, outcome, &number.to_string());
            let status = answer.field("cache-status").unwrap();
            if outcome == "MISS" && number > 0 {
                assert!(status.contains("fwd=vary-miss"), "{status}");
            }
        }
    }
    for number in 0..500 {
        ask(number);
    }
    let before = origin.count();
    let hits = (0..500)
        .filter(|number| ask(*number).x_cache() == "HIT")
        .count();
    assert!(
        hits < 250 && origin.count() > before,
        "{hits} variants of one target"
    );
    // The newest variant is stored.
    ask(999).expect(200, "MISS", "999");
    ask(999).expect(200, "HIT", "999");
}

#[test]
fn point_17a_insignificant_white_space_and_case_do_not_select() {
    let rows = [
        ("Vary: X-A\r\n", "X-A: 1,2\r\n", "X-A: 1 ,\t2\r\n", "HIT"),
        ("Vary: X-A\r\n", "X-A: 1 2\r\n", "X-A: 12\r\n", "MISS"),
        (
            "Vary: Accept\r\n",
            "Accept: text/html, */*\r\n",
            "Accept: TEXT/HTML,*/*\r\n",
            "HIT",
        ),
        (
            "Vary: Accept\r\n",
            "Accept: text/html;q=0.5\r\n",
            "Accept: text/html ; q=0.5\r\n",
            "HIT",
        ),
        (
            "Vary: Accept-Encoding\r\n",
            "Accept-Encoding: gzip, br\r\n",
            "Accept-Encoding: GZIP,br\r\n",
            "HIT",
        ),
        (
            "Vary: Accept-Encoding\r\n",
            "Accept-Encoding: gzip\r\n",
            "Accept-Encoding: br\r\n",
            "MISS",
        ),
        (
            "Vary: Accept-Language\r\n",
            "Accept-Language: de-DE, en\r\n",
            "Accept-Language: de-de ,EN\r\n",
            "HIT",
        ),
        (
            "Vary: User-Agent\r\n",
            "User-Agent: a\r\n",
            "User-Agent: A\r\n",
            "MISS",
        ),
    ];
    for mode in [Strict, Standard, Always] {
        check_vary(mode, &rows);
    }
}

#[test]
fn point_17b_languages_are_negotiated_by_strict() {
    let vary = "Vary: Accept-Language\r\n";
    let german = "Vary: Accept-Language\r\nContent-Language: de\r\n";
    let rows = [
        (
            vary,
            "Accept-Language: en, de\r\n",
            "Accept-Language: de, en\r\n",
            "HIT",
        ),
        (
            vary,
            "Accept-Language: en;q=0.5, de\r\n",
            "Accept-Language: de\r\nAccept-Language: en;q=0.5\r\n",
            "HIT",
        ),
        (
            german,
            "Accept-Language: de\r\n",
            "Accept-Language: fr;q=0.5, de;q=0.9\r\n",
            "HIT",
        ),
        (
            german,
            "Accept-Language: de, en\r\n",
            "Accept-Language: DE\r\n",
            "HIT",
        ),
    ];
    check_vary(Strict, &rows);
    for mode in [Standard, Always] {
        check_vary(
            mode,
            &rows.map(|(fields, first, second, _)| (fields, first, second, "MISS")),
        );
    }
}

#[test]
fn point_17c_a_language_that_is_not_the_best_choice_does_not_match() {
    let vary = "Vary: Accept-Language\r\n";
    let german = "Vary: Accept-Language\r\nContent-Language: de\r\n";
    check_vary(
        Strict,
        &[
            (
                vary,
                "Accept-Language: en, de\r\n",
                "Accept-Language: en\r\n",
                "MISS",
            ),
            (
                vary,
                "Accept-Language: en;q=0.5, de\r\n",
                "Accept-Language: de;q=0.5, en\r\n",
                "MISS",
            ),
            (
                vary,
                "Accept-Language: de\r\n",
                "Accept-Language: fr;q=0.5, de;q=0.9\r\n",
                "MISS",
            ),
            (
                german,
                "Accept-Language: de\r\n",
                "Accept-Language: de;q=0.5, fr\r\n",
                "MISS",
            ),
            (
                german,
                "Accept-Language: de\r\n",
                "Accept-Language: de;q=0\r\n",
                "MISS",
            ),
            (german, "Accept-Language: de\r\n", "", "MISS"),
            (
                "Vary: Accept-Language, X-A\r\nContent-Language: de\r\n",
                "Accept-Language: de\r\n",
                "Accept-Language: fr;q=0.1, de\r\nX-A: 1\r\n",
                "MISS",
            ),
        ],
    );
}
