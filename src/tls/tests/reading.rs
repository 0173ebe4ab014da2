//! Certificates and keys in files, and what is refused.

use std::{error::Error as _, fs};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::fixture::{Files, NOW, load, params, settings};
use crate::{
    config::CertificateFiles,
    policy::Time,
    tls::{ServerTls, TlsError},
};

/// Made with `openssl ecparam -name prime256v1 -genkey` (SEC1) and `openssl req -x509 -days 36500` for a.test.
const SEC1_KEY: &str = include_str!("sec1.key");
const SEC1_CERTIFICATE: &str = include_str!("sec1.pem");
/// Made with `openssl genrsa -traditional 2048` (PKCS#1) and `openssl req -x509 -days 36500` for a.test.
const PKCS1_KEY: &str = include_str!("pkcs1.key");
const PKCS1_CERTIFICATE: &str = include_str!("pkcs1.pem");

fn refusal(files: &CertificateFiles) -> TlsError {
    ServerTls::load(&settings(vec![files.clone()]), NOW).unwrap_err()
}

/// The error without the directory of the files.
fn sentence(files: &Files, refused: &CertificateFiles) -> String {
    let error = refusal(refused);
    let mut said = error.to_string();
    if let Some(source) = error.source() {
        said = format!("{said}: {source}");
    }
    let directory = files.path("");
    said.replace(directory.to_str().unwrap(), "")
}

#[test]
fn all_forms_of_unencrypted_keys_are_read() {
    let files = Files::new();
    for (name, certificate, key) in [
        ("sec1", SEC1_CERTIFICATE, SEC1_KEY),
        ("pkcs1", PKCS1_CERTIFICATE, PKCS1_KEY),
    ] {
        files.write(&format!("{name}.pem"), certificate);
        files.write(&format!("{name}.key"), key);
        load(vec![files.files(name)]);
    }
    // PKCS#8
    load(vec![files.certificate("pkcs8", &["a.test"])]);
}

#[test]
fn certificate_and_key_may_be_in_one_file() {
    let files = Files::new();
    let pair = files.certificate("a", &["a.test"]);
    let both =
        fs::read_to_string(&pair.key).unwrap() + &fs::read_to_string(&pair.certificate).unwrap();
    let both = files.write("both.pem", both);
    load(vec![CertificateFiles {
        certificate: both.clone(),
        key: both,
    }]);
}

#[test]
fn a_chain_in_the_wrong_order_is_refused_with_the_right_one() {
    let files = Files::new();
    let mut ca = params(&[]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(&["a.test"]).signed_by(&key, &ca).unwrap();
    files.write("a.key", key.serialize_pem());
    files.write("a.pem", leaf.pem() + &ca.pem());
    load(vec![files.files("a")]);
    files.write("a.pem", ca.pem() + &leaf.pem());
    assert_eq!(
        sentence(&files, &files.files("a")),
        "a.pem begins with another certificate than the server's, which is certificate 2: put that one first"
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "one row a case")]
fn what_cannot_be_used_is_refused_with_what_would_be_right() {
    let files = Files::new();
    let good = files.certificate("good", &["a.test"]);
    let other = files.certificate("other", &["a.test"]);
    let der = first_in_der(&good);
    for (name, content) in [
        ("empty", b"".to_vec()),
        ("text", b"hello\n".to_vec()),
        ("der", der),
        ("request", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_vec()),
        ("pkcs8", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec()),
        ("old", b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n".to_vec()),
        ("broken", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        ("cut", b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec()),
        ("key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec()),
        ("large", vec![b'\n'; 1024 * 1024 + 1]),
    ] {
        files.write(name, content);
    }
    let (good_pem, good_key) = (good.certificate, good.key);
    for (certificate, key, said) in [
        (
            files.path("missing"),
            good_key.clone(),
            "cannot read missing: No such file or directory (os error 2)",
        ),
        (
            files.path("."),
            good_key.clone(),
            "cannot read .: it is not a regular file",
        ),
        (
            files.path("large"),
            good_key.clone(),
            "large is larger than 1.0 MiB; is it the right file?",
        ),
        (
            files.path("empty"),
            good_key.clone(),
            "empty has no certificate (-----BEGIN CERTIFICATE-----): it is empty",
        ),
        (
            files.path("text"),
            good_key.clone(),
            "text has no certificate (-----BEGIN CERTIFICATE-----)",
        ),
        (
            files.path("request"),
            good_key.clone(),
            "request has no certificate (-----BEGIN CERTIFICATE-----): it has a certificate request, which a CA has to sign first",
        ),
        (
            files.path("der"),
            good_key.clone(),
            "der has no certificate (-----BEGIN CERTIFICATE-----): it seems to be DER or PKCS#12; convert it to PEM with openssl x509 or openssl pkcs12",
        ),
        (
            good_key.clone(),
            good_key.clone(),
            "good.key has no certificate (-----BEGIN CERTIFICATE-----): it has a private key, which belongs in --tls-key",
        ),
        (
            files.path("broken"),
            good_key.clone(),
            "certificate 1 in broken is invalid: TrailingData(SignedData)",
        ),
        (
            files.path("cut"),
            good_key.clone(),
            "cut is not valid PEM: a -----BEGIN line has no -----END line, so the file is not whole",
        ),
        (
            good_pem.clone(),
            files.path("empty"),
            "empty has no private key (-----BEGIN PRIVATE KEY-----): it is empty",
        ),
        (
            good_pem.clone(),
            good_pem.clone(),
            "good.pem has no private key (-----BEGIN PRIVATE KEY-----): it has a certificate, which belongs in --tls-cert",
        ),
        (
            good_pem.clone(),
            files.path("pkcs8"),
            "the private key in pkcs8 is encrypted; write it without its passphrase, readable by the proxy alone: (umask 077; openssl pkey -in pkcs8 -out pkcs8.plain)",
        ),
        (
            good_pem.clone(),
            files.path("old"),
            "the private key in old is encrypted; write it without its passphrase, readable by the proxy alone: (umask 077; openssl pkey -in old -out old.plain)",
        ),
        (
            good_pem.clone(),
            files.path("key"),
            "the private key in key cannot be used; RSA with 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 are supported: unexpected error: failed to parse private key as RSA, ECDSA, or EdDSA",
        ),
        (
            good_pem.clone(),
            other.key.clone(),
            "the private key in other.key is not for the certificate in good.pem: their public keys differ",
        ),
    ] {
        assert_eq!(
            sentence(&files, &CertificateFiles { certificate, key }),
            said
        );
    }
}

fn first_in_der(files: &CertificateFiles) -> Vec<u8> {
    super::fixture::first_in(&files.certificate)
        .as_ref()
        .to_vec()
}

#[test]
fn an_expired_certificate_is_used() {
    let files = Files::new();
    let mut expired: CertificateParams = params(&["a.test"]);
    expired.not_before = rcgen::date_time_ymd(2019, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let tls = load(vec![files.write_self_signed("a", expired)]);
    let expiry = tls.expiry();
    assert_eq!(
        expiry[0].not_after,
        Time::from_unix_millis(1_577_836_800_000)
    );
    assert!(expiry[0].not_after < NOW);
    assert!(expiry[0].title.starts_with("a.test ("), "{expiry:?}");
}

#[test]
fn the_dates_of_unusual_certificates_are_read() {
    let files = Files::new();
    for (from, to, end) in [
        (1970, 2020, 1_577_836_800_000),
        (2060, 2100, 4_102_444_800_000),
        // No end (RFC 5280, 4.1.2.5), but for some seconds.
        (2000, 9999, 253_370_764_800_000),
    ] {
        let mut unusual = params(&[]);
        unusual.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        unusual.not_before = rcgen::date_time_ymd(from, 1, 1);
        unusual.not_after = rcgen::date_time_ymd(to, 1, 1);
        let tls = load(vec![files.write_self_signed("a", unusual)]);
        assert_eq!(tls.expiry()[0].not_after, Time::from_unix_millis(end));
    }
}
