//! TLS towards clients.

use super::{ORIGIN, load};
use crate::config::CertificateFiles;

#[test]
fn the_settings_of_tls_are_read_from_flags_and_file() {
    let files = |certificate: &str, key: &str| CertificateFiles {
        certificate: certificate.into(),
        key: key.into(),
    };
    let tls = |flags: &[(&'static str, &str)], file: &str| {
        let flags: Vec<_> = [ORIGIN].iter().chain(flags).copied().collect();
        load(&flags, &[], file).unwrap().tls
    };
    assert_eq!(tls(&[], ""), None);
    let pair = [("tls-cert", "a.pem"), ("tls-key", "a.key")];
    let given = tls(&pair, "").unwrap();
    assert_eq!(given.given, Some(files("a.pem", "a.key")));
    assert_eq!((given.port, given.redirect_http), (None, false));

    let list =
        "tls = [{ cert = \"b.pem\", key = \"b.key\" }]\ntls_port = 8443\nredirect_http = true\n";
    let listed = tls(&pair, list).unwrap();
    let all: Vec<_> = listed.certificates().cloned().collect();
    assert_eq!(all, [files("a.pem", "a.key"), files("b.pem", "b.key")]);
    assert_eq!((listed.port, listed.redirect_http), (Some(8443), true));

    // The switch does not replace the list.
    assert_eq!(tls(&[("tls", "false")], list), None);
    let switched_on = tls(&[("tls", "true")], list).unwrap();
    let all: Vec<_> = switched_on.certificates().cloned().collect();
    assert_eq!(all, [files("b.pem", "b.key")]);
    let local = tls(&[], "tls = true").unwrap();
    assert_eq!((local.certificates().count(), local.port), (0, None));
}

#[test]
fn settings_of_tls_that_do_not_fit_are_refused() {
    for (file, said) in [
        (
            "tls_cert = \"a.pem\"",
            "tls_cert needs --tls-key FILE: the private key of the certificate",
        ),
        (
            "tls_key = \"a.key\"",
            "tls_key needs --tls-cert FILE: the certificate of the key",
        ),
        (
            "tls_port = 8443",
            "tls_port needs a certificate: --tls-cert FILE and --tls-key FILE, or --tls for a local one",
        ),
        (
            "tls = true\ntls_port = 8000",
            "tls_port: plain HTTP listens on 127.0.0.1:8000; give TLS another port",
        ),
        (
            "tls = true\nredirect_http = true",
            "redirect_http needs --tls-port PORT: the port that plain requests are redirected to",
        ),
        (
            "tls = true\ntls_port = 8443\ndashboard = 8443",
            "dashboard: the proxy itself listens on 127.0.0.1:8443; give the dashboard another port",
        ),
        (
            "tls = [{ cert = \"a.pem\" }]",
            "tls needs key = \"FILE\": the private key of the certificate",
        ),
        (
            "tls = [{ cert = \"a.pem\", key = \"\" }]",
            "tls needs key = \"FILE\": the private key of the certificate",
        ),
        (
            "tls = [{ cart = \"a.pem\" }]",
            "unknown key \"cart\"; did you mean \"cert\"? Known keys are cert, key",
        ),
        (
            "tls = \"a.pem\"",
            "tls: \"a.pem\" is not true, false, or a list of certificates such as [{ cert = \"a.pem\", key = \"a.key\" }]",
        ),
        (
            "tls_port = 70000",
            "tls_port: 70000 is not a port: a number from 1 to 65535, such as 8000, or 0 for any free one",
        ),
    ] {
        let error = load(&[ORIGIN], &[], file).unwrap_err();
        assert!(error.ends_with(said), "{file}: {error}");
    }
    let many = "{ cert = \"a\", key = \"b\" },".repeat(257);
    let error = load(&[ORIGIN], &[], &format!("tls = [{many}]")).unwrap_err();
    assert!(error.ends_with("the list has at most 256"), "{error}");
}

#[test]
fn a_reload_applies_other_certificates_but_does_not_switch_tls() {
    let config = |file: &str| load(&[ORIGIN], &[], file).unwrap();
    let one = config("tls = [{ cert = \"a.pem\", key = \"a.key\" }]\ntls_port = 8443");
    let other = config("tls = [{ cert = \"b.pem\", key = \"b.key\" }]\ntls_port = 8444");
    let changes = one.changes(&other);
    assert_eq!(changes.in_force, ["tls"]);
    assert_eq!(changes.needs_restart, ["tls_port"]);
    let tls = one.changed_to(&other).tls.unwrap();
    assert_eq!(tls.listed, other.tls.clone().unwrap().listed);
    assert_eq!(tls.port, Some(8443));

    let plain = config("");
    for (before, read) in [(&plain, &one), (&one, &plain)] {
        let changes = before.changes(read);
        assert_eq!(changes.in_force, [""; 0]);
        assert_eq!(changes.needs_restart, ["tls", "tls_port"]);
        assert_eq!(before.changed_to(read).tls, before.tls);
    }
}
