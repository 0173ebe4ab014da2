//! Versions, protocols, tickets, and reloads between handshakes.

use std::sync::Arc;

use rustls::{
    ALL_VERSIONS, ClientConnection, HandshakeKind, ProtocolVersion, ServerConnection,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

use super::fixture::{Files, NOW, client, converse, first_in, handshake, load, settings};

#[test]
fn both_versions_are_spoken() {
    let files = Files::new();
    let server = load(vec![files.certificate("a", &["a.test"])]).server_config();
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = Arc::new(client(&[version]));
        let got = handshake(&server, &client, "a.test").unwrap();
        assert_eq!(got.version, spoken);
    }
}

#[test]
fn http_2_goes_before_http_1_and_others_are_refused() {
    let files = Files::new();
    let server = load(vec![files.certificate("a", &["a.test"])]).server_config();
    for (offered, chosen) in [
        (&["http/1.1", "h2"][..], Some(Ok("h2"))),
        (&["http/1.1"], Some(Ok("http/1.1"))),
        (&["http/1.0", "http/1.1"], Some(Ok("http/1.1"))),
        (&[], None),
        (&["http/1.0"], Some(Err(()))),
    ] {
        let mut client = client(ALL_VERSIONS);
        client.alpn_protocols = offered.iter().map(|it| it.as_bytes().to_vec()).collect();
        let got = handshake(&server, &Arc::new(client), "a.test");
        match chosen {
            None => assert_eq!(got.unwrap().protocol, None),
            Some(Ok(chosen)) => assert_eq!(got.unwrap().protocol.unwrap(), chosen.as_bytes()),
            Some(Err(())) => {
                assert_eq!(got.unwrap_err(), rustls::Error::NoApplicationProtocol);
            }
        }
    }
}

#[test]
fn a_session_is_resumed_by_its_ticket_also_after_a_reload() {
    let files = Files::new();
    let old = files.certificate("a", &["a.test"]);
    for version in [&TLS12, &TLS13] {
        let tls = load(vec![old.clone()]);
        let client = Arc::new(client(&[version]));
        let kind = |tls: &super::super::ServerTls| {
            let got = handshake(&tls.server_config(), &client, "a.test");
            got.unwrap().kind
        };
        assert_eq!(kind(&tls), HandshakeKind::Full);
        assert_eq!(kind(&tls), HandshakeKind::Resumed);
        let new = files.certificate("b", &["a.test"]);
        tls.reload(&settings(vec![new]), NOW).unwrap();
        assert_eq!(kind(&tls), HandshakeKind::Resumed);
        // Another proxy cannot read the ticket.
        assert_eq!(kind(&load(vec![old.clone()])), HandshakeKind::Full);
    }
}

#[test]
fn early_data_is_not_accepted() {
    let files = Files::new();
    let server = load(vec![files.certificate("a", &["a.test"])]).server_config();
    let mut client = client(&[&TLS13]);
    client.enable_early_data = true;
    let client = Arc::new(client);
    handshake(&server, &client, "a.test").unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let mut resuming = ClientConnection::new(client, name).unwrap();
    assert!(resuming.early_data().is_none());
}

#[test]
fn a_reload_gives_new_clients_the_new_certificate_and_leaves_connections_alone() {
    let files = Files::new();
    let old = files.certificate("old", &["a.test"]);
    let tls = load(vec![old]);
    let any = Arc::new(client(ALL_VERSIONS));
    let name = ServerName::try_from("a.test").unwrap();
    let mut client = ClientConnection::new(Arc::clone(&any), name).unwrap();
    let mut server = ServerConnection::new(tls.server_config()).unwrap();
    converse(&mut client, &mut server).unwrap();

    let new = files.certificate("new", &["a.test"]);
    tls.reload(&settings(vec![new.clone()]), NOW).unwrap();
    let fresh = Arc::new(super::fixture::client(ALL_VERSIONS));
    let got = handshake(&tls.server_config(), &fresh, "a.test").unwrap();
    assert_eq!(got.certificate, first_in(&new.certificate));

    use std::io::{Read as _, Write as _};
    client.writer().write_all(b"still here").unwrap();
    converse(&mut client, &mut server).unwrap();
    let mut read = [0; 10];
    server.reader().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"still here");
}

#[test]
fn a_reload_that_is_refused_leaves_the_old_certificate() {
    let files = Files::new();
    let old = files.certificate("a", &["a.test"]);
    let certificate = first_in(&old.certificate);
    let tls = load(vec![old.clone()]);
    let other = files.certificate("b", &["b.test"]);
    std::fs::copy(&other.key, &old.key).unwrap();
    tls.reload(&settings(vec![old]), NOW).unwrap_err();
    let any = Arc::new(client(ALL_VERSIONS));
    let got = handshake(&tls.server_config(), &any, "a.test").unwrap();
    assert_eq!(got.certificate, certificate);
}
