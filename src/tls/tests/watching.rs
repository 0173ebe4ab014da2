//! Certificates whose files change while the proxy runs.

use std::{fs, os::unix::fs::symlink, sync::Arc, time::Duration};

use rustls::{ALL_VERSIONS, pki_types::CertificateDer};

use super::fixture::{Files, NOW, client, first_in, handshake, load, settings};
use crate::{
    policy::Time,
    tls::{ServerTls, local::Places},
};

fn served(tls: &ServerTls, name: &str) -> CertificateDer<'static> {
    let client = Arc::new(client(ALL_VERSIONS));
    handshake(&tls.server_config(), &client, name)
        .unwrap()
        .certificate
}

/// A proxy that makes its certificate at `now`, with its authority in this directory.
fn local(files: &Files, now: Time) -> ServerTls {
    let data = files.path("data");
    let places = Places::new(|name| (name == "XDG_DATA_HOME").then(|| data.clone().into()));
    ServerTls::load_with(&settings(Vec::new()), places, now).unwrap()
}

#[test]
fn new_files_are_in_force_after_a_look() {
    let files = Files::new();
    let pair = files.certificate("a", &["a.test"]);
    let tls = load(vec![pair.clone()]);
    let old = first_in(&pair.certificate);
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), old);
    files.certificate("a", &["a.test"]);
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), first_in(&pair.certificate));
    assert_ne!(served(&tls, "a.test"), old);
}

/// Kubernetes swaps a link to a directory, `..data`, that the links to the files lead through.
#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let files = Files::new();
    for version in ["one", "two"] {
        fs::create_dir(files.path(version)).unwrap();
        files.certificate(&format!("{version}/tls"), &["a.test"]);
    }
    symlink("one", files.path("..data")).unwrap();
    symlink("..data/tls.pem", files.path("tls.pem")).unwrap();
    symlink("..data/tls.key", files.path("tls.key")).unwrap();
    let tls = load(vec![files.files("tls")]);
    assert_eq!(served(&tls, "a.test"), first_in(&files.path("one/tls.pem")));
    symlink("two", files.path("..new")).unwrap();
    fs::rename(files.path("..new"), files.path("..data")).unwrap();
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), first_in(&files.path("two/tls.pem")));
}

#[test]
fn what_is_half_written_changes_nothing_until_it_is_whole() {
    let files = Files::new();
    let pair = files.certificate("a", &["a.test"]);
    let tls = load(vec![pair.clone()]);
    let old = first_in(&pair.certificate);
    let new = files.certificate("new", &["a.test"]);
    let (certificate, key) = (
        fs::read(&new.certificate).unwrap(),
        fs::read(&new.key).unwrap(),
    );
    let half = certificate.len() / 2;
    let steps: [(&std::path::Path, &[u8]); 4] = [
        (&pair.certificate, b""),
        (&pair.certificate, &certificate[..half]),
        (&pair.certificate, &certificate),
        (&pair.key, &key[..key.len() / 2]),
    ];
    for (file, content) in steps {
        fs::write(file, content).unwrap();
        // The error is logged by the second look at the same files.
        for is_logged in [false, true, true] {
            tls.look(NOW);
            assert_eq!(served(&tls, "a.test"), old);
            assert_eq!(tls.is_failure_logged(), Some(is_logged), "{content:?}");
        }
    }
    fs::remove_file(&pair.key).unwrap();
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), old);
    assert_eq!(tls.is_failure_logged(), Some(false));
    fs::write(&pair.key, &key).unwrap();
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), first_in(&new.certificate));
    assert_eq!(tls.is_failure_logged(), None);
}

#[test]
fn one_broken_certificate_of_two_leaves_both_as_they_were() {
    let files = Files::new();
    let (a, b) = (
        files.certificate("a", &["a.test"]),
        files.certificate("b", &["b.test"]),
    );
    let tls = load(vec![a.clone(), b.clone()]);
    let (old_a, old_b) = (first_in(&a.certificate), first_in(&b.certificate));
    files.certificate("a", &["a.test"]);
    fs::write(&b.certificate, "").unwrap();
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), old_a);
    assert_eq!(served(&tls, "b.test"), old_b);
    files.certificate("b", &["b.test"]);
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), first_in(&a.certificate));
    assert_eq!(served(&tls, "b.test"), first_in(&b.certificate));
}

#[test]
fn the_settings_of_a_reload_are_watched_from_then_on() {
    let files = Files::new();
    let a = files.certificate("a", &["a.test"]);
    let b = files.certificate("b", &["a.test"]);
    let tls = load(vec![a]);
    let new = tls.reload(&settings(vec![b.clone()]), NOW).unwrap();
    assert_eq!(new[0].name, "a.test");
    assert_eq!(tls.reload(&settings(vec![b.clone()]), NOW).unwrap(), []);
    files.certificate("a", &["a.test"]);
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), first_in(&b.certificate));
    files.certificate("b", &["a.test"]);
    tls.look(NOW);
    assert_eq!(served(&tls, "a.test"), first_in(&b.certificate));
}

#[test]
fn names_below_localhost_get_a_local_certificate_of_their_own() {
    let files = Files::new();
    let tls = local(&files, NOW);
    let own = served(&tls, "localhost");
    let app = served(&tls, "app.localhost");
    let names = |certificate: &CertificateDer<'_>| {
        let parsed = webpki::EndEntityCert::try_from(certificate).unwrap();
        let names = parsed.valid_dns_names().map(str::to_owned);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&app), ["app.localhost"]);
    assert_eq!(served(&tls, "app.localhost"), app);
    assert_eq!(names(&served(&tls, "a.b.localhost")), ["a.b.localhost"]);
    for other in ["127.0.0.1", "other.test", "localhost.test", "notlocalhost"] {
        assert_eq!(served(&tls, other), own, "{other}");
    }
    // Clients must not be able to fill the memory.
    for number in 2..100 {
        served(&tls, &format!("n{number}.localhost"));
    }
    assert_eq!(served(&tls, "one-more.localhost"), own);
    assert_eq!(served(&tls, "app.localhost"), app);
}

#[test]
fn how_long_the_old_certificate_is_valid_is_said_in_days() {
    let files = Files::new();
    let pair = files.certificate("a", &["a.test"]);
    let tls = load(vec![pair.clone()]);
    let title = format!("a.test ({})", pair.certificate.display());
    let end = tls.expiry()[0].not_after;
    let hours = |hours: u64| end.saturating_sub(Duration::from_secs(hours * 3600));
    for (now, said) in [
        (
            hours(24 * 30 + 1),
            "is valid until 2027-01-01, for 30 days more",
        ),
        (hours(25), "is valid until 2027-01-01, for 1 day more"),
        (
            hours(1),
            "is valid until 2027-01-01, for less than a day more",
        ),
        (
            end.saturating_add(Duration::from_secs(1)),
            "expired on 2027-01-01",
        ),
    ] {
        assert_eq!(tls.remaining(now), format!("{title} {said}"));
    }
}

#[test]
fn a_local_certificate_is_made_again_before_its_end() {
    let files = Files::new();
    let tls = local(&files, NOW);
    let first = served(&tls, "localhost");
    assert_eq!(tls.reload(&settings(Vec::new()), NOW).unwrap(), []);
    assert_eq!(served(&tls, "localhost"), first);
    let day = Duration::from_secs(24 * 3600);
    tls.look(NOW.saturating_add(50 * day));
    assert_eq!(served(&tls, "localhost"), first);
    let later = NOW.saturating_add(61 * day);
    tls.look(later);
    assert_ne!(served(&tls, "localhost"), first);
    assert!(tls.expiry()[0].not_after > later.saturating_add(80 * day));
}

/// A certificate does not end after its authority, so one that was just made may end soon.
#[test]
fn a_local_certificate_of_an_authority_that_ends_soon_is_made_again_once_a_day() {
    let files = Files::new();
    let day = Duration::from_secs(24 * 3600);
    local(&files, NOW);
    let late = NOW.saturating_add(3630 * day);
    let tls = local(&files, late);
    assert!(tls.expiry()[0].not_after < late.saturating_add(30 * day));
    let first = served(&tls, "localhost");
    tls.look(late.saturating_add(day / 2));
    assert_eq!(served(&tls, "localhost"), first);
    let next_day = late.saturating_add(day);
    tls.look(next_day);
    let second = served(&tls, "localhost");
    assert_ne!(second, first);
    tls.look(next_day.saturating_add(day / 2));
    assert_eq!(served(&tls, "localhost"), second);
}
