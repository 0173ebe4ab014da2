//! Chromium, driven over WebDriver.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    instance::Home,
    ports::free_port,
    waiting::{DEADLINE, until},
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
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts a browser that keeps its files in the home.
    pub(crate) fn open(home: &Home) -> Self {
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
        // A browser takes long to start beside other tests.
        client.wait_up_to(6 * DEADLINE);
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ));
        let answer = client.answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let mut answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["value"].take()
    }

    /// Sends a command about the page.
    pub(crate) fn order(&self, command: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}/{command}", self.session), body)
    }

    /// Opens a link, and waits until its page is loaded.
    pub(crate) fn go(&self, link: &str) {
        self.order("url", &json!({ "url": link }));
    }

    /// Loads the page again, as the button of a browser does.
    pub(crate) fn reload(&self) {
        self.order("refresh", &json!({}));
    }

    /// The result of a line of script.
    pub(crate) fn eval(&self, script: &str) -> Value {
        let body = json!({ "script": format!("return {script}"), "args": [] });
        self.order("execute/sync", &body)
    }

    /// The text of the first element that matches a selector.
    pub(crate) fn text(&self, selector: &str) -> String {
        let found = self.eval(&format!(
            "(document.querySelector({selector:?}) || {{}}).textContent || ''"
        ));
        found.as_str().unwrap().to_owned()
    }

    /// Waits until the first element that matches a selector has these words.
    #[track_caller]
    pub(crate) fn shows(&self, selector: &str, words: &str) {
        until(
            &format!("{selector} says {words:?}, not {:?}", self.text(selector)),
            || self.text(selector).contains(words),
        );
    }

    /// Clicks an element as a user does: it must be visible.
    pub(crate) fn click(&self, selector: &str) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.order("element", &wanted);
        let element = found.as_object().unwrap().values().next().unwrap();
        self.order(
            &format!("element/{}/click", element.as_str().unwrap()),
            &json!({}),
        );
    }

    /// The errors on the page's console.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.order("se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().unwrap().iter();
        lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the driver does not end Chromium. This panics at nothing, for a test that has failed.
        let end = format!(
            "DELETE {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.session, self.port
        );
        if !self.session.is_empty()
            && let Ok(mut driver) = TcpStream::connect(("127.0.0.1", self.port))
            && driver.set_read_timeout(Some(DEADLINE)).is_ok()
            && driver.write_all(end.as_bytes()).is_ok()
        {
            // The response comes when Chromium has ended. The connection stays open.
            driver.read_exact(&mut [0]).ok();
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
