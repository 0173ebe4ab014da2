//! Origins with TLS: which certificates the proxy trusts, and where a body ends.

use std::{io::Write as _, path::PathBuf, sync::Arc};

use caching_proxy::origin::tls_config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    client::Ending,
    failure::assert_plain,
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
    ports,
};

/// The certificate of an origin, and the PEM that a client must trust.
pub(crate) struct Identity {
    pub(crate) server: Arc<rustls::ServerConfig>,
    pub(crate) trusted_pem: String,
}

pub(crate) fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn server(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<rustls::ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(
        builder
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap(),
    )
}

/// A certificate for this name, signed by a private authority.
pub(crate) fn by_private_ca(name: &str) -> Identity {
    let mut authority = params("private authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(name).signed_by(&key, &authority).unwrap();
    Identity {
        server: server(&leaf, &key),
        trusted_pem: authority.pem(),
    }
}

/// A self-signed certificate, as development servers use.
pub(crate) fn self_signed(params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity {
        server: server(&certificate, &key),
        trusted_pem: certificate.pem(),
    }
}

/// A proxy that trusts this PEM beside the system's roots.
fn trusting(origin: &Origin, pem: &str) -> TestProxy {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let path: PathBuf = file.path().to_owned();
    let proxy = TestProxy::builder(origin)
        .with(|config| config.origin_ca = Some(path))
        .start();
    // The file is read at the start only.
    drop(file);
    proxy
}

fn greet(exchange: &mut Exchange<'_>) {
    exchange.ok("", "over TLS");
}

#[test]
fn an_origin_of_a_private_authority_is_trusted_with_origin_ca() {
    let identity = by_private_ca("localhost");
    let origin = Origin::tls(identity.server, greet);
    let proxy = trusting(&origin, &identity.trusted_pem);
    proxy.get("/").expect(200, "MISS", "over TLS");
    proxy.get("/").expect(200, "HIT", "over TLS");
    let seen = origin.only();
    assert_eq!(
        seen.field("host"),
        Some(format!("localhost:{}", origin.port()))
    );
}

#[test]
fn an_early_hint_over_tls_arrives_before_the_response() {
    let identity = by_private_ca("localhost");
    let gate = Gate::default();
    let origin = Origin::tls(identity.server, {
        let gate = gate.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            gate.wait();
            exchange.ok("", "over TLS");
        }
    });
    let proxy = trusting(&origin, &identity.trusted_pem);
    let mut client = proxy.begin("/", "");
    assert_eq!(client.head().all("link"), ["</a>"]);
    gate.open();
    client.answer().expect(200, "MISS", "over TLS");
}

#[test]
fn a_websocket_goes_through_tls_and_an_end_without_close_notify_is_its_end() {
    let identity = by_private_ca("localhost");
    let origin = Origin::tls(identity.server, |exchange| {
        exchange.send("HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\nfirst");
        let sent = exchange.read(5);
        exchange.send(sent);
        exchange.cut();
    });
    let proxy = trusting(&origin, &identity.trusted_pem);
    let offer = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut client = proxy.begin("/", offer);
    assert_eq!(client.head().status, 101);
    assert_eq!(client.send("hello").read(10), "firsthello");
    assert!(client.is_closed());
}

#[test]
fn a_large_body_over_tls_arrives_whole() {
    let identity = by_private_ca("localhost");
    let origin = Origin::tls(identity.server, |exchange| {
        exchange.ok("", vec![b't'; 3_000_000])
    });
    let proxy = trusting(&origin, &identity.trusted_pem);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get("/");
        assert_eq!(
            (answer.x_cache(), answer.ending, answer.body.len()),
            (outcome, Ending::Whole, 3_000_000)
        );
    }
}

#[test]
fn an_upload_over_tls_arrives_whole() {
    let identity = by_private_ca("localhost");
    let origin = Origin::tls(identity.server, |exchange| {
        let length = exchange.request.body.len().to_string();
        exchange.ok("", length);
    });
    let proxy = trusting(&origin, &identity.trusted_pem);
    proxy
        .request("POST", "/", "", &vec![b'u'; 1_000_000])
        .expect(200, "MISS", "1000000");
}

#[test]
fn an_unknown_authority_gets_502() {
    let origin = Origin::tls(by_private_ca("localhost").server, greet);
    assert_plain(&TestProxy::to(&origin).get("/"), 502);
    // Another private authority does not help.
    assert_plain(
        &trusting(&origin, &by_private_ca("localhost").trusted_pem).get("/"),
        502,
    );
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_given_self_signed_certificate_is_trusted_and_no_other() {
    let identity = self_signed(&params("localhost"));
    let origin = Origin::tls(identity.server, greet);
    trusting(&origin, &identity.trusted_pem)
        .get("/")
        .expect(200, "MISS", "over TLS");
    let another = self_signed(&params("localhost"));
    assert_plain(&trusting(&origin, &another.trusted_pem).get("/"), 502);
}

#[test]
fn the_name_in_the_certificate_must_match() {
    for identity in [
        by_private_ca("elsewhere.test"),
        self_signed(&params("elsewhere.test")),
    ] {
        let origin = Origin::tls(identity.server, greet);
        assert_plain(&trusting(&origin, &identity.trusted_pem).get("/"), 502);
        assert_eq!(origin.count(), 0);
    }
}

#[test]
fn an_expired_certificate_is_refused() {
    let mut expired = params("localhost");
    expired.not_before = rcgen::date_time_ymd(2019, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let identity = self_signed(&expired);
    let origin = Origin::tls(identity.server, greet);
    assert_plain(&trusting(&origin, &identity.trusted_pem).get("/"), 502);
}

#[test]
fn an_origin_without_tls_under_https_gets_502() {
    let listener = ports::listener();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = TestProxy::for_url(&format!("https://localhost:{port}")).start();
    assert_plain(&proxy.get("/"), 502);
}

#[test]
fn a_close_delimited_body_needs_its_close_notify() {
    let identity = by_private_ca("localhost");
    let origin = Origin::tls(identity.server, |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
        match exchange.target().as_str() {
            "/orderly" => exchange.close(),
            _ => exchange.cut(),
        }
    });
    let proxy = trusting(&origin, &identity.trusted_pem);
    proxy.get("/orderly").expect(200, "MISS", "all of it");
    proxy.get("/orderly").expect(200, "HIT", "all of it");
    for _ in 0..2 {
        let cut = proxy.get("/cut");
        assert_eq!((cut.x_cache(), cut.ending), ("MISS", Ending::Cut));
    }
}

#[test]
fn a_body_with_its_length_needs_no_close_notify() {
    let identity = by_private_ca("localhost");
    let origin = Origin::tls(identity.server, |exchange| {
        exchange.ok("Connection: close\r\n", "whole");
        exchange.cut();
    });
    let proxy = trusting(&origin, &identity.trusted_pem);
    proxy.get("/").expect(200, "MISS", "whole");
    proxy.get("/").expect(200, "HIT", "whole");
}

#[test]
fn unreadable_certificates_are_refused_at_the_start() {
    assert!(tls_config(Some(std::path::Path::new("/no/such/file.pem"))).is_err());
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(tls_config(Some(empty.path())).is_err());
    std::fs::write(
        empty.path(),
        "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert!(tls_config(Some(empty.path())).is_err());
}
