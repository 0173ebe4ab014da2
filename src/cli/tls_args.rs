//! The options about TLS towards clients.

use std::ffi::OsString;

use clap::Args;

const TLS: &str = "HTTPS";

/// The settings of TLS towards clients, as options.
#[derive(Debug, Args)]
pub struct TlsArgs {
    /// Serve HTTPS with the certificate in this PEM file, the server's first, then those of its issuers [default: none]
    ///
    /// The file is read again when it changes. More certificates, for other names, are in the configuration file.
    #[arg(long, help_heading = TLS, hide_short_help = true, value_name = "FILE")]
    pub tls_cert: Option<OsString>,

    /// PEM file with the private key of --tls-cert [default: none]
    #[arg(long, help_heading = TLS, hide_short_help = true, value_name = "FILE")]
    pub tls_key: Option<OsString>,

    /// Serve HTTPS; if no certificate is given, with one for localhost that the proxy makes [default: false]
    #[arg(long, help_heading = TLS, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls: Option<OsString>,

    /// Port for HTTPS, so that --port stays plain HTTP; 0 for any free one [default: none, --port itself is for HTTPS]
    #[arg(long, help_heading = TLS, hide_short_help = true, value_name = "PORT")]
    pub tls_port: Option<OsString>,

    /// Redirect plain requests to --tls-port with 308 [default: false]
    #[arg(long, help_heading = TLS, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub redirect_http: Option<OsString>,
}

impl TlsArgs {
    /// The options by name. `None` for those that were not given.
    pub(super) fn options(self) -> [(&'static str, Option<OsString>); 5] {
        [
            ("tls-cert", self.tls_cert),
            ("tls-key", self.tls_key),
            ("tls", self.tls),
            ("tls-port", self.tls_port),
            ("redirect-http", self.redirect_http),
        ]
    }
}
