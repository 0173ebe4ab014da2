//! Chains of proxies, and what clients put before them.

use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn is_trusted(address: IpAddr) -> bool {
    let text = address.to_string();
    text.starts_with("10.") || text == "127.0.0.1" || text.starts_with("fd00")
}

fn told(headers: &[(&str, &str)]) -> ForwardedClient {
    ForwardedClient::of(&map(headers), Some([127, 0, 0, 1].into()), is_trusted)
}

/// Client, scheme, host and port.
fn parts(client: &ForwardedClient) -> (String, &str, &str, u16) {
    let address = client.address().map(|address| address.to_string());
    (
        address.unwrap_or_default(),
        client.scheme().unwrap_or_default(),
        client.host().map_or("", |host| host.to_str().unwrap()),
        client.port.unwrap_or_default(),
    )
}

#[test]
fn a_peer_that_is_not_trusted_says_nothing() {
    let headers = map(&[
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9;proto=https"),
    ]);
    for peer in [None, Some([192, 0, 2, 1].into())] {
        let client = ForwardedClient::of(&headers, peer, is_trusted);
        assert_eq!(client, ForwardedClient::default());
    }
}

#[test]
fn the_client_is_the_first_address_from_the_right_that_is_not_trusted() {
    for (chain, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9, 10.1.2.3"),
        (
            "6.6.6.6,203.0.113.9,10.1.2.3,fd00::7",
            "203.0.113.9, 10.1.2.3, fd00::7",
        ),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1, 10.2.2.2"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, unknown, 10.1.2.3", "10.1.2.3"),
        ("6.6.6.6, _hidden", ""),
        ("203.0.113.9:99999999", ""),
        ("[::1", ""),
        ("1.2.3.4, ,", "1.2.3.4"),
        (", , ,", ""),
        ("\"", ""),
    ] {
        let client = told(&[("x-forwarded-for", chain)]);
        let mut headers = HeaderMap::new();
        client.write(None, &mut headers);
        let passed_on = headers
            .get(X_FORWARDED_FOR)
            .map(|value| value.to_str().unwrap());
        assert_eq!(passed_on.unwrap_or_default(), expected, "{chain}");
    }
    let lines = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.2.3"),
        ("x-forwarded-for", "10.9.9.9"),
    ];
    assert_eq!(told(&lines).chain.len(), 3);
    let endless = vec!["10.1.1.1"; 10_000].join(",");
    assert_eq!(told(&[("x-forwarded-for", &endless)]).chain.len(), MAX_HOPS);
}

#[test]
fn scheme_host_and_port_are_those_of_the_first_trusted_proxy() {
    for (lines, expected) in [
        (
            &[
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop.test:444"),
                ("x-forwarded-port", "444"),
            ][..],
            ("", "https", "shop.test:444", 444),
        ),
        // The client sent the first value, the proxy has added the second.
        (
            &[
                ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
                ("x-forwarded-proto", "gopher, HTTPS"),
            ],
            ("203.0.113.9", "https", "", 0),
        ),
        // Two proxies: the first has set the scheme, and the second has added its own.
        (
            &[
                ("x-forwarded-for", "203.0.113.9, 10.1.1.1"),
                ("x-forwarded-proto", "http, https, http"),
            ],
            ("203.0.113.9", "https", "", 0),
        ),
        (
            &[
                ("x-forwarded-for", "203.0.113.9, 10.1.1.1"),
                ("x-forwarded-proto", "https"),
            ],
            ("203.0.113.9", "https", "", 0),
        ),
        (
            &[
                ("x-forwarded-proto", "javascript"),
                ("x-forwarded-host", "a b"),
                ("x-forwarded-port", "0"),
            ],
            ("", "", "", 0),
        ),
        (
            &[
                ("x-forwarded-port", "+80"),
                ("x-forwarded-host", "u@evil.test"),
            ],
            ("", "", "", 0),
        ),
    ] {
        let client = told(lines);
        let (address, scheme, host, port) = parts(&client);
        assert_eq!((&*address, scheme, host, port), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    for (value, expected) in [
        (
            "for=203.0.113.9;proto=https;host=shop.test",
            ("203.0.113.9", "https", "shop.test"),
        ),
        (
            "For=\"203.0.113.9:4711\" ; Proto=HTTPS",
            ("203.0.113.9", "https", ""),
        ),
        (
            "for=6.6.6.6;host=evil.test, for=\"[2001:db8::1]:80\";host=\"shop.test\"",
            ("2001:db8::1", "", "shop.test"),
        ),
        (
            "for=203.0.113.9;proto=https;host=shop.test, for=10.1.1.1;proto=http;host=inner.test",
            ("203.0.113.9", "https", "shop.test"),
        ),
        (
            "for=203.0.113.9, for=10.1.1.1;proto=http;host=inner.test",
            ("203.0.113.9", "http", "inner.test"),
        ),
        ("for=6.6.6.6, for=unknown;proto=https", ("", "https", "")),
        ("for=6.6.6.6, for=_secret;proto=https", ("", "https", "")),
        ("for=6.6.6.6, proto=https;by=10.1.1.1", ("", "https", "")),
        (
            "for=\"\\2\\03.0.113.9\";ext=\"a,b;c\"",
            ("203.0.113.9", "", ""),
        ),
        (", ,for=203.0.113.9;,", ("203.0.113.9", "", "")),
    ] {
        let client = told(&[("forwarded", value)]);
        let (address, scheme, host, _) = parts(&client);
        assert_eq!((&*address, scheme, host), expected, "{value}");
    }
}

#[test]
fn a_line_that_cannot_be_read_says_nothing_and_hides_what_is_to_its_left() {
    for value in [
        "for=\"203.0.113.9",
        "for=6.6.6.6\", for=203.0.113.9",
        "for=\"x, for=\"203.0.113.9\"",
        "for",
        "for=203.0.113.9;for=6.6.6.6",
        "for=a b",
        "=203.0.113.9",
        "\"",
    ] {
        assert_eq!(
            told(&[("forwarded", value)]),
            ForwardedClient::default(),
            "{value}"
        );
        let lines = [
            ("forwarded", "for=6.6.6.6;host=evil.test"),
            ("forwarded", value),
            ("forwarded", "for=10.1.1.1;proto=https"),
        ];
        let client = told(&lines);
        let (address, scheme, host, _) = parts(&client);
        assert_eq!(
            (&*address, scheme, host),
            ("10.1.1.1", "https", ""),
            "{value}"
        );
    }
}

#[test]
fn of_both_kinds_only_what_both_say_counts() {
    let both = |forwarded| {
        told(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-port", "443"),
            ("forwarded", forwarded),
        ])
    };
    for (forwarded, expected) in [
        (
            "for=203.0.113.9;proto=https;host=shop.test",
            ("203.0.113.9", "https", "shop.test", 0),
        ),
        (
            "for=203.0.113.9;proto=https;host=evil.test",
            ("203.0.113.9", "https", "", 0),
        ),
        ("for=203.0.113.9;proto=http", ("203.0.113.9", "", "", 0)),
        ("for=6.6.6.6", ("", "", "", 0)),
        ("\"", ("", "", "", 0)),
    ] {
        let client = both(forwarded);
        let (address, scheme, host, port) = parts(&client);
        assert_eq!((&*address, scheme, host, port), expected, "{forwarded}");
    }
}

#[test]
fn a_port_of_another_host_is_not_sent_with_the_host_of_the_client() {
    for (lines, expected) in [
        (&[("x-forwarded-host", "shop.test")][..], None),
        (
            &[
                ("x-forwarded-host", "shop.test"),
                ("x-forwarded-port", "444"),
            ],
            Some("444"),
        ),
        (&[("x-forwarded-proto", "https")], Some("8000")),
    ] {
        let mut headers = map(&[("x-forwarded-port", "8000")]);
        told(lines).write(None, &mut headers);
        let port = headers.get(X_FORWARDED_PORT);
        assert_eq!(
            port.map(|port| port.to_str().unwrap()),
            expected,
            "{lines:?}"
        );
    }
}

#[test]
fn the_key_has_scheme_host_and_port_and_not_the_address() {
    let key = |lines: &[(&str, &str)]| told(lines).key_part();
    assert_eq!(key(&[("x-forwarded-for", "203.0.113.9")]), None);
    let full = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "Shop.test"),
        ("x-forwarded-port", "444"),
    ];
    assert_eq!(key(&full).as_deref(), Some("https://shop.test 444"));
    assert_eq!(key(&full[1..2]).as_deref(), Some(KEY_PART_OF_TLS));
    let over_tls = ForwardedClient::default().over_tls(false);
    assert_eq!(over_tls.key_part().as_deref(), Some(KEY_PART_OF_TLS));
    assert_eq!(key(&full[2..3]).as_deref(), Some("://shop.test"));
}

proptest! {
    #[test]
    fn any_headers_are_read_without_panic_and_nothing_invalid_is_passed_on(
        forwarded in "([a-z=;,\"\\\\ .:0-9\\[\\]]{0,30}|(for|host|proto)=\"?[a-z.0-9]{0,5}\"?[;,]?){0,5}",
        addresses in "[0-9a-f.:,\\[\\] _]{0,40}",
        host in "\\PC{0,12}",
    ) {
        let mut headers = map(&[("x-forwarded-for", &addresses)]);
        for (name, value) in [(header::FORWARDED, &forwarded), (X_FORWARDED_HOST, &host)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(name, value);
            }
        }
        let client = ForwardedClient::of(&headers, Some([127, 0, 0, 1].into()), is_trusted);
        prop_assert!(client.chain.len() <= MAX_HOPS);
        prop_assert!(client.host().is_none_or(|host| is_valid_host(host.as_bytes())));
        prop_assert!(client.key_part().is_none_or(|part| !part.contains(['\n', '\r', '\t'])));
    }
}
