//! `--offline` and `offline on|off` with the real binary.

use serde_json::json;

use crate::{client::Client, instance::Home, origin::Origin, ports::free_port};

#[test]
fn a_proxy_that_starts_offline_needs_no_origin() {
    let home = Home::new();
    home.write("config/proxy.toml", "offline = true\n");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let by_key = home.start(&nobody, &[]);
    let by_flag = home.start(&nobody, &["--offline"]);
    let by_variable = home.start_with(&nobody, &[], &[("CACHING_PROXY_OFFLINE", "true")]);
    let overridden = home.start(&nobody, &["--offline=false"]);
    for proxy in [&by_key, &by_flag, &by_variable] {
        let response = proxy.get("/a");
        assert_eq!(response.status(), 504);
        assert_eq!(
            response.text(),
            "The proxy is offline, and no stored response matches GET /a.\nNothing is stored.\n"
        );
    }
    assert_eq!(overridden.get("/a").status(), 502);
    let log = by_flag.whole_log();
    assert!(
        log.contains("offline: no requests go to an origin"),
        "{log}"
    );
    assert!(!log.contains("cannot reach the origin"), "{log}");
    assert!(
        log.contains("MISS 504 GET /a") && log.contains("Nothing is stored."),
        "{log}"
    );
}

#[test]
fn offline_on_and_off_switch_a_running_proxy_and_everything_says_so() {
    let origin = Origin::counting("Cache-Control: max-age=0\r\nETag: \"a\"\r\n");
    let home = Home::new();
    let metrics = format!("127.0.0.1:{}", free_port());
    let proxy = home.start(&origin.url(), &["--metrics", &metrics]);
    let port: u16 = metrics.rsplit(':').next().unwrap().parse().unwrap();
    let figure = |path: &str| Client::connect(port).ask(path, "").answer().text();
    proxy.get("/a");
    assert_eq!(
        home.run_ok(&["offline", "on"]),
        "Offline: cached responses are served, no request goes to an origin\n"
    );
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
    assert_eq!(home.run_json(&["stats", "--json"])["is_offline"], true);
    assert!(
        home.run_ok(&["stats"])
            .contains("\noffline: no request goes to the origin")
    );
    assert_eq!(
        figure("/readyz"),
        "ok, offline: only what is cached is served\n"
    );
    assert!(figure("/metrics").contains("\ncaching_proxy_offline 1\n"));
    let told = home.run_json(&["why", "/a", "--json"]);
    assert_eq!(
        (&told["outcome"], &told["reason"]["name"]),
        (&json!("stale-hit"), &json!("offline"))
    );
    let told = home.run_json(&["why", "/a?b", "--json"]);
    assert_eq!(told["outcome"], "refuse");
    assert_eq!(
        told["notes"],
        json!([
            "Nearest stored: GET /a.",
            "Differs: query parameter b (stored none, requested \"\")."
        ])
    );
    let warm = home.run(&["warm", "/sitemap.xml"]);
    warm.refused(1, &["the proxy is offline", "caching-proxy offline off"]);
    // A reload does not change what the command has said.
    home.run(&["reload"]);
    assert_eq!(proxy.get("/b").status(), 504);
    let again = home.run(&["offline", "on"]);
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (Some(0), "no change\n")
    );
    assert_eq!(
        home.run_json(&["offline", "off", "--json"]),
        json!({"is_offline": false, "has_changed": true, "open_tunnels": 0})
    );
    assert_eq!(figure("/readyz"), "ok\n");
    proxy.get("/b").expect(200, "MISS", "GET /b #0");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_reload_reads_the_key_unless_a_command_has_said_otherwise() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    home.write("config/proxy.toml", "offline = true\n");
    let reloaded = home.run(&["reload"]);
    assert_eq!(reloaded.stderr, "changed: offline\n");
    assert_eq!(proxy.get("/a").status(), 504);
    home.run_ok(&["offline", "off"]);
    home.run(&["reload"]);
    assert_eq!(proxy.get("/a").status(), 200);
}

#[test]
fn a_word_that_is_neither_on_nor_off_is_refused() {
    let home = Home::new();
    home.run(&["offline", "maybe"]).refused(2, &["on", "off"]);
    home.run(&["offline"]).refused(2, &["on|off"]);
    home.run(&["offline", "on"])
        .refused(4, &["no running caching-proxy found"]);
}
