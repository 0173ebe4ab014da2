//! A visitor with cookies, who sends and refuses what a browser does.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::client::{Answer, Client};

/// A visitor of one site, without a cache.
pub(crate) struct Visitor {
    port: u16,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    /// A visitor of the proxy on this port, without cookies.
    pub(crate) fn new(port: u16) -> Self {
        Self {
            port,
            cookies: BTreeMap::new(),
        }
    }

    /// What the address bar shows before the path.
    pub(crate) fn site(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Opens a page.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    /// The same with more headers: lines, each with CRLF.
    #[track_caller]
    pub(crate) fn get_with(&mut self, target: &str, fields: &str) -> Answer {
        self.send("GET", target, fields, "")
    }

    /// Sends a form from a page of the site.
    #[track_caller]
    pub(crate) fn post(&mut self, target: &str, form: &[(&str, &str)]) -> Answer {
        let site = self.site();
        self.post_from(&site, target, form)
    }

    /// Sends a form from a page of another site.
    #[track_caller]
    pub(crate) fn post_from(&mut self, site: &str, target: &str, form: &[(&str, &str)]) -> Answer {
        let escape = |text: &str| {
            text.replace('%', "%25")
                .replace('&', "%26")
                .replace(' ', "+")
        };
        let pairs = form
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)));
        let form = pairs.collect::<Vec<_>>().join("&");
        let fields = format!(
            "Origin: {site}\r\nReferer: {site}{target}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        );
        self.send("POST", target, &fields, &form)
    }

    /// Opens the page to which a response redirects.
    #[track_caller]
    pub(crate) fn follow(&mut self, answer: &Answer) -> Answer {
        assert!(
            (300..400).contains(&answer.status()),
            "{:?} {}",
            answer.head,
            answer.text()
        );
        let location = answer.field("location").unwrap();
        let target = location.strip_prefix(&self.site()).unwrap_or(location);
        assert!(
            target.starts_with('/'),
            "it leads away from the proxy: {location}"
        );
        let target = target.to_owned();
        self.get(&target)
    }

    #[track_caller]
    fn send(&mut self, method: &str, target: &str, fields: &str, body: &str) -> Answer {
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n{fields}",
            self.port
        );
        if !self.cookies.is_empty() {
            let pairs = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            write!(head, "Cookie: {}\r\n", pairs.collect::<Vec<_>>().join("; ")).unwrap();
        }
        if method == "POST" {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        let mut client = Client::connect(self.port);
        client.send(format!("{head}\r\n{body}"));
        let answer = client.answer_to(method);
        for cookie in answer.all("set-cookie") {
            self.keep(cookie);
        }
        answer
    }

    /// Keeps or removes a cookie. Panics where a browser would refuse it.
    #[track_caller]
    fn keep(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let (name, value) = pair.split_once('=').unwrap();
        let attributes = attributes.to_ascii_lowercase();
        for refused in ["domain=", "secure"] {
            assert!(!attributes.contains(refused), "a browser refuses {cookie}");
        }
        if attributes.contains("max-age=0") || attributes.contains(" 1970 ") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
