//! Which certificate a client gets.

use std::sync::Arc;

use rustls::ALL_VERSIONS;

use super::fixture::{Files, client, first_in, handshake, load};

#[test]
fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let files = Files::new();
    let first = files.certificate("first", &["first.test"]);
    let second = files.certificate("second", &["second.test", "www.second.test"]);
    let wild = files.certificate("wild", &["*.second.test"]);
    let server = load(vec![first.clone(), wild.clone(), second.clone()]).server_config();
    let client = Arc::new(client(ALL_VERSIONS));
    for (name, expected) in [
        ("first.test", &first),
        ("second.test", &second),
        ("SECOND.test", &second),
        ("www.second.test", &second),
        ("api.second.test", &wild),
        ("a.b.second.test", &first),
        ("other.test", &first),
        ("test", &first),
        ("127.0.0.1", &first),
    ] {
        let got = handshake(&server, &client, name).unwrap();
        assert_eq!(got.certificate, first_in(&expected.certificate), "{name}");
    }
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_the_one_whose_key_it_supports() {
    let files = Files::new();
    let curve = files.certificate("curve", &["both.test"]);
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = super::fixture::params(&["both.test"])
        .self_signed(&other)
        .unwrap();
    files.write("edwards.pem", certificate.pem());
    files.write("edwards.key", other.serialize_pem());
    let edwards = files.files("edwards");
    let server = load(vec![edwards.clone(), curve.clone()]).server_config();
    let any = Arc::new(client(ALL_VERSIONS));
    let got = handshake(&server, &any, "both.test").unwrap();
    assert_eq!(got.certificate, first_in(&edwards.certificate));
    let mut provider = rustls::crypto::ring::default_provider();
    let algorithms = &mut provider.signature_verification_algorithms;
    let schemes = algorithms.mapping;
    let without_edwards = schemes
        .iter()
        .filter(|(scheme, _)| *scheme != rustls::SignatureScheme::ED25519);
    algorithms.mapping = Box::leak(without_edwards.copied().collect::<Box<[_]>>());
    let only_curves = Arc::new(super::fixture::client_of(provider, ALL_VERSIONS));
    let got = handshake(&server, &only_curves, "both.test").unwrap();
    assert_eq!(got.certificate, first_in(&curve.certificate));
}
