//! Details of the origin that clients must not get, secrets that must not be logged, and framing by method or size.

use crate::{
    client::{Answer, Client},
    failure::assert_plain,
    harness::{TestProxy, until},
    instance::Home,
    origin::{Exchange, Origin},
    ports::free_port,
};

const KIB: usize = 1024;

/// Panics unless the body is one plain sentence with none of these texts.
#[track_caller]
fn assert_names_nothing(answer: &Answer, status: u16, names: &[&str]) {
    assert_plain(answer, status);
    for name in names {
        assert!(
            !answer.text().contains(name),
            "{name} in {:?}",
            answer.text()
        );
    }
}

#[test]
fn a_refused_connection_does_not_reveal_the_address_of_the_origin() {
    let port = free_port();
    let proxy = TestProxy::for_url(&format!("http://127.0.0.1:{port}")).start();
    let names = ["127.0.0.1", &port.to_string()];
    assert_names_nothing(&proxy.get("/"), 502, &names);
    assert_names_nothing(&proxy.request("POST", "/", "", b"body"), 502, &names);
}

#[test]
fn a_failed_name_lookup_does_not_reveal_the_name_of_the_origin() {
    let proxy = TestProxy::for_url("http://no-such-host.invalid:8099").start();
    let names = ["no-such-host", ".invalid", "8099"];
    assert_names_nothing(&proxy.get("/"), 502, &names);
}

/// An origin with an untrusted certificate.
fn with_a_certificate_for(name: &str) -> Origin {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    Origin::tls(
        std::sync::Arc::new(config),
        |exchange: &mut Exchange<'_>| {
            exchange.ok("", "not to be believed");
        },
    )
}

#[test]
fn an_untrusted_certificate_does_not_reveal_the_name_of_the_origin() {
    for name in ["localhost", "another.test"] {
        let origin = with_a_certificate_for(name);
        let port = origin.port().to_string();
        let answer = TestProxy::to(&origin).get("/");
        assert_names_nothing(&answer, 502, &["localhost", "another.test", &port]);
    }
}

#[test]
fn a_disconnect_does_not_reveal_the_address_of_the_origin() {
    let origin = Origin::start(|exchange| exchange.close());
    let port = origin.port().to_string();
    let proxy = TestProxy::to(&origin);
    assert_names_nothing(&proxy.get("/"), 502, &["127.0.0.1", &port]);
}

#[test]
fn an_empty_upload_keeps_its_content_length() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for method in ["POST", "PUT", "PATCH"] {
        let answer = proxy.request(method, "/", "Content-Length: 0\r\n", b"");
        assert_eq!(answer.status(), 200);
        let seen = origin.last();
        assert_eq!(
            (
                seen.field("content-length").as_deref(),
                seen.fields("transfer-encoding").len()
            ),
            (Some("0"), 0),
            "{method}"
        );
    }
}

#[test]
fn a_204_with_a_content_length_is_stored_and_its_connection_is_reused() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/empty" => exchange.send(
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nCache-Control: max-age=600\r\n\r\n",
        ),
        _ => exchange.ok("", "after"),
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.ask("/empty", "").answer().expect(204, "MISS", "");
    client
        .ask("/after", "")
        .answer()
        .expect(200, "MISS", "after");
    client.ask("/empty", "").answer().expect(204, "HIT", "");
    client
        .ask("/after", "")
        .answer()
        .expect(200, "HIT", "after");
    proxy.get("/empty").expect(204, "HIT", "");
    assert_eq!(origin.count(), 2);
}

/// Sends a head of more than 64 KiB: one header, or many.
fn send_large_head(client: &mut Client, fields: usize) -> Answer {
    let value = "v".repeat(70 * KIB / fields);
    let lines: String = (0..fields)
        .map(|number| format!("X-Long-{number}: {value}\r\n"))
        .collect();
    let head = format!("GET /long HTTP/1.1\r\nHost: proxy.test\r\n{lines}\r\n");
    client.send_until_refused(head.as_bytes()).answer()
}

#[test]
fn request_headers_over_64_kib_get_431() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for fields in [1, 50] {
        let answer = send_large_head(&mut proxy.connect(), fields);
        assert_eq!(answer.status(), 431, "{fields} fields: {answer:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_malformed_request_is_logged() {
    let origin = Origin::start(|exchange| exchange.answer("400 Bad Request", "", "no"));
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let answer = send_large_head(&mut Client::connect(proxy.port), 50);
    let sentence = "The request line and headers are larger than 64 KiB.\n";
    answer.expect(431, "MISS", sentence);
    assert_eq!(answer.field("cache-status"), Some("caching-proxy"));
    let line = proxy.log_line(&["MISS 431 - - ", "the request line and headers are larger"]);
    assert!(line.contains("INFO"), "{line}");
    // As the first bytes on a connection, and after a response with the same status.
    for before in ["", "GET /bad HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = Client::connect(proxy.port);
        client.send(before);
        if !before.is_empty() {
            client.answer().expect(400, "MISS", "no");
        }
        client.send("no request at all\r\n\r\n");
        assert_eq!(client.answer().status(), 400);
    }
    let is_logged = |line: &&str| line.contains("MISS 400 - - ");
    until("both are logged", || {
        proxy.log().lines().filter(is_logged).count() == 2
    });
    assert!(proxy.log().contains("not an HTTP/1.1 request"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn headers_over_64_kib_of_a_later_request_get_431() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for fields in [1, 50] {
        let mut client = proxy.connect();
        for _ in 0..2 {
            assert_eq!(client.ask("/", "").answer().status(), 200);
        }
        let answer = send_large_head(&mut client, fields);
        assert_eq!(answer.status(), 431, "{fields} fields: {answer:?}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_secret_after_a_semicolon_is_not_logged() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/x?a=1;token=HUSH1");
    proxy.get("/y?token=HUSH2;a=1&b=2;api_key=HUSH3");
    proxy.log_line(&["GET /x?a=1"]);
    proxy.log_line(&["GET /y?token="]);
    let log = proxy.whole_log();
    assert!(!log.contains("HUSH"), "{log}");
}
