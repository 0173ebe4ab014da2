//! The certificate for this machine, and its authority.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Barrier,
    thread,
    time::Duration,
};

use rcgen::{BasicConstraints, IsCa, KeyPair};
use rustls::{
    RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::fixture::{Files, NOW, first_in, params};
use crate::tls::local::{LocalCertificate, LocalError, LocalNames, Places};

fn places(files: &Files) -> Places {
    let data = files.path("data");
    Places::new(|name| (name == "XDG_DATA_HOME").then(|| data.clone().into()))
}

fn names() -> LocalNames {
    LocalNames::new("box", vec!["192.168.1.5".parse().unwrap()])
}

fn make(files: &Files) -> Result<LocalCertificate, LocalError> {
    LocalCertificate::make(&places(files), &names(), NOW)
}

/// Whether a client that trusts the authority in `file` accepts the certificate for `name`.
fn is_accepted(made: &LocalCertificate, file: &Path, name: &str) -> bool {
    accepts(&made.certificate, file, name)
}

fn accepts(certificate: &CertificateDer<'_>, file: &Path, name: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(first_in(file)).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.into());
    let verifier = verifier.build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW.unix_seconds()));
    let verifier: &dyn rustls::client::danger::ServerCertVerifier = &*verifier;
    let verified = verifier.verify_server_cert(certificate, &[], &name, &[], now);
    verified.is_ok()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_authority_is_made_once_and_for_its_user_alone() {
    let files = Files::new();
    let first = make(&files).unwrap();
    let (data, directory) = (
        files.path("data/caching-proxy"),
        files.path("data/caching-proxy/local-ca"),
    );
    let (certificate, key) = (directory.join("ca.pem"), directory.join("ca-key.pem"));
    assert_eq!((mode(&data), mode(&directory)), (0o700, 0o700));
    assert_eq!(mode(&key), 0o600);
    let authority = first_in(&certificate);
    let second = make(&files).unwrap();
    assert_eq!(first_in(&certificate), authority);
    assert_ne!(first.certificate, second.certificate);
    for made in [&first, &second] {
        assert_eq!(made.remarks, [""; 0]);
        for name in [
            "localhost",
            "127.0.0.1",
            "::1",
            "box",
            "box.local",
            "192.168.1.5",
        ] {
            assert!(is_accepted(made, &certificate, name), "{name}");
        }
        assert!(!is_accepted(made, &certificate, "other.test"));
        let below = made.signer.certificate_for("app.localhost").unwrap();
        assert!(accepts(&below.cert[0], &certificate, "app.localhost"));
        let advice = made.advice.as_deref().unwrap();
        assert!(advice.contains(certificate.to_str().unwrap()), "{advice}");
    }
    let left: Vec<_> = fs::read_dir(&data).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn processes_that_make_the_authority_at_once_end_up_with_one() {
    let files = Files::new();
    let barrier = Barrier::new(8);
    let made: Vec<LocalCertificate> = thread::scope(|scope| {
        let make = || {
            barrier.wait();
            make(&files).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let authority = files.path("data/caching-proxy/local-ca/ca.pem");
    for made in &made {
        assert!(is_accepted(made, &authority, "localhost"));
    }
    let left: Vec<_> = fs::read_dir(files.path("data/caching-proxy"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1);
}

/// Whoever gets the key of the authority must not be able to make certificates for other sites.
#[test]
fn the_authority_may_sign_for_local_names_only() {
    let files = Files::new();
    make(&files).unwrap();
    let authority = files.path("data/caching-proxy/local-ca/ca.pem");
    for (name, address, is_right) in [
        ("dev.internal", "10.1.2.3", true),
        ("nas.home.arpa", "fd00::1", true),
        ("www.bank.com", "10.1.2.3", false),
        ("dev.internal", "203.0.113.9", false),
    ] {
        let names = LocalNames::new(name, vec![address.parse().unwrap()]);
        let made = LocalCertificate::make(&places(&files), &names, NOW).unwrap();
        assert_eq!(
            is_accepted(&made, &authority, name),
            is_right,
            "{name} {address}"
        );
        assert!(
            is_accepted(&made, &authority, "localhost"),
            "{name} {address}"
        );
        assert_eq!(made.remarks.is_empty(), is_right, "{:?}", made.remarks);
    }
}

#[test]
fn an_authority_that_another_user_could_have_made_or_read_is_refused() {
    let refused = |change: &dyn Fn(&Files, &Path)| {
        let files = Files::new();
        make(&files).unwrap();
        change(&files, &files.path("data/caching-proxy"));
        let error = make(&files).unwrap_err();
        assert!(matches!(error, LocalError::Unsafe { .. }), "{error}");
        error.to_string()
    };
    let chmod =
        |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let said = refused(&|_, data| chmod(&data.join("local-ca/ca-key.pem"), 0o640));
    assert!(said.contains("others may read it; use chmod 600"), "{said}");
    let said = refused(&|_, data| chmod(&data.join("local-ca"), 0o777));
    assert!(
        said.contains("others may write to it; use chmod go-w"),
        "{said}"
    );
    let said = refused(&|_, data| chmod(data, 0o777));
    assert!(
        said.contains("others may write to it; use chmod go-w"),
        "{said}"
    );
    let elsewhere = |files: &Files, path: &Path| {
        let other = files.path("elsewhere");
        fs::rename(path, &other).unwrap();
        symlink(&other, path).unwrap();
    };
    for path in ["", "local-ca", "local-ca/ca.pem", "local-ca/ca-key.pem"] {
        // Without the slash at the end, which would follow the link.
        let said = refused(&|files, data| match path {
            "" => elsewhere(files, data),
            path => elsewhere(files, &data.join(path)),
        });
        assert!(said.contains("it is a symbolic link"), "{path}: {said}");
    }
}

#[test]
fn a_broken_or_expired_authority_is_not_used() {
    let files = Files::new();
    make(&files).unwrap();
    let key = files.path("data/caching-proxy/local-ca/ca-key.pem");
    let right = fs::read_to_string(&key).unwrap();
    fs::write(&key, "").unwrap();
    assert!(matches!(make(&files), Err(LocalError::Malformed { .. })));
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(make(&files), Err(LocalError::Verify { .. })));
    fs::write(&key, right).unwrap();
    let late = NOW.saturating_add(Duration::from_secs(3651 * 24 * 3600));
    let made = LocalCertificate::make(&places(&files), &names(), late);
    assert!(matches!(made, Err(LocalError::Expired { .. })));
}

#[test]
fn the_authority_of_mkcert_is_used_where_it_is() {
    let files = Files::new();
    let directory = files.path("data/mkcert");
    fs::create_dir_all(&directory).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut ca = params(&[]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.distinguished_name
        .push(rcgen::DnType::OrganizationName, "mkcert development CA");
    ca.not_after = rcgen::date_time_ymd(2036, 1, 1);
    let certificate = directory.join("rootCA.pem");
    fs::write(&certificate, ca.self_signed(&key).unwrap().pem()).unwrap();
    // Its key is elsewhere.
    assert!(make(&files).unwrap().advice.is_some());
    fs::write(directory.join("rootCA-key.pem"), key.serialize_pem()).unwrap();
    let made = make(&files).unwrap();
    assert_eq!(made.advice, None);
    for name in ["localhost", "box", "192.168.1.5"] {
        assert!(is_accepted(&made, &certificate, name), "{name}");
    }
}

#[test]
fn an_authority_of_mkcert_that_cannot_be_used_is_named_and_our_own_is_used() {
    let files = Files::new();
    let directory = files.path("data/mkcert");
    fs::create_dir_all(&directory).unwrap();
    let (right, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = params(&[]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = ca.self_signed(&right).unwrap().pem();
    for (certificate, key, problem) in [
        (&ca, &[][..], "rootCA.pem has no usable authority"),
        (&ca, &[0xff], "cannot use "),
        (
            &ca,
            other.serialize_pem().as_bytes(),
            "clients would refuse ",
        ),
        (
            &String::new(),
            right.serialize_pem().as_bytes(),
            "has no usable authority",
        ),
    ] {
        fs::write(directory.join("rootCA.pem"), certificate).unwrap();
        fs::write(directory.join("rootCA-key.pem"), key).unwrap();
        let made = make(&files).unwrap();
        let own = files.path("data/caching-proxy/local-ca/ca.pem");
        assert!(is_accepted(&made, &own, "localhost"), "{problem}");
        assert!(made.advice.is_some(), "{problem}");
        let remark = &made.remarks[0];
        let begin = "the authority of mkcert cannot be used: ";
        assert!(
            remark.starts_with(begin) && remark.contains(problem),
            "{remark}"
        );
    }
}

#[test]
fn directories_are_those_that_the_environment_names() {
    let places = |variables: &[(&str, &str)]| {
        let places = Places::new(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        });
        [places.mkcert, places.own].map(|it| it.map(|it| it.display().to_string()))
    };
    let some = |mkcert: &str, own: &str| [Some(mkcert.to_owned()), Some(own.to_owned())];
    assert_eq!(places(&[]), [None, None]);
    assert_eq!(
        places(&[("HOME", ""), ("XDG_DATA_HOME", "data")]),
        [None, None]
    );
    let data = ("XDG_DATA_HOME", "/data");
    assert_eq!(
        places(&[("HOME", "/home/a"), data]),
        some("/data/mkcert", "/data/caching-proxy")
    );
    assert_eq!(
        places(&[("CAROOT", "/ca"), data]),
        some("/ca", "/data/caching-proxy")
    );
    let below = match cfg!(target_os = "macos") {
        true => "/home/a/Library/Application Support",
        false => "/home/a/.local/share",
    };
    assert_eq!(
        places(&[("HOME", "/home/a")]),
        some(
            &format!("{below}/mkcert"),
            &format!("{below}/caching-proxy")
        )
    );
    let without = Places::new(|_| None);
    let made = LocalCertificate::make(&without, &names(), NOW);
    assert!(matches!(made, Err(LocalError::NoDirectory)));
}
