//! The dashboard's page in a real browser. Ignored unless asked for:
//! `cargo test -- --include-ignored` runs these tests, and they fail where Chromium or its driver is missing.

use chrono::{Datelike as _, NaiveDate};
use rustls::{ALL_VERSIONS, pki_types::CertificateDer};
use serde_json::json;

use crate::{
    certificates::client, chromium::Browser, client::Client, dashboard::DashboardProxy,
    harness::until, instance::Home, origin::Origin, ports::free_port,
};

/// Writes `name.pem`, for `name.test` and localhost, valid until the beginning of this day, and `name.key`.
fn write_certificate(home: &Home, name: &str, end: NaiveDate) -> CertificateDer<'static> {
    let names = vec![format!("{name}.test"), "localhost".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    let (month, day) = (end.month().try_into(), end.day().try_into());
    params.not_after = rcgen::date_time_ymd(end.year(), month.unwrap(), day.unwrap());
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    home.write(&format!("{name}.pem"), &certificate.pem());
    home.write(&format!("{name}.key"), &key.serialize_pem());
    certificate.der().clone()
}

/// A browser that shows the page of a proxy in front of a counting origin.
fn live_page(home: &Home) -> (Browser, Origin, DashboardProxy) {
    let browser = Browser::open(home);
    let origin = Origin::counting("");
    let watched = DashboardProxy::start(home, &origin);
    browser.go(&watched.link);
    browser.shows("#live-text", "Live");
    (browser, origin, watched)
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn the_page_opens_with_its_link_shows_a_hit_and_clears() {
    let home = Home::new();
    let (browser, _origin, watched) = live_page(&home);
    assert_eq!(browser.eval("location.hash"), "");
    assert_eq!(browser.eval("document.cookie"), "");

    watched.proxy.get("/a?token=HUSH");
    watched.proxy.get("/a?token=HUSH");
    browser.shows("#requests li .badge.hit", "hit");
    browser.shows("#requests li .target", "GET /a?token=***");
    browser.shows("#ratio", "50.0 %");
    browser.shows("#saved-requests", "1");
    browser.shows("#entries li .target", "/a?token=***");

    browser.click("#clear");
    browser.click("#ask-yes");
    browser.shows("#done", "Cleared 1 response");
    browser.shows("#memory-note", "0 responses cached");
    assert_eq!(browser.text("#entries"), "");
    assert_eq!(watched.proxy.get("/a?token=HUSH").x_cache(), "MISS");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn untrusted_text_is_shown_as_text_and_the_page_fits_a_phone() {
    let home = Home::new();
    let (browser, _origin, watched) = live_page(&home);
    let long = "x".repeat(300);
    watched
        .proxy
        .get(&format!("/'onmouseover=alert(1)&lt;b/{long}"));
    browser.shows("#requests li .target", "&lt;b");
    assert_eq!(
        browser.eval("document.querySelectorAll('li b, li img, li script').length"),
        0
    );
    let narrow = json!({ "cmd": "Emulation.setDeviceMetricsOverride",
        "params": { "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true } });
    browser.order("goog/cdp/execute", &narrow);
    until("nothing is wider than the screen", || {
        browser.eval("document.documentElement.scrollWidth") == 390
    });
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn a_plot_has_a_gap_where_nothing_was_measured() {
    let home = Home::new();
    let (browser, _origin, _watched) = live_page(&home);
    let runs = |values: &str| browser.eval(&format!("runs({values}, 10)"));
    assert_eq!(runs("[]"), json!([]));
    assert_eq!(runs("[null, null]"), json!([]));
    // Requests every few seconds form one line, also from zero to zero.
    assert_eq!(
        runs("[0, null, null, 5, 0]"),
        json!([[[0, 0], [3, 5], [4, 0]]])
    );
    // After a pause of more than ten seconds a new line begins.
    let pause = "...Array(60).fill(null)";
    assert_eq!(
        runs(&format!("[1, 2, {pause}, 3, {pause}]")),
        json!([[[0, 1], [1, 2]], [[62, 3]]])
    );
    let drawn = |of: &str| {
        browser.eval(&format!(
            "(plot('latency-plot', [['miss', [1, 2, {pause}, 3, {pause}, 4, 5]]], 10, millis, 10, false), \
             document.querySelectorAll('#latency-plot {of}').length)"
        ))
    };
    assert_eq!((drawn("path.line"), drawn("circle")), (json!(2), json!(2)));
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn the_page_shows_what_clients_speak_and_which_certificates_they_get() {
    let home = Home::new();
    let browser = Browser::open(&home);
    let origin = Origin::counting("");
    let in_days = |days| chrono::Utc::now() + chrono::Duration::days(days);
    let (soon, late) = (in_days(10), in_days(400));
    let trusted = write_certificate(&home, "late", late.date_naive());
    write_certificate(&home, "soon", soon.date_naive());
    home.write(
        "config/proxy.toml",
        "tls = [{ cert = \"late.pem\", key = \"late.key\" }, { cert = \"soon.pem\", key = \"soon.key\" }]\n",
    );
    let port = free_port();
    let tls_port = ["--tls-port", &port.to_string()];
    let watched = DashboardProxy::start_with(&home, &origin, &tls_port);
    browser.go(&watched.link);
    browser.shows("#live-text", "Live");
    assert_eq!(
        browser.eval("document.getElementById('protocols').hidden"),
        true
    );

    watched.proxy.get("/");
    let mut client = Client::connect_tls(port, client(trusted, ALL_VERSIONS)).unwrap();
    for _ in 0..2 {
        assert_eq!(client.ask("/", "").answer().status(), 200);
    }
    browser.shows("#protocols", "HTTP/1.1 without TLS1HTTP/1.1 over TLS2");
    let connections = "Connections: 1 without TLS, 1 with TLS";
    browser.shows("#clients-note", connections);
    let row = |name: &str, days: u32, end: &str| {
        format!("{name}.test{days} days{name}.pem · valid until {end}")
    };
    let day = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d").to_string();
    let rows = row("late", 399, &day(late)) + &row("soon", 9, &day(soon));
    browser.shows("#certificates", &rows);
    let marked = "document.querySelectorAll('#certificates [data-state=bad]').length";
    assert_eq!(browser.eval(marked), 1);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn without_the_token_the_page_says_where_to_find_it() {
    let home = Home::new();
    let browser = Browser::open(&home);
    let origin = Origin::counting("");
    let watched = DashboardProxy::start(&home, &origin);
    let (address, _) = watched.link.split_once('#').unwrap();
    browser.go(address);
    browser.shows("#live-text", "Locked");
    assert_eq!(browser.eval("document.getElementById('page').hidden"), true);
    browser.go(&format!("{address}#token=wrong"));
    until("the token is taken out of the address", || {
        browser.eval("location.hash") == ""
    });
    browser.shows("#live-text", "Locked");
    // In the same tab this is a new fragment, not a new page.
    browser.go(&watched.link);
    browser.shows("#live-text", "Live");
}

#[test]
#[ignore = "needs chromium and chromedriver: cargo test -- --include-ignored"]
fn a_reload_works_and_the_browser_sends_nothing_of_the_dashboard_through_the_proxy() {
    let home = Home::new();
    let (browser, origin, watched) = live_page(&home);
    browser.reload();
    browser.shows("#live-text", "Live");
    assert_eq!(browser.eval("location.hash"), "");

    // The same host, another port: cookies would be sent, and would make a partition.
    browser.go(&format!("http://127.0.0.1:{}/page", watched.proxy.port));
    let seen = origin.seen();
    let seen = seen.iter().find(|seen| seen.target() == "/page").unwrap();
    assert_eq!(seen.field("cookie"), None);
    assert_eq!(seen.field("authorization"), None);
    assert_eq!(watched.proxy.get("/page").x_cache(), "HIT");
}
