//! The dashboard's page in a real browser: Chromium, driven over WebDriver. Ignored unless asked for:
//! `cargo test -- --include-ignored` runs these tests, and they fail where Chromium or its driver is missing.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    client::Client, dashboard::DashboardProxy, harness::until, instance::Home, origin::Origin,
    ports::free_port,
};

/// The path of a program in `PATH`. Panics without it.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("this test needs {name}, which is not on the PATH: install it, or run `cargo test` without --include-ignored"))
}

/// A headless browser. Dropping it ends it.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    fn open(home: &Home) -> Self {
        let (driver, chromium) = (installed("chromedriver"), installed("chromium"));
        let port = free_port();
        let driver = Command::new(driver)
            .arg(format!("--port={port}"))
            .env("HOME", home.path("work"))
            .env("TMPDIR", home.path("tmp"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
        };
        until("the driver listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "binary": chromium, "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let opened = browser.call("POST", "/session", &wanted);
        browser.session = format!("/session/{}", opened["sessionId"].as_str().unwrap());
        browser
    }

    fn call(&self, method: &str, target: &str, body: &Value) -> Value {
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let (port, length) = (self.port, body.len());
        let mut client = Client::connect(port);
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ));
        let answer = client.answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let mut answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["value"].take()
    }

    fn go(&self, link: &str) {
        self.call(
            "POST",
            &format!("{}/url", self.session),
            &json!({ "url": link }),
        );
    }

    /// The result of a line of script.
    fn eval(&self, script: &str) -> Value {
        let body = json!({ "script": format!("return {script}"), "args": [] });
        self.call("POST", &format!("{}/execute/sync", self.session), &body)
    }

    /// The text of the first element that matches a selector.
    fn text(&self, selector: &str) -> String {
        let found = self.eval(&format!(
            "(document.querySelector({selector:?}) || {{}}).textContent || ''"
        ));
        found.as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn shows(&self, selector: &str, words: &str) {
        until(
            &format!("{selector} says {words:?}, not {:?}", self.text(selector)),
            || self.text(selector).contains(words),
        );
    }

    /// Clicks an element as a user does: it must be visible.
    fn click(&self, selector: &str) {
        let found = self.call(
            "POST",
            &format!("{}/element", self.session),
            &json!({ "using": "css selector", "value": selector }),
        );
        let element = found.as_object().unwrap().values().next().unwrap();
        let target = format!(
            "{}/element/{}/click",
            self.session,
            element.as_str().unwrap()
        );
        self.call("POST", &target, &json!({}));
    }

    /// The errors on the page's console.
    fn complaints(&self) -> Vec<String> {
        let log = self.call(
            "POST",
            &format!("{}/se/log", self.session),
            &json!({ "type": "browser" }),
        );
        let lines = log.as_array().unwrap().iter();
        lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", &self.session, &json!({}));
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
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
    browser.call(
        "POST",
        &format!("{}/goog/cdp/execute", browser.session),
        &narrow,
    );
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
    browser.call("POST", &format!("{}/refresh", browser.session), &json!({}));
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
