//! The commands that make a user's programs trust an authority.

use std::path::Path;

/// Where systems have the programs that change the list of trusted authorities.
const UPDATE_CA_CERTIFICATES: &str = "/usr/sbin/update-ca-certificates";
const TRUST: &str = "/usr/bin/trust";

/// How a system trusts an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrustStore {
    /// macOS: a keychain, for all programs.
    Keychain,
    /// Debian and its kin: a directory, and browsers have a list of their own.
    Directory,
    /// p11-kit, as Fedora and Arch have it: for all programs.
    P11Kit,
    /// Not known: only the list of Chromium.
    Unknown,
}

impl TrustStore {
    fn of_system() -> Self {
        match () {
            () if cfg!(target_os = "macos") => Self::Keychain,
            () if Path::new(UPDATE_CA_CERTIFICATES).exists() => Self::Directory,
            () if Path::new(TRUST).exists() => Self::P11Kit,
            () => Self::Unknown,
        }
    }
}

/// How to make this user's programs trust the authority in `file`, for people.
pub(super) fn advice(file: &Path) -> String {
    advice_for(TrustStore::of_system(), &quoted(file))
}

/// `file` is as a shell reads it.
pub(super) fn advice_for(store: TrustStore, file: &str) -> String {
    let chromium = format!(
        "mkdir -p $HOME/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n caching-proxy -i {file}"
    );
    let commands = match store {
        TrustStore::Keychain => {
            format!(
                "security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {file}"
            )
        }
        TrustStore::P11Kit => format!("sudo trust anchor {file}"),
        TrustStore::Directory => format!(
            "sudo cp {file} /usr/local/share/ca-certificates/caching-proxy.crt && sudo update-ca-certificates\n  \
             and for Chromium and Chrome, with certutil of libnss3-tools:\n  {chromium}"
        ),
        TrustStore::Unknown => chromium,
    };
    format!("HTTPS: to trust the certificate of this proxy, run once:\n  {commands}")
}

/// A file name as a shell reads it.
fn quoted(file: &Path) -> String {
    let name = file.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@%:,".contains(letter);
    match name.chars().all(is_plain) {
        true => name.into_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}
