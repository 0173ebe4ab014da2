//! `warm` with sitemaps, hostile ones included.

use serde_json::json;

use crate::{instance::Home, origin::Origin, warm::summary};

fn urlset(locations: &[&str]) -> String {
    let urls: String = locations
        .iter()
        .map(|location| format!("<url><loc>{location}</loc></url>\n"))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n{urls}</urlset>"
    )
}

fn index(locations: &[String]) -> String {
    let sitemaps: String = locations
        .iter()
        .map(|location| format!("<sitemap><loc>{location}</loc></sitemap>\n"))
        .collect();
    format!("<sitemapindex>{sitemaps}</sitemapindex>")
}

/// An origin with this `/sitemap.xml`; every other path is a page.
fn with_sitemap(sitemap: impl Into<Vec<u8>>) -> Origin {
    let sitemap = sitemap.into();
    Origin::start(move |exchange| match exchange.target().as_str() {
        "/sitemap.xml" => exchange.ok("Content-Type: application/xml\r\n", &sitemap),
        target => exchange.ok("", target),
    })
}

fn targets(origin: &Origin) -> Vec<String> {
    let mut targets: Vec<String> = origin.seen().iter().map(|seen| seen.target()).collect();
    targets.sort();
    targets
}

#[test]
fn a_sitemap_is_read_through_the_proxy_with_its_entities_decoded() {
    let sitemap = urlset(&[
        "https://www.shop.test/a?b=1&amp;c=&#50;",
        "https://www.shop.test/a?b=1&amp;c=2",
        "https://elsewhere.test/d",
        "/e",
    ]);
    let origin = with_sitemap(sitemap);
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let done = home.run(&[
        "warm",
        "/sitemap.xml",
        "--site",
        "www.shop.test",
        "-H",
        "Accept-Encoding: gzip",
        "--json",
    ]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = summary(&done);
    assert_eq!(
        [&done["paths"], &done["stored_now"], &done["sitemaps"]],
        [2, 2, 1]
    );
    assert_eq!([&done["duplicates"], &done["other_hosts"]], [1, 1]);
    assert_eq!(targets(&origin), ["/a?b=1&c=2", "/e", "/sitemap.xml"]);
    let seen = origin.seen();
    assert_eq!(seen[0].field("accept-encoding"), None);
    assert_eq!(seen[1].field("accept-encoding").as_deref(), Some("gzip"));
    // The URLs on the origin and on the proxy name the same sitemap.
    for url in [
        format!("{}/sitemap.xml", origin.url()),
        format!("http://localhost:{}/sitemap.xml", proxy.port),
    ] {
        let done = home.run(&["warm", &url]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(
            done.stdout
                .contains("on other hosts        3  elsewhere.test 1, www.shop.test 2\n"),
            "{done:?}"
        );
    }
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_sitemap_with_other_hosts_only_gets_a_suggestion() {
    let origin = with_sitemap(urlset(&["https://www.shop.test/a"]));
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let done = home.run(&["warm", "/sitemap.xml"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("--site www.shop.test"), "{done:?}");
    home.run(&["warm", "https://www.shop.test/sitemap.xml"])
        .refused(2, &["--site www.shop.test"]);
}

#[test]
fn sitemaps_of_an_index_are_read_once_and_failures_are_named() {
    let origin = Origin::start(|exchange| {
        let names = |names: &[&str]| {
            index(
                &names
                    .iter()
                    .map(|name| format!("/{name}.xml"))
                    .collect::<Vec<_>>(),
            )
        };
        match exchange.target().as_str() {
            "/index.xml" => exchange.ok("", names(&["one", "two", "one", "index", "none", "html"])),
            "/one.xml" => exchange.ok("", urlset(&["/a", "/b"])),
            "/two.xml" => exchange.ok("", urlset(&["/b", "/c"])),
            "/none.xml" => exchange.answer("404 Not Found", "", ""),
            "/html.xml" => exchange.ok("", "<html></html>"),
            _ => exchange.ok("", "page"),
        }
    });
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let done = home.run(&["warm", "/index.xml", "--json"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let done = summary(&done);
    assert_eq!(
        [
            &done["sitemaps"],
            &done["paths"],
            &done["stored_now"],
            &done["failed"]
        ],
        [3, 3, 3, 2]
    );
    assert_eq!(
        done["failures"][0],
        json!({"path": "/none.xml", "status": null, "error": "sitemap: 404 Not Found"})
    );
    assert_eq!(done["failures"][1]["path"], "/html.xml");
    assert_eq!(
        targets(&origin),
        [
            "/a",
            "/b",
            "/c",
            "/html.xml",
            "/index.xml",
            "/none.xml",
            "/one.xml",
            "/two.xml"
        ]
    );
}

#[test]
fn indexes_are_followed_to_a_limited_depth_and_number() {
    let origin = Origin::start(|exchange| {
        let target = exchange.target();
        let number = |prefix: &str| {
            target
                .strip_prefix(prefix)
                .and_then(|rest| rest.parse::<u64>().ok())
        };
        if let Some(number) = number("/deep/") {
            exchange.ok("", index(&[format!("/deep/{}", number + 1)]));
        } else if target == "/wide" {
            exchange.ok(
                "",
                index(
                    &(0..5000)
                        .map(|number| format!("/leaf/{number}"))
                        .collect::<Vec<_>>(),
                ),
            );
        } else {
            exchange.ok("", urlset(&[]));
        }
    });
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let deep = home.run(&["warm", "/deep/0"]);
    assert_eq!(deep.code, Some(1), "{deep:?}");
    assert!(
        deep.stdout
            .contains("failed: /deep/3: sitemap: indexes are followed 3 deep"),
        "{deep:?}"
    );
    assert_eq!(
        targets(&origin),
        ["/deep/0", "/deep/1", "/deep/2", "/deep/3"]
    );
    let wide = home.run(&["warm", "/wide"]);
    assert_eq!(wide.code, Some(1), "{wide:?}");
    assert!(
        wide.stdout.contains("lists more than 1000 sitemaps"),
        "{wide:?}"
    );
    assert_eq!(origin.count(), 4 + 1000);
}

#[test]
fn a_hostile_sitemap_is_refused_with_a_message() {
    let home = Home::new();
    let entities =
        "<!DOCTYPE urlset [<!ENTITY a \"/a\"><!ENTITY b SYSTEM \"file:///etc/passwd\">]>";
    let bomb = format!("{entities}<urlset><url><loc>&a;&b;</loc></url></urlset>");
    let deep = format!("<urlset>{}", "<url>".repeat(1_000_000));
    let cut = urlset(&["/a"]).replace("</urlset>", "");
    let cases: [(&[u8], &str); 6] = [
        (bomb.as_bytes(), "document type"),
        (b"<urlset><url><loc>&nbsp;</loc></url></urlset>", "&nbsp;"),
        (deep.as_bytes(), "deeper than 32"),
        (cut.as_bytes(), "ends within"),
        (
            &[0x1f, 0x8b, 8, 0],
            "compressed with gzip, and warm reads plain XML only: give",
        ),
        (b"{\"urls\":[]}", "<urlset>"),
    ];
    for (sitemap, words) in cases {
        let origin = with_sitemap(sitemap);
        let _proxy = home.start(&origin.url(), &[]);
        let refused = home.run(&["warm", "/sitemap.xml"]);
        refused.refused(1, &["/sitemap.xml", words]);
        assert_eq!(
            refused.stderr.contains("no file with that name"),
            words == "<urlset>",
            "{refused:?}"
        );
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn an_endless_sitemap_is_abandoned() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n");
        exchange.filler(200_000_000);
        exchange.close();
    });
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    home.run(&["warm", "/sitemap.xml"])
        .refused(1, &["larger than 52428800 bytes"]);
    let silent = Origin::start(|exchange| exchange.stall());
    let other = home.start(&silent.url(), &[]);
    let port = other.port.to_string();
    home.run(&["warm", "/sitemap.xml", "--port", &port, "--timeout", "50ms"])
        .refused(1, &["no complete response within 50ms"]);
}

#[test]
fn a_missing_sitemap_is_reported_as_no_file() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/old.xml" => exchange.answer("301 Moved Permanently", "Location: /new.xml\r\n", ""),
        _ => exchange.answer("404 Not Found", "", ""),
    });
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    home.run(&["warm", "/old.xml"])
        .refused(1, &["/old.xml", "301 Moved Permanently, to /new.xml"]);
    home.run(&["warm", "/list.txt"])
        .refused(1, &["/list.txt", "404 Not Found; there is no file"]);
}

#[test]
fn a_location_that_controls_the_terminal_is_not_printed() {
    let origin = Origin::start(|exchange| {
        let location = "Location: /\u{9b}31m\u{202e}gnp\r\n";
        exchange.answer("302 Found", location, "")
    });
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let done = home.run(&["warm", "/old.xml"]);
    done.refused(1, &["cannot read /old.xml as a sitemap: 302 Found\n"]);
    assert!(done.stderr.is_ascii(), "{done:?}");
}

#[test]
fn a_single_path_gets_a_suggestion() {
    let origin = Origin::start(|exchange| exchange.ok("", "<html><body/></html>"));
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let hint = "To warm single paths: printf '/a\\n/b\\n' | caching-proxy warm -\n";
    home.run(&["warm", "/products/1"]).refused(
        1,
        &[
            "/products/1",
            "not a sitemap",
            "no file with that name",
            hint,
        ],
    );
}

#[test]
fn a_long_wrong_argument_is_shortened_in_the_message() {
    let origin = Origin::start(|exchange| exchange.answer("404 Not Found", "", ""));
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let long = "x".repeat(5000);
    let field = format!("{long}: \u{1}");
    for (line, code) in [
        (&["warm", long.as_str()][..], 2),
        (&["warm", &format!("/{long}")], 1),
        (&["warm", &format!("http://{long}/")], 2),
        (&["warm", "-", "-H", &field], 2),
        (&["warm", "-", "--site", &long], 2),
        (&["warm", "-", "--site", &format!("a:{}", &long[..200])], 2),
    ] {
        let refused = home.run(line);
        refused.refused(code, &["error: "]);
        assert!(refused.stderr.len() < 600, "{refused:?}");
    }
    std::fs::write(home.path("work/list.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    home.run(&["warm", "list.gz"])
        .refused(2, &["line 1: it is compressed with gzip; unpack it first"]);
}
