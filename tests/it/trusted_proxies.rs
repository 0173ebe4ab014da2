//! What proxies in front of this one say about clients: X-Forwarded-* and Forwarded.

use caching_proxy::config::Config;

use crate::{
    client::Client,
    harness::TestProxy,
    instance::{Home, Instance},
    origin::{Origin, Seen},
};

const LOOPBACK: &[&str] = &["--trusted-proxies", "127.0.0.0/8,::1"];
const TOLD: &str = "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n";
const NAMES: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
    "x-real-ip",
];

/// The headers about the client, as the origin got them; empty ones are left out.
fn told(request: &Seen) -> Vec<(&'static str, String)> {
    let told = NAMES.map(|name| (name, request.fields(name).join(" | ")));
    told.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn start(home: &Home, origin: &Origin, args: &[&str]) -> Instance {
    home.start(&origin.url(), args)
}

/// What the origin is told by the proxy if this request comes from its peer.
fn told_of(args: &[&str], lines: &str) -> Vec<(&'static str, String)> {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, args);
    assert_eq!(proxy.get_with("/a", lines).status(), 200);
    told(&origin.only())
}

#[test]
fn nobody_is_trusted_unless_it_is_listed() {
    let more = format!(
        "{TOLD}X-Forwarded-Port: 443\r\nX-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9;host=evil.test\r\n"
    );
    for args in [&[][..], &["--trusted-proxies", "10.0.0.0/8,::1,unix"]] {
        let told = told_of(args, &more);
        assert_eq!(
            told,
            [
                ("x-forwarded-for", "127.0.0.1".to_owned()),
                ("x-forwarded-proto", "http".to_owned())
            ]
        );
    }
}

#[test]
fn what_a_trusted_proxy_says_is_passed_on_without_what_its_client_said() {
    let more = format!(
        "{TOLD}X-Forwarded-Port: 443\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Prefix: /evil\r\n"
    );
    let expected = [
        ("x-forwarded-for", "203.0.113.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-port", "443"),
    ];
    assert_eq!(
        told_of(LOOPBACK, &more),
        expected.map(|(name, value)| (name, value.to_owned()))
    );
    let forwarded =
        "Forwarded: for=6.6.6.6, for=\"203.0.113.9:4711\";proto=https;host=shop.test\r\n";
    assert_eq!(
        told_of(LOOPBACK, forwarded),
        expected[..3]
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect::<Vec<_>>()
    );
}

#[test]
fn where_both_kinds_disagree_neither_is_believed() {
    let forged = format!("{TOLD}Forwarded: for=6.6.6.6;proto=http;host=evil.test\r\n");
    assert_eq!(
        told_of(LOOPBACK, &forged),
        [
            ("x-forwarded-for", "127.0.0.1".to_owned()),
            ("x-forwarded-proto", "http".to_owned())
        ]
    );
}

#[test]
fn scheme_and_host_are_in_the_key_and_the_address_is_not() {
    let origin = Origin::start(|exchange| {
        let told: Vec<String> = ["x-forwarded-proto", "x-forwarded-host"]
            .iter()
            .flat_map(|name| exchange.request.fields(name))
            .collect();
        exchange.ok("Cache-Control: max-age=60\r\n", told.join(" "));
    });
    let home = Home::new();
    let proxy = start(&home, &origin, LOOPBACK);
    for x_cache in ["MISS", "HIT"] {
        for (client, scheme, host) in [
            (1, "https", "a.test"),
            (2, "https", "b.test"),
            (3, "http", "a.test"),
        ] {
            let lines = format!(
                "X-Forwarded-For: 203.0.113.{client}\r\nX-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {host}\r\n"
            );
            let response = proxy.get_with("/a", &lines);
            response.expect(200, x_cache, &format!("{scheme} {host}"));
        }
        // Without any of this the key is the plain one.
        proxy.get("/a").expect(200, x_cache, "http");
        let lines = "X-Forwarded-For: 203.0.113.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: A.test\r\n";
        proxy
            .get_with("/a", lines)
            .expect(200, "HIT", "https a.test");
    }
    let listed = home.run_ok(&["ls", "--port", &proxy.port.to_string()]);
    assert!(listed.contains("https://a.test"), "{listed}");
    home.run_ok(&["purge", "/a", "--port", &proxy.port.to_string()]);
    proxy.get("/a").expect(200, "MISS", "http");
}

#[test]
fn headers_of_the_client_about_the_proxys_own_host_name_the_origin() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, LOOPBACK);
    let lines = format!("{TOLD}Destination: https://shop.test/b\r\n");
    assert_eq!(proxy.get_with("/a", &lines).status(), 200);
    let destination = format!("{}/b", origin.url());
    assert_eq!(origin.only().field("destination"), Some(destination));
}

#[test]
fn the_log_names_the_client_that_a_trusted_proxy_names() {
    let origin = Origin::counting("");
    let home = Home::new();
    let args = [LOOPBACK, &["--log-format", "combined"]].concat();
    let proxy = start(&home, &origin, &args);
    proxy.get_with("/a", TOLD);
    proxy.get_with("/b", "X-Forwarded-For: rubbish\r\n");
    assert!(proxy.log_line(&["GET /a "]).starts_with("203.0.113.9 - "));
    assert!(proxy.log_line(&["GET /b "]).starts_with("127.0.0.1 - "));
}

#[test]
fn rubbish_from_a_trusted_proxy_harms_nobody() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, LOOPBACK);
    let long = "x".repeat(3000);
    for rubbish in [
        ", , ,",
        &long,
        "203.0.113.9:99999999",
        "[::1",
        "\"",
        "1.2.3.4, ,",
    ] {
        let lines = format!(
            "X-Forwarded-For: {rubbish}\r\nForwarded: for={rubbish}\r\nX-Forwarded-Proto: javascript\r\n\
             X-Forwarded-Host: {rubbish}\r\nX-Forwarded-Port: {rubbish}\r\n"
        );
        assert_eq!(proxy.get_with("/a", &lines).status(), 200, "{rubbish}");
        let told = told(&origin.last());
        assert!(
            !told.iter().any(|(name, _)| *name == "x-forwarded-host"),
            "{told:?}"
        );
        assert!(
            told.contains(&("x-forwarded-proto", "http".to_owned())),
            "{told:?}"
        );
    }
}

#[test]
fn networks_that_are_none_are_refused_by_name() {
    let home = Home::new();
    for bad in ["10.0.0.0/99", "nonsense", "300.1.1.1"] {
        home.write(
            "config/proxy.toml",
            &format!("trusted_proxies = [\n  \"10.0.0.0/8\",\n  \"{bad}\",\n]\n"),
        );
        let finished = home.run(&["--origin", "http://127.0.0.1:9"]);
        finished.refused(2, &["proxy.toml:3: trusted_proxies", bad, "10.0.0.0/8"]);
    }
}

#[test]
fn hits_need_no_more_headers_when_a_proxy_is_trusted() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = Client::connect(proxy.port);
    client
        .ask("/a", TOLD)
        .answer()
        .expect(200, "MISS", "GET /a #0");
    client
        .ask("/a", "")
        .answer()
        .expect(200, "HIT", "GET /a #0");
}

/// A proxy that trusts its peer, before an origin with this path in its URL.
fn below(origin: &Origin, path: &str, preserve_host: bool) -> TestProxy {
    let url = format!("{}{path}", origin.url());
    TestProxy::for_url(&url)
        .with(|config| {
            config.preserve_host = preserve_host;
            let given = [
                ("trusted-proxies", LOOPBACK[1].into()),
                ("origin", url.clone().into()),
            ];
            let loaded = Config::load(&given.into(), &|_| None).unwrap();
            config.deployment.trusted_proxies = loaded.deployment.trusted_proxies;
        })
        .start()
}

#[test]
fn a_location_with_the_told_host_loses_the_path_of_the_origin() {
    let origin = Origin::start(|exchange| {
        let location = exchange.request.field("x-location").unwrap();
        let lines = format!("Cache-Control: max-age=60\r\nLocation: {location}\r\n");
        exchange.answer("302 Found", &lines, "");
    });
    let proxy = below(&origin, "/app", false);
    for (number, (told, location, expected)) in [
        (TOLD, "https://shop.test/app/next", "/next"),
        (TOLD, "https://SHOP.test:443/app", "/"),
        (TOLD, "//shop.test/app/next", "/next"),
        // Many applications believe to be reached over http.
        (TOLD, "http://shop.test/app/next", "/next"),
        (TOLD, "https://shop.test/other", "https://shop.test/other"),
        (
            TOLD,
            "https://evil.test/app/next",
            "https://evil.test/app/next",
        ),
        (
            "",
            "https://shop.test/app/next",
            "https://shop.test/app/next",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let lines = format!("{told}X-Location: {location}\r\n");
        // The third response is prepared.
        for x_cache in ["MISS", "HIT", "HIT", "HIT"] {
            let response = proxy.get_with(&format!("/{number}"), &lines);
            assert_eq!(response.x_cache(), x_cache);
            assert_eq!(response.field("location"), Some(expected), "{location}");
        }
    }
}

#[test]
fn a_location_invalidates_what_is_stored_for_the_told_host() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "POST" => {
            let location = exchange.request.field("x-location").unwrap();
            exchange.answer("201 Created", &format!("Location: {location}\r\n"), "");
        }
        _ => {
            let body = format!("#{}", exchange.nth);
            exchange.ok("Cache-Control: max-age=60\r\n", body);
        }
    });
    let other_host = TOLD.replace("shop.test", "other.test");
    for preserve_host in [false, true] {
        let proxy = below(&origin, "/app", preserve_host);
        for location in [
            "/app/items/1",
            "1",
            "https://shop.test/app/items/1",
            &format!("{}/app/items/1", origin.url()),
        ] {
            proxy.clear();
            for lines in [TOLD, "", &other_host] {
                assert_eq!(proxy.get_with("/items/1", lines).x_cache(), "MISS");
                assert_eq!(proxy.get_with("/items/1", lines).x_cache(), "HIT");
            }
            let lines = format!("{TOLD}X-Location: {location}\r\n");
            let created = proxy.request("POST", "/items/", &lines, b"x");
            assert_eq!(created.status(), 201);
            let x_cache = |lines: &str| proxy.get_with("/items/1", lines).x_cache().to_owned();
            assert_eq!(x_cache(TOLD), "MISS", "{location}, {preserve_host}");
        }
        // A reference to another host invalidates nothing.
        assert_eq!(proxy.get_with("/items/1", TOLD).x_cache(), "HIT");
        let lines = format!("{TOLD}X-Location: https://other.test/app/items/1\r\n");
        proxy.request("POST", "/items/", &lines, b"x");
        assert_eq!(proxy.get_with("/items/1", TOLD).x_cache(), "HIT");
    }
}

#[test]
fn why_says_whether_the_headers_of_a_proxy_count() {
    let (origin, other) = (Origin::counting(""), Origin::counting(""));
    let home = Home::new();
    let file = format!(
        "[[routes]]\nhost = \"shop.test\"\norigin = \"{}\"\n",
        other.url()
    );
    home.write("config/proxy.toml", &file);
    let _proxy = start(&home, &origin, &["--trusted-proxies", "10.0.0.0/8"]);
    let why = |args: &[&str]| home.run_ok(&[&["why", "/a"], args].concat());
    let host = ["-H", "X-Forwarded-Host: shop.test"];
    let told = why(&host);
    assert!(
        told.contains(
            "X-Forwarded-* and Forwarded are ignored: the request is taken as one from 127.0.0.1, which trusted_proxies \
             does not name; --from sets another address\n"
        ),
        "{told}"
    );
    assert!(told.contains(&origin.url()), "{told}");
    let told = why(&[&host[..], &["--from", "10.1.2.3"]].concat());
    assert!(
        told.contains(
            "X-Forwarded-* and Forwarded count: the request is taken as one from 10.1.2.3, which trusted_proxies names\n"
        ),
        "{told}"
    );
    assert!(told.contains(&other.url()), "{told}");
    let told = why(&["--from", "10.1.2.3"]);
    assert!(!told.contains("trusted_proxies"), "{told}");
    home.run(&["why", "/a", "--from", "shop.test"])
        .refused(2, &["--from", "shop.test"]);
}

#[test]
fn the_log_shows_the_address_of_the_client_that_a_trusted_proxy_names() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, LOOPBACK);
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(proxy.get_with("/a", TOLD).x_cache(), x_cache);
        let line = proxy.log_line(&[x_cache, "GET /a "]);
        assert!(line.ends_with("  client 203.0.113.9"), "{line}");
    }
    // A loopback address says nothing.
    proxy.get("/b");
    let line = proxy.log_line(&["GET /b "]);
    assert!(!line.contains("client"), "{line}");
    let args = [LOOPBACK, &["--log-format", "json"]].concat();
    let proxy = start(&home, &origin, &args);
    proxy.get_with("/a", TOLD);
    proxy.log_line(&["\"target\":\"/a\"", "\"client\":\"203.0.113.9\""]);
    proxy.get("/b");
    proxy.log_line(&["\"target\":\"/b\"", "\"client\":\"127.0.0.1\""]);
}
