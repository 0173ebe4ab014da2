//! HTTPS towards clients, with the real program.

use std::{io::Write as _, net::TcpStream, sync::Arc};

use rcgen::KeyPair;
use rustix::process::Signal;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::{
    client::{Client, Ending},
    coalescing::gated,
    instance::{Home, Instance},
    origin::{Exchange, Origin},
    ports::free_port,
    tls::params,
    waiting::until,
};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// A home with the files of a certificate for `localhost`, and what trusts it.
struct TlsHome {
    home: Home,
    roots: RootCertStore,
    trust: Arc<ClientConfig>,
}

impl TlsHome {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params("localhost").self_signed(&key).unwrap();
        let home = Home::new();
        home.write("cert.pem", &certificate.pem());
        home.write("key.pem", &key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self {
            home,
            trust: trusting(roots.clone()),
            roots,
        }
    }

    /// A proxy whose port is for TLS.
    fn start(&self, origin: &Origin, args: &[&str]) -> Instance {
        let certificate = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
        self.home
            .start(&origin.url(), &[&certificate, args].concat())
    }

    /// A proxy with a port for TLS beside the plain one.
    fn start_both(&self, origin: &Origin, args: &[&str]) -> (Instance, u16) {
        let port = free_port();
        let flags = ["--tls-port", &port.to_string()];
        (self.start(origin, &[&flags, args].concat()), port)
    }

    /// What `warm --json` says about this list.
    fn warm(&self, list: &str, proxy: &Instance) -> Value {
        self.home.write("paths", list);
        let port = proxy.port.to_string();
        self.home
            .run_json(&["warm", "paths", "--json", "--port", &port])
    }

    fn connect(&self, port: u16) -> Client {
        Client::connect_tls(port, Arc::clone(&self.trust)).unwrap()
    }
}

/// A client that trusts these authorities.
fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// An origin that says what it is told about the client.
fn telling() -> Origin {
    Origin::start(|exchange| {
        let told = |name| exchange.request.field(name).unwrap_or_default();
        let told = format!("{} {}", told("x-forwarded-proto"), told("x-forwarded-port"));
        exchange.ok(FRESH, told);
    })
}

#[test]
fn responses_over_tls_are_cached_and_the_origin_is_told_https() {
    let (home, origin) = (TlsHome::new(), telling());
    let proxy = home.start(&origin, &[]);
    for x_cache in ["MISS", "HIT"] {
        let mut client = home.connect(proxy.port);
        client.ask("/", "").answer().expect(200, x_cache, "https ");
        client
            .ask("/", "Connection: close\r\n")
            .answer()
            .expect(200, "HIT", "https ");
        assert!(client.is_closed_in_order());
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn clients_with_and_without_tls_get_what_the_origin_has_made_for_them() {
    let (home, origin) = (TlsHome::new(), telling());
    for (args, plain, tls) in [
        (&[][..], "http ", "https "),
        (&["--preserve-host"][..], "http 80", "https 443"),
    ] {
        let (proxy, port) = home.start_both(&origin, args);
        let mut clients = [
            (Client::connect(proxy.port), plain),
            (home.connect(port), tls),
        ];
        let mut expect = |x_cache| {
            for (client, body) in &mut clients {
                client.ask("/", "").answer().expect(200, x_cache, body);
            }
        };
        expect("MISS");
        expect("HIT");
        // What changes the resource over one of them invalidates both.
        for mut client in [Client::connect(proxy.port), home.connect(port)] {
            client.send("PUT / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(client.answer().status(), 200);
            expect("MISS");
        }
        let number = proxy.port.to_string();
        home.home.run_ok(&["purge", "/", "--port", &number]);
        expect("MISS");
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://proxy.test/");
            let why = home
                .home
                .run_json(&["why", &url, "--json", "--port", &number]);
            assert_eq!(why["outcome"], "hit", "{why}");
        }
    }
}

#[test]
fn redirects_of_the_origin_lead_back_to_the_proxy() {
    let home = TlsHome::new();
    let origin = Origin::start(|exchange| {
        let told = |name| exchange.request.field(name).unwrap();
        let location = format!(
            "Location: {}://{}/there\r\n",
            told("x-forwarded-proto"),
            told("host")
        );
        exchange.answer("302 Found", &location, "");
    });
    let proxy = home.start(&origin, &[]);
    let answer = home.connect(proxy.port).ask("/", "").answer();
    assert_eq!(answer.field("location"), Some("/there"));
    // The client's own name over https.
    let mut client = home.connect(proxy.port);
    let url = format!("https://localhost:{}/", proxy.port);
    client.send(format!("GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(client.answer().status(), 302);
    let url = url.replace("https", "http");
    client.send(format!("GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(client.answer().status(), 421);
}

#[test]
fn a_body_that_the_origin_cuts_ends_without_close_notify() {
    let home = TlsHome::new();
    let origin = Origin::start(|exchange| match &*exchange.target() {
        "/sized" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            exchange.cut();
        }
        _ => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            exchange.cut();
        }
    });
    let proxy = home.start(&origin, &[]);
    for target in ["/sized", "/chunked"] {
        let mut client = home.connect(proxy.port);
        let answer = client.ask(target, "").answer();
        assert_eq!((answer.ending, &*answer.text()), (Ending::Cut, "half"));
        assert!(!client.is_closed_in_order(), "{target}");
    }
    // The end of the connection is the end of the body.
    let mut client = home.connect(proxy.port);
    client
        .send("GET /close HTTP/1.0\r\nHost: a\r\n\r\n")
        .wait_for("half");
    client.head();
    assert_eq!(client.read(4), "half");
    assert!(!client.is_closed_in_order());
}

#[test]
fn a_body_arrives_while_the_origin_sends_it() {
    let home = TlsHome::new();
    let (origin, gate) = gated(|exchange, gate| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        gate.wait();
        exchange.send("later");
        exchange.close();
    });
    let proxy = home.start(&origin, &[]);
    let mut client = home.connect(proxy.port);
    client.ask("/", "").wait_for("first");
    gate.open();
    client.answer().expect(200, "MISS", "firstlater");
}

#[test]
fn a_large_body_arrives_whole_at_a_client_that_reads_late() {
    const BYTES: usize = 8 << 20;
    let home = TlsHome::new();
    let origin = Origin::start(|exchange| exchange.ok(FRESH, vec![b'x'; BYTES]));
    let proxy = home.start(&origin, &[]);
    for x_cache in ["MISS", "HIT"] {
        let mut client = home.connect(proxy.port);
        client.ask("/", "").wait_for_body();
        let answer = client.answer();
        assert_eq!((answer.body.len(), answer.x_cache()), (BYTES, x_cache));
        client.ask("/", "").answer();
    }
}

#[test]
fn a_100_and_the_body_after_it_pass() {
    let home = TlsHome::new();
    let origin = Origin::without_reading(|exchange| {
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(exchange.read(5), b"hello");
        exchange.ok("Connection: close\r\n", "read");
    });
    let proxy = home.start(&origin, &[]);
    let mut client = home.connect(proxy.port);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("hello").answer().expect(200, "MISS", "read");
}

fn echo(exchange: &mut Exchange<'_>) {
    exchange.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    exchange.close();
    loop {
        let bytes = exchange.read(1);
        if bytes.is_empty() {
            return;
        }
        exchange.send(bytes);
    }
}

#[test]
fn a_websocket_passes() {
    let (home, origin) = (TlsHome::new(), Origin::start(echo));
    let proxy = home.start(&origin, &[]);
    let mut client = home.connect(proxy.port);
    let offer = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.ask("/", offer);
    assert_eq!(client.head().status, 101);
    for text in ["ping", "a longer message that goes there and back"] {
        assert_eq!(client.send(text).read(text.len()), text);
    }
    assert_eq!(
        origin.only().field("x-forwarded-proto").as_deref(),
        Some("https")
    );
}

#[test]
fn what_only_a_client_that_has_left_wanted_is_given_up() {
    let home = TlsHome::new();
    let (origin, given_up) = gated(|exchange, given_up| {
        exchange.stall();
        given_up.open();
    });
    let proxy = home.start(&origin, &[]);
    let mut client = home.connect(proxy.port);
    client.ask("/", "");
    origin.wait_for(1);
    drop(client);
    given_up.wait();
}

#[test]
fn a_request_body_that_is_cut_is_no_request() {
    let (home, origin) = (
        TlsHome::new(),
        Origin::start(|exchange| exchange.ok("", "read")),
    );
    let proxy = home.start(&origin, &[]);
    let mut client = home.connect(proxy.port);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    client.end_input();
    assert!(!client.has_head());
    home.connect(proxy.port)
        .ask("/next", "")
        .answer()
        .expect(200, "MISS", "read");
    assert!(origin.seen().iter().all(|seen| seen.target() == "/next"));
}

#[test]
fn plain_http_to_a_port_for_tls_is_refused_and_tls_to_a_plain_port_too() {
    let (home, origin) = (TlsHome::new(), telling());
    let (proxy, port) = home.start_both(&origin, &[]);
    let mut client = Client::connect(port);
    let refused = client.ask("/", "").answer();
    let text = "This port takes HTTPS: use https:// for it.\n";
    refused.expect(400, "MISS", text);
    proxy.log_line(&["400", "this port takes HTTPS"]);
    assert!(Client::connect_tls(proxy.port, Arc::clone(&home.trust)).is_err());
    assert_eq!(origin.count(), 0);
    let stats = home.home.run_json(&["stats", "--json"]);
    let failed = stats["failed_by"].to_string();
    assert!(failed.contains("\"https-only\"") && failed.contains("\"tls\""));
}

#[test]
fn plain_requests_are_redirected_on_request() {
    let (home, origin) = (TlsHome::new(), telling());
    let (proxy, port) = home.start_both(&origin, &["--redirect-http"]);
    let mut client = Client::connect(proxy.port);
    client.send(format!(
        "GET /a?b=c HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
        proxy.port
    ));
    let redirected = client.answer();
    assert_eq!(redirected.status(), 308);
    let url = format!("https://localhost:{port}/a?b=c");
    assert_eq!(redirected.field("location"), Some(&*url));
    proxy.log_line(&["308 GET /a?b=c"]);
    home.connect(port)
        .ask("/a?b=c", "")
        .answer()
        .expect(200, "MISS", "https ");
}

#[test]
fn a_header_of_the_proxy_protocol_precedes_the_handshake() {
    let home = TlsHome::new();
    let origin = Origin::start(|exchange| {
        let client = exchange.request.field("x-forwarded-for").unwrap();
        exchange.ok("", client);
    });
    let proxy = home.start(&origin, &["--proxy-protocol"]);
    let mut client = Client::connect(proxy.port);
    client.send("PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n");
    client.start_tls(Arc::clone(&home.trust)).unwrap();
    client
        .ask("/", "")
        .answer()
        .expect(200, "MISS", "203.0.113.9");
}

#[test]
fn handshakes_that_hang_delay_neither_other_clients_nor_the_end() {
    let (home, origin) = (TlsHome::new(), telling());
    let mut proxy = home.start(&origin, &["--workers", "2"]);
    let hanging = |sent: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    let hanging: Vec<TcpStream> = [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"]
        .into_iter()
        .cycle()
        .take(500)
        .map(hanging)
        .collect();
    let mut client = home.connect(proxy.port);
    client.ask("/", "").answer().expect(200, "MISS", "https ");
    for _ in 0..20 {
        home.connect(proxy.port)
            .ask("/", "")
            .answer()
            .expect(200, "HIT", "https ");
    }
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success());
    drop(hanging);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_a_line_in_the_log() {
    let (home, origin) = (TlsHome::new(), telling());
    let proxy = home.start(&origin, &[]);
    for roots in [RootCertStore::empty(), TlsHome::new().roots] {
        assert!(Client::connect_tls(proxy.port, trusting(roots)).is_err());
    }
    until("two lines in the log", || {
        let log = proxy.log();
        log.matches("the client does not accept the certificate")
            .count()
            == 2
    });
    assert!(!proxy.log().contains("ERROR"));
}

#[test]
fn the_command_warm_uses_https_where_requests_must() {
    let (home, origin) = (TlsHome::new(), telling());
    for args in [&[][..], &["--redirect-http"]] {
        let (proxy, port) = match args {
            [] => {
                let proxy = home.start(&origin, &[]);
                let port = proxy.port;
                (proxy, port)
            }
            args => home.start_both(&origin, args),
        };
        let summary = home.warm("/\n", &proxy);
        assert_eq!(summary["stored_now"], 1, "{summary}");
        home.connect(port)
            .ask("/", "")
            .answer()
            .expect(200, "HIT", "https ");
    }
}

#[test]
fn the_command_warm_stores_what_clients_get_with_and_without_tls() {
    let (home, origin) = (TlsHome::new(), telling());
    let (proxy, port) = home.start_both(&origin, &[]);
    let list = format!("/\nhttps://localhost:{port}/a\n");
    for stored in ["stored_now", "already_stored"] {
        let summary = home.warm(&list, &proxy);
        assert_eq!(
            (&summary["paths"], &summary[stored]),
            (&json!(2), &json!(2))
        );
    }
    assert_eq!(origin.count(), 4);
    for target in ["/", "/a"] {
        let mut plain = Client::connect(proxy.port);
        plain.ask(target, "").answer().expect(200, "HIT", "http ");
        let mut tls = home.connect(port);
        tls.ask(target, "").answer().expect(200, "HIT", "https ");
    }
}
