//! Origins that are reached through a forward proxy, and certificates that are not checked.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use crate::{
    client::Answer,
    failure::assert_plain,
    harness::DEADLINE,
    instance::{Home, Instance},
    origin::Origin,
    ports::{self, free_port},
    tls::{Identity, by_private_ca, params, self_signed},
};

/// A proxy that answers each CONNECT with the same text, and relays the bytes after a 200.
struct ConnectProxy {
    port: u16,
    heads: Receiver<String>,
}

impl ConnectProxy {
    /// Relays to `origin_port`, whatever the client names. `None`: it sends nothing after its answer, and leaves the
    /// connection open.
    fn start(answer: &'static str, origin_port: Option<u16>) -> Self {
        let listener = ports::listener();
        let port = listener.local_addr().unwrap().port();
        let (sender, heads) = channel();
        thread::spawn(move || accept(&listener, answer, origin_port, &sender));
        Self { port, heads }
    }

    /// The head of the next CONNECT.
    fn head(&self) -> String {
        self.heads.recv_timeout(DEADLINE).unwrap()
    }

    /// Its URL, with credentials.
    fn url(&self) -> String {
        format!("http://me:s3cr3t@127.0.0.1:{}", self.port)
    }
}

fn accept(listener: &TcpListener, answer: &str, origin_port: Option<u16>, heads: &Sender<String>) {
    let mut silent = Vec::new();
    for client in listener.incoming() {
        let mut client = client.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if client.read_exact(&mut byte).is_err() {
                break;
            }
            head.push(byte[0]);
        }
        // The test may be over.
        let _ = heads.send(String::from_utf8_lossy(&head).into_owned());
        // The start of the proxy under test connects too, and may have left.
        let _ = client.write_all(answer.as_bytes());
        match origin_port {
            Some(port) => relay(client, TcpStream::connect(("127.0.0.1", port)).unwrap()),
            None => silent.push(client),
        }
    }
}

fn relay(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ] {
        thread::spawn(move || {
            // A side that has ended by itself makes these fail, and that is all they are to notice.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// Writes the certificate to trust, and returns its path.
fn pem(home: &Home, identity: &Identity) -> String {
    home.write("ca.pem", &identity.trusted_pem);
    home.path("work/ca.pem").display().to_string()
}

/// An origin that plays the proxy for http origins: it sees the requests as a proxy does.
fn reading_proxy() -> Origin {
    Origin::start(|exchange| {
        let target = exchange.target();
        exchange.ok("", format!("for {target}"));
    })
}

fn proxy_url(proxy: &Origin) -> String {
    format!("http://me:s3cr3t@127.0.0.1:{}", proxy.port())
}

#[test]
fn an_http_origin_is_reached_by_requests_in_absolute_form() {
    let reading = reading_proxy();
    let home = Home::new();
    let url = proxy_url(&reading);
    let proxy = home.start_with("http://origin.test/v1", &[], &[("http_proxy", &url)]);
    let client_credentials = "Proxy-Authorization: Basic Y2xpZW50\r\n";
    let body = "for http://origin.test/v1/x?y=1";
    proxy
        .get_with("/x?y=1", client_credentials)
        .expect(200, "MISS", body);
    proxy.get("/x?y=1").expect(200, "HIT", body);
    let seen = reading.last();
    assert_eq!(seen.field("host").as_deref(), Some("origin.test"));
    // me:s3cr3t
    assert_eq!(seen.fields("proxy-authorization"), ["Basic bWU6czNjcjN0"]);
    proxy.log_line(&["through the proxy http://127.0.0.1:"]);
    let log = proxy.whole_log();
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[test]
fn an_https_origin_is_reached_through_a_connection_that_the_proxy_opens() {
    let identity = by_private_ca("origin.test");
    let origin = Origin::tls(identity.server.clone(), |exchange| {
        exchange.ok("", "secret")
    });
    let opening = ConnectProxy::start("HTTP/1.1 200 Connected\r\n\r\n", Some(origin.port()));
    let home = Home::new();
    let ca = pem(&home, &identity);
    let url = opening.url();
    let args = ["--origin-ca", &ca];
    let proxy = home.start_with("https://origin.test", &args, &[("HTTPS_PROXY", &url)]);
    proxy.get("/x").expect(200, "MISS", "secret");
    proxy.get("/x").expect(200, "HIT", "secret");
    let head = opening.head();
    assert!(
        head.starts_with("CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nproxy-authorization: Basic bWU6czNjcjN0\r\n"),
        "{head}"
    );
    let seen = origin.last();
    assert_eq!(
        (seen.target(), seen.field("proxy-authorization")),
        ("/x".to_owned(), None)
    );
    assert_eq!(seen.field("host").as_deref(), Some("origin.test"));
}

#[test]
fn loopback_and_the_hosts_of_no_proxy_are_reached_directly() {
    let origin = Origin::counting("");
    let dead = format!("http://127.0.0.1:{}", free_port());
    let all = [("http_proxy", dead.as_str()), ("HTTP_PROXY", dead.as_str())];
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &[], &all);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    // A flag for no proxy, or for another one, goes before all variables.
    let reading = reading_proxy();
    let ours = proxy_url(&reading);
    let with_exceptions = [all[0], ("no_proxy", "*")];
    let proxy = home.start_with("http://origin.test", &["--proxy", &ours], &with_exceptions);
    proxy
        .get("/")
        .expect(200, "MISS", "for http://origin.test/");
    let proxy = home.start_with(&origin.url(), &["--proxy", "none"], &all);
    proxy.get("/x").expect(200, "MISS", "GET /x #0");
    for exceptions in ["origin.invalid", ".invalid", "*"] {
        let set = [all[0], ("NO_PROXY", exceptions)];
        let proxy = home.start_with("http://origin.invalid", &[], &set);
        let failed = proxy.get("/");
        assert_plain(&failed, 502);
        assert!(
            failed.text().contains("unknown host"),
            "{exceptions}: {}",
            failed.text()
        );
    }
}

/// A request through this proxy has failed with this status, and the response names the proxy without its secret.
#[track_caller]
fn failed_through(answer: &Answer, status: u16, port: u16, words: &str) {
    assert_plain(answer, status);
    let text = answer.text();
    let named = format!("the proxy http://127.0.0.1:{port}");
    assert!(text.contains(&named) && text.contains(words), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_reason() {
    for (answer, words) in [
        (
            "HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n",
            "407 Proxy Authentication Required",
        ),
        ("HTTP/1.1 403 No\r\n\r\n", "403 Forbidden"),
        ("HTTP/1.1 502 No\r\n\r\n", "502 Bad Gateway"),
        ("SSH-2.0-OpenSSH_9\r\n\r\n", "valid HTTP"),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n", "valid HTTP"),
    ] {
        let refusing = ConnectProxy::start(answer, None);
        let home = Home::new();
        let url = refusing.url();
        let proxy = home.start("https://origin.test", &["--proxy", &url]);
        failed_through(&proxy.get("/"), 502, refusing.port, words);
    }
}

#[test]
fn a_proxy_that_wants_credentials_for_a_request_is_named() {
    let refusing = Origin::start(|exchange| {
        exchange.answer(
            "407 Auth",
            "Proxy-Authenticate: Basic realm=a\r\n",
            "log in",
        );
    });
    let home = Home::new();
    let proxy = home.start("http://origin.test", &["--proxy", &proxy_url(&refusing)]);
    failed_through(
        &proxy.get("/"),
        502,
        refusing.port(),
        "407 Proxy Authentication Required",
    );
}

#[test]
fn a_proxy_that_is_down_or_silent_is_named() {
    let home = Home::new();
    let port = free_port();
    let url = format!("http://me:s3cr3t@127.0.0.1:{port}");
    for origin in ["http://origin.test", "https://origin.test"] {
        let proxy = home.start(origin, &["--proxy", &url]);
        failed_through(&proxy.get("/"), 502, port, "connection refused");
    }
    let silent = ConnectProxy::start("HTTP/1.1 200 OK\r\nA: ", None);
    let url = format!("http://127.0.0.1:{}", silent.port);
    let proxy = home.start(
        "https://origin.test",
        &["--proxy", &url, "--timeout", "200ms"],
    );
    failed_through(
        &proxy.get("/"),
        504,
        silent.port,
        "--timeout 200ms: no connection",
    );
}

#[test]
fn urls_that_are_not_those_of_a_proxy_are_refused_without_their_secrets() {
    let home = Home::new();
    let refused = home.run(&[
        "--origin",
        "http://a.test",
        "--proxy",
        "socks5://u:s3cr3t@h",
    ]);
    refused.refused(2, &["--proxy", "socks5", "http://proxy.example:3128"]);
    assert!(!refused.stderr.contains("s3cr3t"), "{}", refused.stderr);
    home.write(
        "config/proxy.toml",
        "\nproxy = \"https://u:s3cr3t@proxy.test\"\n",
    );
    let refused = home.run(&["--origin", "http://a.test"]);
    refused.refused(
        2,
        &["config/proxy.toml:2: proxy", "http://proxy.example:3128"],
    );
    assert!(!refused.stderr.contains("s3cr3t"), "{}", refused.stderr);

    let home = Home::new();
    let mut command = home.command(&["--origin", "https://a.test"]);
    command.env("HTTPS_PROXY", "socks5://h:1080");
    crate::instance::Finished::of(command)
        .refused(2, &["HTTPS_PROXY", "http://proxy.example:3128"]);
}

#[test]
fn check_config_shows_the_proxy_without_its_secret() {
    let home = Home::new();
    let args = [
        "check-config",
        "--origin",
        "http://a.test",
        "--proxy",
        "http://u:s3cr3t@b.test:1",
    ];
    let shown = home.run_ok(&args);
    assert!(
        shown.contains("http://b.test:1") && !shown.contains("s3cr3t"),
        "{shown}"
    );
}

fn start_insecure(home: &Home, origin: &Origin, args: &[&str]) -> Instance {
    home.start(&origin.url(), args)
}

#[test]
fn an_insecure_proxy_accepts_any_certificate_and_says_so() {
    let identity = self_signed(&params("another.test"));
    let origin = Origin::tls(identity.server, |exchange| exchange.ok("", "over TLS"));
    let home = Home::new();
    let proxy = start_insecure(&home, &origin, &[]);
    assert_plain(&proxy.get("/"), 502);
    for args in [&["--insecure"][..], &["--insecure", "--timeout", "20s"]] {
        let proxy = start_insecure(&home, &origin, args);
        proxy.get("/").expect(200, "MISS", "over TLS");
        proxy.log_line(&["WARN", "--insecure", "not checked"]);
    }
}
