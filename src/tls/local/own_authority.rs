//! The authority of our own, made once for each user.
//!
//! It is a directory with two files, which comes into being whole: two processes that make it at once end up with one, and
//! one that is killed in between leaves nothing that is used.

use std::{
    fs, io,
    net::IpAddr,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::DnsName;

use super::{
    dates::{DAY, set_validity},
    local_error::LocalError,
    private_directory::{self, ReadableBy, failed},
};
use crate::policy::Time;

/// The directory of the authority, below that of our data.
const DIRECTORY: &str = "local-ca";
/// The file of its certificate.
pub(super) const CERTIFICATE: &str = "local-ca/ca.pem";
/// The files in the directory.
const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
/// How long it is valid: it has to be trusted by hand.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The names that it may sign for, each with all below it: none of them is on the internet.
const NAMES: [&str; 5] = ["localhost", "local", "test", "internal", "home.arpa"];
/// The addresses that it may sign for: loopback, private and link-local (RFC 1918, 3927, 4193, 4291).
const NETWORKS: [(&str, u8); 8] = [
    ("127.0.0.0", 8),
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("169.254.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
    ("fe80::", 10),
];

/// The certificate and the key of the authority below `data`, in PEM. Makes them, for a machine of this name, if they are
/// not there.
pub(super) fn read_or_make(
    data: &Path,
    machine: &str,
    now: Time,
) -> Result<(String, String), LocalError> {
    private_directory::make(data)?;
    private_directory::check(data)?;
    let directory = data.join(DIRECTORY);
    match fs::symlink_metadata(&directory) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make((data, &directory), machine, now)?
        }
        Err(error) => return Err(failed(&directory)(error)),
    }
    private_directory::check(&directory)?;
    Ok((
        private_directory::read(&directory.join(CERTIFICATE_FILE), ReadableBy::All)?,
        private_directory::read(&directory.join(KEY_FILE), ReadableBy::User)?,
    ))
}

/// Makes `directory`, unless another process does so at the same time.
fn make((data, directory): (&Path, &Path), machine: &str, now: Time) -> Result<(), LocalError> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let unfinished = data.join(format!(".{DIRECTORY}-{}-{number}", std::process::id()));
    // Of a process with this id that was killed.
    drop(fs::remove_dir_all(&unfinished));
    private_directory::make(&unfinished)?;
    let done = fill(&unfinished, machine, now).and_then(|()| {
        match fs::rename(&unfinished, directory) {
            // It has files already: another process was faster.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            renamed => renamed.map_err(failed(directory)),
        }
    });
    // There is nothing left of it if all went well.
    drop(fs::remove_dir_all(&unfinished));
    done
}

fn fill(directory: &Path, machine: &str, now: Time) -> Result<(), LocalError> {
    let (certificate, key) = new_authority(machine, now).map_err(LocalError::Sign)?;
    private_directory::write_new(&directory.join(KEY_FILE), &key, ReadableBy::User)?;
    private_directory::write_new(
        &directory.join(CERTIFICATE_FILE),
        &certificate,
        ReadableBy::All,
    )
}

/// A certificate and its key, in PEM.
fn new_authority(machine: &str, now: Time) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // Authorities of several machines in one list of trusted ones have different names.
    let mut name = DistinguishedName::new();
    let id = params.key_identifier(&key);
    let id: String = id.iter().take(4).map(|it| format!("{it:02x}")).collect();
    name.push(DnType::OrganizationName, "caching-proxy");
    name.push(DnType::CommonName, format!("caching-proxy local CA {id}"));
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted(machine),
        excluded_subtrees: Vec::new(),
    });
    set_validity(
        &mut params,
        now.saturating_sub(DAY),
        now.saturating_add(LIFETIME),
    );
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// What it may sign for: who gets its key cannot make certificates for other sites.
fn permitted(machine: &str) -> Vec<GeneralSubtree> {
    let machine = Some(machine).filter(|it| DnsName::try_from(*it).is_ok());
    let names = NAMES.into_iter().chain(machine);
    let names = names.map(|name| GeneralSubtree::DnsName(name.to_owned()));
    let networks = NETWORKS.into_iter().filter_map(|(address, length)| {
        let address: IpAddr = address.parse().ok()?;
        let network = CidrSubnet::from_addr_prefix(address, length);
        Some(GeneralSubtree::IpAddress(network))
    });
    names.chain(networks).collect()
}
