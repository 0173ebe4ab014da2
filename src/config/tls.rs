//! The settings of TLS towards clients.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};

use super::{
    BindAddress, Config, ConfigError, SettingSource, SettingSources, ValueError,
    file::Written,
    settings::path,
    tables::{Table, tables},
    value::{self, Given},
};

/// Each certificate is read again whenever its files change, so their number is bounded.
const MAX_CERTIFICATES: usize = 256;
/// The key of the list of certificates, and the switch of TLS.
const TLS: &str = "tls";
const CERT: &str = "cert";
const KEY: &str = "key";

/// The files of a certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The server's certificate, then those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// The private key of the server's certificate.
    pub key: PathBuf,
}

/// The settings of TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate of `--tls-cert` and `--tls-key`. `None`: they are not given.
    pub given: Option<CertificateFiles>,
    /// The certificates of the list in the file.
    pub listed: Vec<CertificateFiles>,
    /// The addresses of the proxy, which a local certificate names.
    pub bind: BindAddress,
    /// The port for TLS beside the one for plain HTTP. 0: any free one. `None`: `--port` itself is for TLS.
    pub port: Option<u16>,
    /// Plain requests are redirected to the port for TLS.
    pub redirect_http: bool,
}

impl TlsSettings {
    /// The files of all certificates, the default one first. Empty: the proxy makes a local certificate.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateFiles> {
        self.given.iter().chain(&self.listed)
    }

    /// These settings with the certificates of `read`: the rest does not change at run time.
    #[must_use]
    pub(super) fn with_certificates(&self, read: &Self) -> Self {
        Self {
            given: read.given.clone(),
            listed: read.listed.clone(),
            ..self.clone()
        }
    }

    /// The settings of a proxy that listens there. `None`: it speaks plain HTTP only.
    pub(super) fn read(
        sources: &SettingSources<'_>,
        (bind, port): (BindAddress, u16),
    ) -> Result<Option<Self>, ConfigError> {
        let given = sources.given_certificate()?;
        let (switch, listed) = sources.tls_key()?;
        let tls_port = sources.find("tls-port", tls_port)?;
        let redirect_http = sources.find("redirect-http", value::boolean)?;
        let redirect_http = redirect_http.filter(|(is_on, _)| *is_on);
        let (tls_port, place_of_port) = match tls_port {
            Some((Some(port), place)) => (Some(port), Some(place)),
            _ => (None, None),
        };
        if let Some((_, place)) = &redirect_http
            && tls_port.is_none()
        {
            return Err(ConfigError::Incomplete {
                place: place.clone(),
                missing: "--tls-port PORT: the port that plain requests are redirected to",
            });
        }
        let is_on = switch.unwrap_or(given.is_some() || !listed.is_empty());
        if let Some(place) = place_of_port {
            if !is_on && switch.is_none() {
                return Err(ConfigError::Incomplete {
                    place,
                    missing: "a certificate: --tls-cert FILE and --tls-key FILE, or --tls for a local one",
                });
            }
            if is_on && port != 0 && tls_port == Some(port) {
                return Err(ConfigError::SameAddress {
                    place: Box::new(place),
                    taken_by: "plain HTTP",
                    address: SocketAddr::new(bind.first(), port),
                    listener: "TLS",
                });
            }
        }
        Ok(is_on.then_some(Self {
            given,
            listed,
            bind,
            port: tls_port,
            redirect_http: redirect_http.is_some(),
        }))
    }
}

impl Config {
    /// The settings of TLS by their keys, in the order of the file.
    pub(super) fn tls_values(&self) -> [(&'static str, Value); 5] {
        let settings = self.tls.as_ref();
        let given = settings.and_then(|it| it.given.as_ref());
        let listed = settings.map_or(&[][..], |it| &it.listed);
        let of_file = |it: &CertificateFiles| json!({ CERT: path(Some(&it.certificate)), KEY: path(Some(&it.key)) });
        let tls = match listed.is_empty() {
            true => json!(settings.is_some()),
            false => listed.iter().map(of_file).collect(),
        };
        let port = settings.and_then(|it| it.port);
        [
            ("tls_cert", path(given.map(|it| &*it.certificate))),
            ("tls_key", path(given.map(|it| &*it.key))),
            (TLS, tls),
            (
                "tls_port",
                port.map_or_else(|| json!("none"), |it| json!(it)),
            ),
            (
                "redirect_http",
                json!(settings.is_some_and(|it| it.redirect_http)),
            ),
        ]
    }

    /// True if all clients that are served use TLS.
    pub fn serves_tls_only(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.port.is_none() || tls.redirect_http)
    }

    /// The port for TLS. `None`: there is none.
    pub fn https_port(&self) -> Option<u16> {
        let tls = self.tls.as_ref()?;
        Some(tls.port.unwrap_or(self.port))
    }

    /// True if clients are served with TLS and without it.
    pub fn serves_both_schemes(&self) -> bool {
        self.tls.is_some() && !self.serves_tls_only()
    }
}

impl SettingSources<'_> {
    /// The certificate of `--tls-cert` and `--tls-key`. `None`: they are not given.
    fn given_certificate(&self) -> Result<Option<CertificateFiles>, ConfigError> {
        let present = |found: Option<(Option<PathBuf>, SettingSource)>| match found {
            Some((Some(file), place)) => Some((file, place)),
            _ => None,
        };
        let certificate = present(self.find("tls-cert", value::path)?);
        let key = present(self.find("tls-key", value::path)?);
        match (certificate, key) {
            (Some((certificate, _)), Some((key, _))) => {
                Ok(Some(CertificateFiles { certificate, key }))
            }
            (None, None) => Ok(None),
            (Some((_, place)), None) => Err(ConfigError::Incomplete {
                place,
                missing: "--tls-key FILE: the private key of the certificate",
            }),
            (None, Some((_, place))) => Err(ConfigError::Incomplete {
                place,
                missing: "--tls-cert FILE: the certificate of the key",
            }),
        }
    }

    /// Whether TLS is switched on or off (`None`: neither), and the certificates that the file lists.
    fn tls_key(&self) -> Result<(Option<bool>, Vec<CertificateFiles>), ConfigError> {
        let listed = match self.file.values.get(TLS) {
            Some((_, Written::Tables(_))) => self.listed_certificates()?,
            _ => return Ok((self.get(TLS, switch)?, Vec::new())),
        };
        let above = self.in_flags(TLS).or_else(|| self.in_environment(TLS));
        let Some((given, place)) = above else {
            return Ok((None, listed));
        };
        match switch(&given) {
            Ok(is_on) => Ok((Some(is_on), listed)),
            Err(error) => Err(ConfigError::value(place, error)),
        }
    }

    fn listed_certificates(&self) -> Result<Vec<CertificateFiles>, ConfigError> {
        let tables = tables(&self.file, TLS)?;
        if let Some(table) = tables.get(MAX_CERTIFICATES) {
            return Err(ConfigError::value(
                table.place(TLS),
                Given::Beyond("one more certificate".to_owned())
                    .is_not(format!("possible: the list has at most {MAX_CERTIFICATES}")),
            ));
        }
        tables.iter().map(listed_certificate).collect()
    }
}

fn listed_certificate(table: &Table<'_>) -> Result<CertificateFiles, ConfigError> {
    table.check_keys(&[CERT, KEY])?;
    let file = |key: &'static str, missing| match table.get(key, value::path)?.flatten() {
        Some(file) => Ok(file),
        None => Err(ConfigError::Incomplete {
            place: table.place(TLS),
            missing,
        }),
    };
    Ok(CertificateFiles {
        certificate: file(CERT, "cert = \"FILE\": the certificate")?,
        key: file(KEY, "key = \"FILE\": the private key of the certificate")?,
    })
}

fn switch(given: &Given) -> Result<bool, ValueError> {
    match given {
        Given::Argument(_) | Given::Typed(toml::Value::Boolean(_)) => value::boolean(given),
        Given::Typed(_) | Given::List(_) | Given::Beyond(_) => Err(given.is_not(
            "true, false, or a list of certificates such as [{ cert = \"a.pem\", key = \"a.key\" }]",
        )),
    }
}

/// A port to listen on. `None` for `none`.
fn tls_port(given: &Given) -> Result<Option<u16>, ValueError> {
    match given.text() {
        Some("none") => Ok(None),
        _ => value::listen_port(given).map(Some),
    }
}

/// The addresses that a proxy which listens there takes for TLS; none if it has no port of its own for that.
pub(super) fn taken_addresses(settings: Option<&TlsSettings>) -> Vec<SocketAddr> {
    let Some((settings, port)) = settings.and_then(|it| Some((it, it.port?))) else {
        return Vec::new();
    };
    let addresses = settings.bind.addresses().into_iter();
    addresses.map(|ip| SocketAddr::new(ip, port)).collect()
}
